package ldapauth

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
)

// sidBytes returns the binary form of a security identifier such as
// "S-1-5-32-544" ([MS-DTYP], 2.4.2), and whether text is one.
func sidBytes(text string) (string, bool) {
	fields := strings.Split(text, "-")
	if len(fields) < 4 || len(fields) > 3+15 || !strings.EqualFold(fields[0], "S") || fields[1] != "1" {
		return "", false
	}
	authority, err := strconv.ParseUint(fields[2], 10, 48)
	if err != nil {
		return "", false
	}
	b := binary.BigEndian.AppendUint64(nil, authority)
	b[0], b[1] = 1, byte(len(fields)-3)
	for _, f := range fields[3:] {
		n, err := strconv.ParseUint(f, 10, 32)
		if err != nil {
			return "", false
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	return string(b), true
}

// sidText is the inverse of [sidBytes] for what [isSID] accepts.
func sidText(sid string) string {
	text := fmt.Sprintf("S-1-%d", binary.BigEndian.Uint64([]byte("\x00\x00"+sid[2:8])))
	for i := 8; i < len(sid); i += 4 {
		text += fmt.Sprintf("-%d", subAuthority(sid, i))
	}
	return text
}

// isSID reports whether b is a binary security identifier.
func isSID(b string) bool {
	return len(b) >= 12 && b[0] == 1 && len(b) == 8+4*int(b[1])
}

// isDomainSID reports whether a binary security identifier is one of a domain:
// S-1-5-21-... ([MS-DTYP], 2.4.2.4).
func isDomainSID(sid string) bool {
	return isSID(sid) && sid[2:8] == ntAuthority && subAuthority(sid, 8) == 21
}

// isBuiltinSID reports whether a binary security identifier is one of those
// that every machine has: S-1-5-32-...
func isBuiltinSID(sid string) bool {
	return isSID(sid) && sid[2:8] == ntAuthority && subAuthority(sid, 8) == 32
}

const ntAuthority = "\x00\x00\x00\x00\x00\x05"

// subAuthority returns the number at offset i of a binary identifier.
func subAuthority(sid string, i int) uint32 {
	return binary.LittleEndian.Uint32([]byte(sid[i : i+4]))
}

// rid returns the last number of an identifier: what it is within its domain.
func rid(sid string) uint32 { return subAuthority(sid, len(sid)-4) }

// withRID returns the identifier in the domain of sid that ends with n.
func withRID(sid string, n uint32) string {
	return sid[:len(sid)-4] + string(binary.LittleEndian.AppendUint32(nil, n))
}

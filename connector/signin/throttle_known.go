package signin

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"adconnector/connector/private"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// knownPerAccount is how many addresses are known for one account: those
	// seen longest ago go first.
	knownPerAccount = 20
	// maxKnownAddresses is how many are known in all. They go with the account
	// that has not signed in for longest.
	maxKnownAddresses = 200_000
	// knownEvery is how often what is new is written.
	knownEvery = time.Minute
)

// Files in data_dir. The first hides in the second who comes from where: it
// holds no names and no addresses, only what is worked out from them with the
// key.
const (
	knownKeyFile = "known-addresses.key"
	knownFile    = "known-addresses"
	knownHead    = "adconnector known addresses 1\n"
)

// knownAddresses remembers from where accounts have signed in: by password, by
// certificate or by a session. Networks where certificates are asked for are not
// known by themselves: they are large, and one bad machine in them must not
// have the whole budget of every account to guess with.
type knownAddresses struct {
	key  [32]byte
	days uint32 // how long an address is known
	now  func() time.Time

	mu       sync.Mutex
	accounts *simplelru.LRU[uint64, *knownList]
	networks map[uint64]int // for how many accounts a network is known
	count    int            // of addresses, over all accounts
	changed  bool           // since it was last written
}

// A knownAddress is a network, by its keyed hash, and the day since 1970 on
// which it was last signed in from.
type knownAddress struct {
	network uint64
	day     uint32
}

// relay stands for all attempts that a service has passed on without addresses.
// No address has this network: that of an IPv6 address ends in 64 bits of zero,
// and that of an IPv4 address is written as one of IPv6 that ends in the address.
var relay = netip.MustParsePrefix("::1/128")

// A knownList holds the addresses of one account.
type knownList struct{ list []knownAddress }

func newKnownAddresses(lifetime time.Duration, now func() time.Time) *knownAddresses {
	k := &knownAddresses{days: uint32((lifetime + day - 1) / day), now: now, networks: map[uint64]int{}}
	_, _ = rand.Read(k.key[:]) // never fails
	accounts, err := simplelru.NewLRU(maxKnownAddresses, k.forgotten)
	if err != nil {
		panic(err) // the size is a positive constant
	}
	k.accounts = accounts
	return k
}

// forgotten keeps the sums right when an account goes.
func (k *knownAddresses) forgotten(_ uint64, known *knownList) {
	for _, a := range known.list {
		k.drop(a)
	}
}

func (k *knownAddresses) drop(a knownAddress) {
	k.count--
	if k.networks[a.network]--; k.networks[a.network] == 0 {
		delete(k.networks, a.network)
	}
}

func (k *knownAddresses) hash(kind byte, text []byte) uint64 {
	var space [128]byte
	b := append(append(append(space[:0], k.key[:]...), kind), text...)
	sum := sha256.Sum256(b)
	return binary.LittleEndian.Uint64(sum[:])
}

func (k *knownAddresses) accountHash(id string) uint64 {
	var space [64]byte
	return k.hash('a', append(space[:0], id...))
}

func (k *knownAddresses) networkHash(n netip.Prefix) uint64 {
	b := n.Addr().As16()
	return k.hash('n', b[:])
}

func (k *knownAddresses) today() uint32 { return uint32(k.now().Unix() / int64(day/time.Second)) }

func (k *knownAddresses) valid(a knownAddress, today uint32) bool { return a.day+k.days >= today }

// anybodys reports whether the network is known for any account.
func (k *knownAddresses) anybodys(n netip.Prefix) bool {
	if k == nil || !n.IsValid() {
		return false
	}
	h := k.networkHash(n)
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.networks[h] > 0
}

// knows reports whether the network is known for the account, and whether others
// are.
func (k *knownAddresses) knows(account string, n netip.Prefix) (known, others bool) {
	if k == nil || !n.IsValid() {
		return false, false
	}
	a, h, today := k.accountHash(account), k.networkHash(n), k.today()
	k.mu.Lock()
	defer k.mu.Unlock()
	owner, ok := k.accounts.Peek(a)
	if !ok {
		return false, false
	}
	for _, x := range owner.list {
		if k.valid(x, today) {
			known, others = known || x.network == h, others || x.network != h
		}
	}
	return known, others
}

// learn makes the network known for the account: its owner has signed in from
// there.
func (k *knownAddresses) learn(account string, n netip.Prefix) {
	if k == nil || !n.IsValid() {
		return
	}
	a, h, today := k.accountHash(account), k.networkHash(n), k.today()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.changed = k.put(a, knownAddress{h, today}) || k.changed
}

// put puts a network on the list of an account and makes room for it. It reports
// whether that is new. The caller holds the lock.
func (k *knownAddresses) put(account uint64, x knownAddress) bool {
	owner, ok := k.accounts.Get(account)
	if !ok {
		owner = &knownList{}
		k.accounts.Add(account, owner)
	}
	oldest := 0
	for i := range owner.list {
		if a := &owner.list[i]; a.network == x.network {
			newer := x.day > a.day
			a.day = max(a.day, x.day)
			return newer
		} else if a.day < owner.list[oldest].day {
			oldest = i
		}
	}
	if len(owner.list) >= knownPerAccount {
		k.drop(owner.list[oldest])
		owner.list = slices.Delete(owner.list, oldest, oldest+1)
	}
	owner.list = append(owner.list, x)
	k.networks[x.network]++
	for k.count++; k.count > maxKnownAddresses; {
		k.accounts.RemoveOldest()
	}
	return true
}

// open reads what an earlier run has written to dir. A file that is damaged is
// reported and done without: everybody is then unknown until the next sign-in.
func (k *knownAddresses) open(dir *private.Dir, log *slog.Logger) error {
	key, err := dir.Secret(knownKeyFile, len(k.key))
	if err != nil {
		return err
	}
	copy(k.key[:], key)
	data, err := dir.Read(knownFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := k.unmarshal(data); err != nil {
		log.Warn("the file of known addresses cannot be used and will be written anew; every address is unknown until somebody signs in from it", "file", dir.Path(knownFile), "err", err)
	}
	return nil
}

// unmarshal adds what marshal has written, unless it is too old.
func (k *knownAddresses) unmarshal(data []byte) error {
	rest, ok := bytes.CutPrefix(data, []byte(knownHead))
	if !ok {
		return errors.New("its first line is not the one of such a file")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	today := k.today()
	for line := range bytes.Lines(rest) {
		var account uint64
		var x knownAddress
		if _, err := fmt.Sscanf(string(line), "%16x %16x %d\n", &account, &x.network, &x.day); err != nil {
			return fmt.Errorf("line %q: %w", line, err)
		}
		if !k.valid(x, today) || x.day > today+1 { // tomorrow: written under another clock
			continue
		}
		k.put(account, x)
	}
	return nil
}

// marshal returns what is known, a line for each address, and forgets what is
// too old. Accounts that have not signed in for longest come first.
func (k *knownAddresses) marshal() []byte {
	type line struct {
		account uint64
		knownAddress
	}
	k.mu.Lock()
	today, lines := k.today(), make([]line, 0, k.count)
	for _, account := range k.accounts.Keys() {
		known, _ := k.accounts.Peek(account)
		known.list = slices.DeleteFunc(known.list, func(x knownAddress) bool {
			if k.valid(x, today) {
				lines = append(lines, line{account, x})
				return false
			}
			k.drop(x)
			return true
		})
		if len(known.list) == 0 {
			k.accounts.Remove(account)
		}
	}
	k.changed = false
	k.mu.Unlock()

	out := []byte(knownHead)
	for _, l := range lines {
		out = fmt.Appendf(out, "%016x %016x %d\n", l.account, l.network, l.day)
	}
	return out
}

// run writes what is new to dir from time to time, and at the end.
func (k *knownAddresses) run(ctx context.Context, dir *private.Dir, log *slog.Logger) {
	tick := time.NewTicker(knownEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			k.write(dir, log)
		case <-ctx.Done():
			k.write(dir, log)
			return
		}
	}
}

func (k *knownAddresses) write(dir *private.Dir, log *slog.Logger) {
	k.mu.Lock()
	changed := k.changed
	k.mu.Unlock()
	if !changed {
		return
	}
	if err := dir.Write(knownFile, k.marshal()); err != nil {
		log.Error("known addresses cannot be written; after a restart every address is unknown until somebody signs in from it", "err", err)
		k.mu.Lock()
		k.changed = true
		k.mu.Unlock()
	}
}

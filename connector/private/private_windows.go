package private

import (
	"fmt"
	"io/fs"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// everybody are the groups that stand for every user of the computer.
var everybody = []windows.WELL_KNOWN_SID_TYPE{
	windows.WinWorldSid, windows.WinAuthenticatedUserSid, windows.WinBuiltinUsersSid,
}

// check warns and does not refuse: rights on Windows come from the folder above
// as a rule, and an administrator who keeps a key where users may read has often
// no other place.
func check(path string, _ fs.FileInfo) (warning string, err error) {
	sd, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return "", nil //nolint:nilerr // no list to be had, as on a FAT disk: nothing can be said
	}
	acl, _, err := sd.DACL()
	if err != nil || acl == nil {
		return "", nil //nolint:nilerr // likewise
	}
	for i := range uint32(acl.AceCount) {
		var ace *windows.ACCESS_ALLOWED_ACE
		if windows.GetAce(acl, i, &ace) != nil || ace.Header.AceType != windows.ACCESS_ALLOWED_ACE_TYPE ||
			ace.Mask&(windows.FILE_READ_DATA|windows.GENERIC_READ|windows.GENERIC_ALL) == 0 {
			continue
		}
		sid := (*windows.SID)(unsafe.Pointer(&ace.SidStart))
		for _, group := range everybody {
			if sid.IsWellKnown(group) {
				return fmt.Sprintf("every user of this computer may read %s: in its properties, under Security, leave only SYSTEM, Administrators and the account of the service", path), nil
			}
		}
	}
	return "", nil
}

// ownerOnly gives SYSTEM, the administrators and the owner all rights, here and
// below, and takes nothing from the folder above.
const ownerOnly = "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;FA;;;OW)"

func mkdir(path string) error {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return err
	}
	sd, err := windows.SecurityDescriptorFromString(ownerOnly)
	if err != nil {
		return err
	}
	sa := &windows.SecurityAttributes{SecurityDescriptor: sd}
	sa.Length = uint32(unsafe.Sizeof(*sa))
	if err := windows.CreateDirectory(name, sa); err != nil {
		return &os.PathError{Op: "mkdir", Path: path, Err: err}
	}
	return nil
}

// syncDir does nothing: Windows keeps its names safe by itself.
func syncDir(string) error { return nil }

// adopt has nothing to do: what is made in a folder has the rights of the folder.
func adopt(*os.File, *os.Root) error { return nil }

package ldapauth

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// schemaAuto is the schema setting that asks the server.
const schemaAuto = "auto"

// A dialect is what differs between kinds of directories.
type dialect struct {
	name       string
	userFilter string // finds a person by name: person, and username={0}
	person     string // what only persons are, as parts of an and
	id         string // attribute that never changes and is never reused
	idText     func(string) (string, bool)
	idValue    func(string) (string, bool) // the inverse of idText
	username   string
	attributes []string // asked for besides what is needed of everybody
	// anyGroup finds all groups that can have members.
	anyGroup string
	// groupFilter finds the groups that {0}, an escaped DN, is a member of.
	groupFilter string
	// direct returns the filter that finds the groups that an account is itself
	// a member of, where groups do not name their members by DN; nil: groupFilter
	// does. Such groups have no groups as members.
	direct func(*Account) (string, error)
	// dn is the attribute by which an entry is found by its DN, created the one
	// that says when it was made.
	dn, created string
	// tokenGroups says that the server works out nested groups by itself.
	tokenGroups bool
	// unicodePwd says that passwords are changed by writing that attribute, and
	// not by the operation of RFC 3062.
	unicodePwd bool
	// nestedMemberOf says that memberOf names the nested groups as well.
	nestedMemberOf bool
	// state is what decides whether an account may sign in, in the order in
	// which it is looked at.
	state []stateCheck
	// locked returns a denial if the account is locked after wrong passwords.
	locked func(*Account, time.Time) error
}

// hasPolicies reports whether it takes a password policy to judge an account.
// Active Directory works out what follows from its own.
func (di *dialect) hasPolicies() bool { return !di.tokenGroups }

var activeDirectory = &dialect{
	name: "active_directory",
	// Computers are users by class, but not persons by category.
	person:     "(objectCategory=person)(objectClass=user)",
	userFilter: "(&(objectCategory=person)(objectClass=user)(sAMAccountName={0}))",
	id:         "objectGUID",
	idText:     guidText,
	idValue:    guidBytes,
	username:   "sAMAccountName",
	attributes: []string{
		"objectSid", "primaryGroupID", "userAccountControl", "msDS-User-Account-Control-Computed",
		"accountExpires", "lockoutTime", "pwdLastSet", "logonHours", "userWorkstations",
		"badPwdCount", "badPasswordTime", "msDS-ResultantPSO",
		"altSecurityIdentities", "whenCreated",
	},
	anyGroup:    "(objectClass=group)",
	groupFilter: "(&(objectClass=group)(member={0}))",
	dn:          "distinguishedName",
	created:     "whenCreated",
	tokenGroups: true,
	unicodePwd:  true,
	state:       activeDirectoryState,
	locked:      checkLockedOut,
}

var openLDAP = &dialect{
	name:       "openldap",
	person:     "(objectClass=person)",
	userFilter: "(&(objectClass=person)(uid={0}))",
	id:         "entryUUID",
	idText:     uuidText,
	idValue:    uuidText,
	username:   "uid",
	attributes: []string{
		"pwdAccountLockedTime", "pwdReset", "pwdChangedTime", "pwdStartTime", "pwdEndTime",
		"pwdPolicySubentry", "pwdFailureTime", "shadowExpire", "nsAccountLock", "loginDisabled",
		"x500UniqueIdentifier", "createTimestamp",
	},
	anyGroup:    "(|(objectClass=groupOfNames)(objectClass=groupOfMembers)(objectClass=groupOfUniqueNames)(objectClass=groupOfURLs))",
	groupFilter: "(|(&(|(objectClass=groupOfNames)(objectClass=groupOfMembers))(member={0}))(&(objectClass=groupOfUniqueNames)(uniqueMember={0})))",
	dn:          "entryDN",
	created:     "createTimestamp",
	state:       openLDAPState,
	locked:      checkLock,
}

// rfc2307bis is OpenLDAP with people who are accounts of a Unix system.
var rfc2307bis = func() *dialect {
	d := *openLDAP
	d.name = "rfc2307bis"
	d.person = "(objectClass=posixAccount)"
	d.userFilter = "(&(objectClass=posixAccount)(uid={0}))"
	d.groupFilter = "(&(|(objectClass=groupOfNames)(objectClass=groupOfMembers)(objectClass=posixGroup))(member={0}))"
	d.anyGroup = "(|(objectClass=groupOfNames)(objectClass=groupOfMembers)(objectClass=posixGroup))"
	return &d
}()

// rfc2307 is OpenLDAP with the groups of a Unix system as RFC 2307 has them:
// they list names, not entries, and so cannot be nested.
var rfc2307 = func() *dialect {
	d := *openLDAP
	d.name = "rfc2307"
	d.person = "(objectClass=posixAccount)"
	d.userFilter = "(&(objectClass=posixAccount)(uid={0}))"
	d.attributes = append(slices.Clone(openLDAP.attributes), "gidNumber")
	d.anyGroup = "(objectClass=posixGroup)"
	d.groupFilter = "(&(objectClass=posixGroup)(memberUid={0}))"
	d.direct = posixGroups
	return &d
}()

// posixGroups returns the filter for the groups that list one of the account's
// names, and for the primary one, which need not (RFC 2307, 3).
func posixGroups(a *Account) (string, error) {
	gid, err := a.integer("gidNumber")
	if err != nil {
		return "", err
	}
	if a.First("gidNumber") == "" {
		return "", errors.New("gidNumber cannot be read, which names the primary group: let the service account read it")
	}
	return fmt.Sprintf("(&(objectClass=posixGroup)(|(gidNumber=%d)%s))", gid, anyOf("memberUid", a.Values("uid"))), nil
}

// directoryServer is 389 Directory Server, alias Red Hat Directory Server.
var directoryServer = func() *dialect {
	d := *openLDAP
	d.name = "389ds"
	d.id = "nsUniqueId" // entryUUID is a plugin's, which may be off
	d.idText, d.idValue = nsUniqueIDText, nsUniqueIDText
	d.attributes = []string{"nsAccountLock", "accountUnlockTime", "passwordExpirationTime", "shadowExpire", "createTimestamp"}
	d.nestedMemberOf = true
	d.state = directoryServerState
	d.locked = checkUnlock
	return &d
}()

// nsUniqueIDText returns an nsUniqueId in lower case, if it is one: four groups
// of eight hexadecimal digits.
func nsUniqueIDText(s string) (string, bool) {
	return strings.ToLower(s), nsUniqueID.MatchString(s)
}

var nsUniqueID = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{8}){3}$`)

var dialects = map[string]*dialect{
	rfc2307.name:         rfc2307,
	directoryServer.name: directoryServer,
	activeDirectory.name: activeDirectory,
	openLDAP.name:        openLDAP,
	rfc2307bis.name:      rfc2307bis,
}

// Schemas returns what the schema setting may be.
func Schemas() []string {
	return []string{schemaAuto, activeDirectory.name, openLDAP.name, rfc2307.name, rfc2307bis.name, directoryServer.name}
}

// needed are the attributes that say whether an entry is a person's and what that
// person is called.
var needed = []string{"objectClass", "cn", "uid", "sAMAccountName", "userPrincipalName", "mail"}

// described are the attributes that describe a person to the outside, besides
// those that are needed.
var described = []string{
	"sAMAccountType", "displayName", "givenName", "sn", "mailNickname", "description", "title", "department", "company",
	"manager", "telephoneNumber", "st", "postalCode", "co", "distinguishedName",
}

// besides returns the attributes that are asked for besides those that are needed.
// Nil stands for those that describe a person.
func besides(attributes []string) []string {
	if attributes == nil {
		return described
	}
	return slices.DeleteFunc(slices.Clone(attributes), func(a string) bool {
		return slices.ContainsFunc(needed, func(n string) bool { return strings.EqualFold(n, a) })
	})
}

// rootAttributes are what a server tells of itself.
var rootAttributes = []string{
	"objectClass", "supportedCapabilities", "supportedControl", "namingContexts", "defaultNamingContext", "configurationNamingContext",
	"vendorName", "currentTime", "isGlobalCatalogReady",
}

// capActiveDirectory is the capability that every domain controller has.
const capActiveDirectory = "1.2.840.113556.1.4.800"

// recognise returns the dialect of the server with this root DSE.
func recognise(root *ldap.Entry) (*dialect, error) {
	if slices.Contains(root.GetEqualFoldAttributeValues("supportedCapabilities"), capActiveDirectory) {
		return activeDirectory, nil
	}
	if root.GetEqualFoldAttributeValue("vendorName") == "389 Project" {
		return directoryServer, nil
	}
	for _, class := range root.GetEqualFoldAttributeValues("objectClass") {
		if strings.EqualFold(class, "OpenLDAProotDSE") {
			return openLDAP, nil
		}
	}
	return nil, fmt.Errorf("the server does not say what kind of directory it is: set ldap.schema to one of %s",
		strings.Join(Schemas()[1:], ", "))
}

// uuidText returns an entryUUID in lower case, if it is one (RFC 4530).
func uuidText(s string) (string, bool) {
	_, ok := guidBytes(s)
	return strings.ToLower(s), ok
}

"""Writes the people and groups of the test domain straight into the database of
a domain controller that does not run.

Usage: populate.py SMB_CONF PASSWORD SERVICE_PASSWORD
"""

import os
import sys

import ldb
from samba import dsdb
from samba.auth import system_session
from samba.dcerpc import security
from samba.ndr import ndr_unpack
from samba.param import LoadParm
from samba.samdb import SamDB
from samba.sd_utils import SDUtils

conf, password, service_password = sys.argv[1:]
params = LoadParm()
params.load(conf)
db = SamDB(url=params.samdb_url(), session_info=system_session(), lp=params)
base = db.domain_dn()

DAY = 24 * 3600 * 10**7  # in the unit of all times here: 100 ns
SPRING_2000 = "126000000000000000"
DISTRIBUTION_GROUP = "2"
AES = "24"
NEVER_EXPIRES = "66048"


def add(dn, **attributes):
    db.add({"dn": ldb.Dn(db, dn), **attributes})
    return dn


def replace(dn, controls=(), **attributes):
    message = ldb.Message(ldb.Dn(db, dn))
    for name, value in attributes.items():
        message[name] = ldb.MessageElement(value, ldb.FLAG_MOD_REPLACE, name)
    db.modify(message, controls=list(controls))


def person(account, given, surname, cn=None, unit="Staff", secret=password, **more):
    cn = cn or given + " " + surname
    attributes = {
        "objectClass": "user",
        "sAMAccountName": account,
        "userPrincipalName": account + "@corp.example.test",
        "givenName": given,
        "sn": surname,
        "displayName": cn,
        "mail": account + "@corp.example.test",
        "unicodePwd": ('"%s"' % secret).encode("utf-16-le"),
        "userAccountControl": "512",
    }
    attributes.update(more)
    return add("CN=%s,OU=%s,%s" % (cn.replace(",", "\\,"), unit, base), **attributes)


def group(name, *members, **more):
    dn = "CN=%s,OU=Groups,%s" % (name.replace(",", "\\,"), base)
    attributes = {"objectClass": "group", "sAMAccountName": name.replace(",", "")}
    if members:
        attributes["member"] = list(members)
    return add(dn, **attributes, **more)


# Three failures lock an account for half an hour. Passwords grow old after ten
# years, so that the image of this database may grow old too.
replace(
    base,
    lockoutThreshold="3",
    lockoutDuration=str(-DAY // 48),
    lockOutObservationWindow=str(-DAY // 48),
    minPwdAge="0",
    maxPwdAge=str(-3650 * DAY),
)

db.transaction_start()
for unit in ("Staff", "Groups", "Service", "Bulk"):
    add("OU=%s,%s" % (unit, base), objectClass="organizationalUnit")

# What a keytab holds of an account is what its types of encryption say.
person(
    "svc-connector", "Service", "Connector", unit="Service", secret=service_password,
    **{"msDS-SupportedEncryptionTypes": AES},
)
reset = person(
    "svc-reset", "Service", "Reset", unit="Service", secret=service_password,
    **{"msDS-SupportedEncryptionTypes": AES},
)
jon = person("jon", "Jon", "Smith")
person("dis", "Dis", "Abled", userAccountControl="514")
person("exp", "Exp", "Ired", accountExpires=SPRING_2000)
person("lck", "Lock", "Ed")
mcp = person("mcp", "Must", "Change")
pwx = person("pwx", "Password", "Expired")
person("hrs", "Logon", "Hours", logonHours=bytes(21))
person("wks", "Work", "Stations", userWorkstations="ELSEWHERE")
person("nopw", "No", "Expiry", userAccountControl=NEVER_EXPIRES)
person("ambi", "Ambi", "One")
person("ambi2", "Ambi", "Two", mail="ambi@corp.example.test")
person("o'neil (ops)", "Paddy", "O'Neil", userPrincipalName="oneil@corp.example.test", mail="oneil@corp.example.test")
zoe = person("zoe", "Zoë", "Müller", cn="Zoë (Ops), Müller", otherTelephone=["+1 555 0100", "+1 555 0101"])
photo = person("photo", "Photo", "Graph", thumbnailPhoto=os.urandom(19000))

for i in range(50):
    person("u%05d" % i, "Bulk", "User %d" % i, unit="Bulk")

a = group("group-A", jon, zoe)
b = group("group-B", a)
group("group-C", b)
d = group("group-D", jon)
e = group("group-E", d)
replace(d, member=[jon, e])
group("Träger (all), x", jon)
group("dist-list", jon, groupType=DISTRIBUTION_GROUP)
primary = group("group-PrimaryX", photo)
db.transaction_commit()

# The right to set passwords of users, by its GUID, and the right to write when
# they were locked.
USER = "bf967aba-0de6-11d0-a285-00aa003049e2"
SET_PASSWORD = "(OA;CIIO;CR;00299570-246d-11d0-a768-00aa006e0529;%s;%%s)" % USER
UNLOCK = "(OA;CIIO;WP;28630ebf-41d5-11d1-a9c1-0000f80367c1;%s;%%s)" % USER
sid = str(ndr_unpack(security.dom_sid, db.search(reset, ldb.SCOPE_BASE, attrs=["objectSid"])[0]["objectSid"][0]))
rights = SDUtils(db)
rights.dacl_add_ace("OU=Staff," + base, SET_PASSWORD % sid)
rights.dacl_add_ace("OU=Staff," + base, UNLOCK % sid)
rights.dacl_add_ace("OU=Bulk," + base, SET_PASSWORD % sid)

# The names under which clients ask for a ticket for LDAP: a domain controller
# writes its own when it updates the DNS, which this one does not.
db.modify_ldif(
    """dn: CN=DC1,OU=Domain Controllers,%s
changetype: modify
add: servicePrincipalName
servicePrincipalName: ldap/dc1.corp.example.test
servicePrincipalName: ldap/localhost
"""
    % base
)

# What can be set only when the account is there.
replace(mcp, pwdLastSet="0")
# The past is refused, unless Samba's own control says that this is a repair.
replace(pwx, ["local_oid:%s:0" % dsdb.DSDB_CONTROL_BYPASS_PASSWORD_HASH_OID], pwdLastSet=SPRING_2000)
sid = db.search(primary, ldb.SCOPE_BASE, attrs=["objectSid"])[0]["objectSid"][0]
replace(photo, primaryGroupID=str(ndr_unpack(security.dom_sid, sid).split()[1]))

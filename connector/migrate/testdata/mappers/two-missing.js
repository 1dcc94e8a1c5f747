module.exports = function (raw) {
  var profile = {
    id: raw.objectGUID || raw.uid || raw.cn,
    displayName: raw.displayName,
    name: { familyName: raw.sn, givenName: raw.givenName },
    nickname: raw['sAMAccountName'] || raw['cn'] || raw['commonName'],
    groups: raw['groups'],
    emails: (raw.mail ? [{ value: raw.mail }] : undefined)
  };
  profile['dn'] = raw['dn'];
  profile['st'] = raw['st'];
  profile['description'] = raw['description'];
  profile['postalCode'] = raw['postalCode'];
  profile['telephoneNumber'] = raw['telephoneNumber'];
  profile['distinguishedName'] = raw['distinguishedName'];
  profile['co'] = raw['co'];
  profile['department'] = raw['department'];
  profile['company'] = raw['company'];
  profile['mailNickname'] = raw['mailNickname'];
  profile['sAMAccountName'] = raw['sAMAccountName'];
  profile['sAMAccountType'] = raw['sAMAccountType'];
  profile['userPrincipalName'] = raw['userPrincipalName'];
  profile['manager'] = raw['manager'];
  profile['organizationUnits'] = raw['organizationUnits'];
  profile.both = raw.l + raw.c;
  profile.length = (raw.l + raw.c).length > 0;
  return profile;
};

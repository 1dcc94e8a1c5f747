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
  profile.is_admin = raw.groups.indexOf('app-Admins') > -1;
  profile.is_staff = raw.groups.includes('Staff');
  profile.any_app = raw.groups.some(g => g.startsWith('app-'));
  profile.has_groups = raw.groups.length > 0;
  profile.role = raw.groups.indexOf('Staff') !== -1 ? 'staff' : 'other';
  return profile;
};

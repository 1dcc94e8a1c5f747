module.exports = function (entry) {
  var addresses = [];
  if (entry.mail) {
    addresses = addresses.concat(entry.mail);
  }
  if (entry['mailAlias']) {
    addresses = addresses.concat(entry['mailAlias']);
  }
  var p = {
    id: entry.objectGUID || entry.uid || entry.cn,
    displayName: entry['cn'],
    groups: entry['groups'],
    ldap_groups: entry['groups'],
    emails: addresses
  };
  var hr = {
    cost: entry['extensionAttribute1'],
    title: entry['title']
  };
  p['email_verified'] = true; // all are
  p['aliases'] = entry['mailAlias'];
  p['_hr'] = hr;
  return p;
};

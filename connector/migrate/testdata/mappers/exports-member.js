exports.toTenant = function (entry) {
  var p = { id: entry.objectGUID || entry.uid || entry.cn, email: (entry.mail) ? entry.mail : undefined };
  p['email_verified'] = true;
  return p;
};

exports.other = function (a) { return a; };

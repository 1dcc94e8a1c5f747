(function (entry, cb) {
  'use strict';
  var p = { id: entry.objectGUID || entry.uid || entry.cn };
  p.displayName = entry.displayName;
  console.log('mapped', p);
  cb(null, p);
})

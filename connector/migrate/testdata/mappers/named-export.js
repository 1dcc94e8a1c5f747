const pick = function (entry) { return entry.title; };
function map(entry) {
  var p = { id: entry.objectGUID || entry.uid || entry.cn, title: entry.title };
  return p;
}
module.exports = map;

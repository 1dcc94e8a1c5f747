module.exports = function (raw) {
  return { id: raw.objectGUID || raw.uid || raw.cn, displayName: raw.cn, nickname: raw.uid, emails: [{ value: raw.mail }] };
};

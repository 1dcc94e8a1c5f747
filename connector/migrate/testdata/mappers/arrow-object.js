module.exports = raw => ({ id: raw.objectGUID || raw.uid || raw.cn, displayName: raw.displayName, status: raw.employeeType });

// Judges the JWT by which a connector says who it is, and makes a command as a
// tenant does. Reads {token, certificate, audience, issuer, command, key} as JSON
// and writes {header, claims, command}.
'use strict';

const jwt = require('jsonwebtoken');
const input = JSON.parse(require('fs').readFileSync(0, 'utf8'));

const claims = jwt.verify(input.token, input.certificate, {
  algorithms: ['RS256'], audience: input.audience, issuer: input.issuer, maxAge: '1m',
});
const command = jwt.sign(input.command, input.key, { algorithm: 'RS256', expiresIn: '1m' });
console.log(JSON.stringify({ header: jwt.decode(input.token, { complete: true }).header, claims, command }));

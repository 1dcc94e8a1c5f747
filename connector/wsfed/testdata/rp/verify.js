// A relying party that is not ours. It reads a list of {wresult, certificate,
// audience} and prints, for each, {profile} or {error}; all of it is JSON.
'use strict';

const { readFileSync } = require('fs');
const { Strategy } = require('passport-wsfed-saml2');

function verify({ wresult, certificate, audience }) {
  return new Promise((resolve) => {
    const strategy = new Strategy(
      { protocol: 'wsfed', realm: audience, cert: certificate, identityProviderUrl: 'https://login.example/wsfed' },
      (profile, done) => done(null, profile),
    );
    const refuse = (reason) => resolve({ error: String((reason && reason.message) || reason) });
    strategy.success = (profile) => resolve({ profile });
    strategy.fail = refuse;
    strategy.error = refuse;
    const request = {
      method: 'POST',
      protocol: 'https',
      originalUrl: '/callback',
      get: (header) => (header === 'host' ? 'app.example' : undefined),
      body: { wa: 'wsignin1.0', wresult },
    };
    try {
      strategy.authenticate(request, {});
    } catch (err) {
      refuse(err);
    }
  });
}

Promise.all(JSON.parse(readFileSync(0, 'utf8')).map(verify)).then((answers) => console.log(JSON.stringify(answers)));

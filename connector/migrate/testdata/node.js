// Runs each mapper in the folder mappers on each of entries.json, as Auth0's
// connector did, and writes how what comes out differs from what the default
// mapper makes of it: node node.js > expected.json
const fs = require('fs'), path = require('path'), vm = require('vm');

async function run(script, entry) {
  const module = { exports: {} };
  const quiet = { log() {}, error() {}, warn() {} };
  const last = vm.runInNewContext(script, { module, exports: module.exports, require, console: quiet, Buffer });
  const map = typeof module.exports === 'function' ? module.exports : Object.values(module.exports)[0] || last;
  if (map.length === 1) return map(entry);
  return new Promise((resolve, reject) => map(entry, (err, profile) => err ? reject(err) : resolve(profile)));
}

(async () => {
  const entries = fs.readFileSync(path.join(__dirname, 'entries.json'), 'utf8');
  const all = {}, defaults = {};
  const standard = fs.readFileSync(path.join(__dirname, 'mappers', 'default.js'), 'utf8');
  for (const [who, entry] of Object.entries(JSON.parse(entries))) {
    defaults[who] = JSON.parse(JSON.stringify(await run(standard, entry)));
  }
  for (const name of fs.readdirSync(path.join(__dirname, 'mappers')).sort()) {
    const script = fs.readFileSync(path.join(__dirname, 'mappers', name), 'utf8');
    all[name] = {};
    for (const [who, entry] of Object.entries(JSON.parse(entries))) {
      try {
        const profile = JSON.parse(JSON.stringify(await run(script, entry)));
        const same = key => JSON.stringify(profile[key]) === JSON.stringify(defaults[who][key]);
        all[name][who] = {
          set: Object.fromEntries(Object.entries(profile).filter(([key]) => !same(key))),
          gone: Object.keys(defaults[who]).filter(key => !(key in profile)),
        };
      } catch (err) {
        all[name][who] = { fails: true };
      }
    }
  }
  all.defaults = defaults;
  console.log(JSON.stringify(all, null, 1));
})();

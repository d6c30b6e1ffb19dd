// Runs the HTTP working group's tests of caches against the proxy at BASE, as a private or as a shared cache, and
// writes id -> result as JSON.
//
// Usage: node run.mjs BASE private|shared EXPECTED [id]
//
// The suite waits for time to pass, so a busy machine can make a case fail. EXPECTED is a JSON list of the cases that
// are known to fail; others that do are run again, by and by with fewer at a time. What a cache does wrong it does each time.
import fs from 'fs'
import all from './http-cache-tests/tests/index.mjs'
import { runTests } from './http-cache-tests/test-engine/client/runner.mjs'
import { testResults } from './http-cache-tests/test-engine/client/test.mjs'
import { determineTestResult } from './http-cache-tests/test-engine/lib/results.mjs'

const [, , base, as, expected, id] = process.argv
const known = new Set(JSON.parse(fs.readFileSync(expected)))
const names = Object.fromEntries(Object.entries({
  untested: '-', pass: '✅', fail: '⛔️', optional_fail: '⚠️', yes: 'Y', no: 'N', setup_fail: '🔹', harness_fail: '⁉️', dependency_fail: '⚪️', retry: '↻'
}).map(([name, sign]) => [sign, name]))

// The Fetch standard gives a request of the mode "no-cache" this field; a browser's fetch does, that of Node does not.
const plain = globalThis.fetch
globalThis.fetch = (url, init = {}) => {
  if (init.cache === 'no-cache') init.headers = [...init.headers, ['Cache-Control', 'max-age=0']]
  const { cache, mode, credentials, ...rest } = init
  return plain(url, rest)
}

// A CDN that its site pays has a field of its own; and a crawler gives no interim responses (103) on to anybody.
function notOurs (suite, test) { return test.cdn_only || suite.id === 'interim' }

async function run (wanted, atOnce) { // a copy: the suite changes what it runs
  const suites = structuredClone(all)
  for (const suite of suites) {
    suite.tests = suite.tests.filter(test => wanted(test) && !notOurs(suite, test))
    if (id) suite.tests.forEach(test => { test.dump = true })
  }
  await runTests(suites, as === 'private', base, atOnce)
}

await run(test => !id || test.id === id, 60)
for (const atOnce of [10, 3, 1, 1, 1, 1, 1, 1]) {
  const again = new Set(Object.keys(testResults).filter(one => testResults[one] !== true && !known.has(one)))
  if (id || again.size === 0) break
  again.forEach(one => { delete testResults[one] })
  await run(test => again.has(test.id), atOnce)
}
const told = {}
for (const suite of all) {
  for (const test of suite.tests) {
    const result = testResults[test.id]
    if (result === undefined) continue
    told[test.id] = {
      suite: suite.id,
      kind: test.kind || 'required',
      passed: result === true,
      result: id ? '' : names[determineTestResult(all, test.id, testResults)[2]],
      why: result === true ? '' : result[1]
    }
  }
}
console.log(JSON.stringify(told, null, 1))
process.exit(0)

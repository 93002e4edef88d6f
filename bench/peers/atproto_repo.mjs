// SPDX-License-Identifier: MIT OR Apache-2.0
// @atproto/repo beside our walker (README.md): each file is read, its blocks hashed, its tree walked.
//
//   node atproto_repo.mjs SECONDS FILE...      run in the folder whose node_modules holds it; a JSON object a file
import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const folder = path.resolve('node_modules/@atproto/repo')
const entry = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'))).exports['.']
const file = typeof entry === 'string' ? entry : (entry.import ?? entry.default)
const repo = await import(pathToFileURL(path.join(folder, typeof file === 'string' ? file : file.default)))

async function walk(car) {
  const { root, blocks } = await repo.readCarWithRoot(car)
  const { data } = await repo.Repo.load(new repo.MemoryBlockstore(blocks), root)
  let records = 0
  let recordBytes = 0
  for await (const leaf of data.walkLeavesFrom('')) {
    records += 1
    recordBytes += blocks.get(leaf.value).length
  }
  return { records, recordBytes }
}

const [seconds, ...files] = process.argv.slice(2)
for (const name of files) {
  const car = new Uint8Array(fs.readFileSync(name))
  const times = []
  const started = process.hrtime.bigint()
  const budget = BigInt(Math.round(Number(seconds) * 1e9))
  let seen
  while (times.length < 20000 && (times.length < 1 || process.hrtime.bigint() - started < budget)) {
    const from = process.hrtime.bigint()
    seen = await walk(car)
    times.push(Number(process.hrtime.bigint() - from))
  }
  times.sort((a, b) => a - b)
  const at = (share) => times[Math.min(times.length - 1, Math.floor(times.length * share))]
  console.log(JSON.stringify({
    file: name, bytes: car.length, records: seen.records, record_bytes: seen.recordBytes, runs: times.length,
    best_ns: times[0], p50_ns: at(0.5), p99_ns: at(0.99), allocations: null,
  }))
}

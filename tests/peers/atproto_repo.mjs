// SPDX-License-Identifier: MIT OR Apache-2.0
// One of the judges of tests/peers (README.md there): @atproto/repo and @atproto/sync. Requests on standard input, a
// JSON object a line, answers on standard output. Run from the folder whose node_modules holds them.
import { createRequire } from 'node:module'
import path from 'node:path'
import readline from 'node:readline'
import { pathToFileURL } from 'node:url'

const require = createRequire(path.join(process.cwd(), 'package.json'))
const load = async (name) => {
  const main = JSON.parse(require('node:fs').readFileSync(`node_modules/${name}/package.json`))
  const entry = main.exports?.['.']?.import ?? main.exports?.['.']?.default ?? main.exports?.['.'] ?? main.main
  const file = typeof entry === 'string' ? entry : entry.default
  return import(pathToFileURL(path.resolve(`node_modules/${name}`, file)))
}
const repo = await load('@atproto/repo')
const crypto = await load('@atproto/crypto')
const sync = await load('@atproto/sync')
const cbor = await load('@atproto/lex-cbor')
const lexJson = await load('@atproto/lex-json')
const { CID } = await load('@atproto/lex-data')
const { MST, Repo, MemoryBlockstore, DataDiff, WriteOpAction } = repo

const fromBase64 = (text) => new Uint8Array(Buffer.from(text, 'base64'))
const toBase64 = (bytes) => Buffer.from(bytes).toString('base64').replace(/=+$/, '')
const text = (cid) => (cid ? cid.toString() : null)
const collect = async (stream) => repo.concatBytesAsync(stream)
const byKey = (a, b) => (a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0)

async function listing(tree) {
  return (await tree.leaves()).map((leaf) => [leaf.key, text(leaf.value)])
}

async function nodesOf(tree) {
  const found = new Set()
  for await (const entry of tree.walk()) {
    if (entry.isTree()) found.add(text(await entry.getPointer()))
  }
  return found
}

async function diffOf(before, after) {
  const diff = await DataDiff.of(after, before)
  const ops = [
    ...diff.addList().map((d) => [d.key, null, text(d.cid)]),
    ...diff.updateList().map((d) => [d.key, text(d.prev), text(d.cid)]),
    ...diff.deleteList().map((d) => [d.key, text(d.cid), null]),
  ].sort(byKey)
  const old = await nodesOf(before)
  const created = diff.newMstBlocks.cids().map(text).sort()
  const deleted = diff.removedCids.toList().map(text).filter((cid) => old.has(cid)).sort()
  return { ops, created, deleted }
}

// ---- build ----------------------------------------------------------------------------------------------------------

const writeOf = (op) => {
  const { collection, rkey } = repo.parseDataKey(op.path)
  const action = { create: WriteOpAction.Create, update: WriteOpAction.Update, delete: WriteOpAction.Delete }[op.action]
  return { action, collection, rkey, ...(op.record ? { record: lexJson.jsonToLex(op.record) } : {}) }
}

async function frameOf(before, commit, data, ops) {
  const body = {
    ops: [],
    rev: commit.rev,
    seq: 1,
    repo: before.did,
    time: '2026-07-04T12:00:00.000Z',
    blobs: [],
    since: commit.since,
    blocks: await repo.blocksToCarFile(commit.cid, commit.relevantBlocks),
    commit: commit.cid,
    rebase: false,
    tooBig: false,
    prevData: before.commit.data,
  }
  for (const op of ops) {
    const prev = await before.data.get(op.path)
    const cid = await data.get(op.path)
    body.ops.push({ action: op.action, path: op.path, cid: cid ?? null, ...(prev ? { prev } : {}) })
  }
  return repo.concatBytes([cbor.encode({ op: 1, t: '#commit' }), cbor.encode(body)])
}

async function build(request) {
  const keypair = await (request.curve === 'k256' ? crypto.Secp256k1Keypair : crypto.P256Keypair)
    .import(new Uint8Array(Buffer.from(request.secret, 'hex')))
  const storage = new MemoryBlockstore()
  const creates = request.initial.map((one) => writeOf({ ...one, action: 'create' }))
  const init = await Repo.formatInitCommit(storage, request.did, keypair, creates, request.rev)
  let now = await Repo.createFromCommit(storage, init)
  const first = now.data
  const firstCar = await collect(repo.getFullRepo(storage, now.cid))
  const firstStore = new MemoryBlockstore((await repo.readCar(firstCar)).blocks)
  const cars = [toBase64(firstCar)]
  const frames = []
  for (const commit of request.commits) {
    const formatted = await now.formatCommit(commit.ops.map(writeOf), keypair)
    const before = now
    // Its store drops a record that one key loses and another still has: nothing is dropped here.
    now = await now.applyCommit({ ...formatted, removedCids: new repo.CidSet() })
    frames.push(toBase64(await frameOf(before, formatted, now.data, commit.ops)))
  }
  cars.push(toBase64(await collect(repo.getFullRepo(storage, now.cid))))
  const proofs = []
  for (const path of request.ask) {
    const { collection, rkey } = repo.parseDataKey(path)
    const car = await collect(repo.getRecords(storage, now.cid, [{ collection, rkey }]))
    proofs.push({ path, present: (await now.data.get(path)) !== null, car: toBase64(car) })
  }
  const diff = await diffOf(MST.load(firstStore, await first.getPointer()), now.data)
  return { cars, frames, diff, proofs }
}

// ---- judge ----------------------------------------------------------------------------------------------------------

const attempt = async (run) => {
  try {
    return { ok: true, ...(await run()) }
  } catch (error) {
    return { ok: false, error: `${error.name}: ${error.message}`.slice(0, 200) }
  }
}

async function judgeCar(bytes, did, key) {
  const verified = await repo.verifyRepoCar(bytes, did, key)
  const { root, blocks } = await repo.readCarWithRoot(bytes)
  const store = new MemoryBlockstore(blocks)
  const opened = await Repo.load(store, root)
  return {
    data: text(opened.commit.data),
    rev: opened.commit.rev,
    listing: verified.creates.map((one) => [`${one.collection}/${one.rkey}`, text(one.cid)]).sort(byKey),
    tree: opened.data,
  }
}

// Undoes the operations with their own tree, on the blocks of the frame.
async function invert(body) {
  const { root, blocks } = await repo.readCarWithRoot(body.blocks)
  let tree = (await Repo.load(new MemoryBlockstore(blocks), root)).data
  for (const op of [...body.ops].sort((a, b) => (b.action === 'delete') - (a.action === 'delete'))) {
    if (op.action === 'create') {
      if (!(await tree.get(op.path))?.equals(op.cid)) throw new Error('not the value of the operation')
      tree = await tree.delete(op.path)
    } else if (op.action === 'update') {
      tree = await tree.update(op.path, op.prev)
    } else {
      tree = await tree.add(op.path, op.prev)
    }
  }
  if (!(await tree.getPointer()).equals(body.prevData)) throw new Error('the root is not prevData')
}

async function judgeFrame(bytes, did, key) {
  const [, body] = [...cbor.decodeAll(bytes)]
  if (body.repo !== did) throw new Error('another repository')
  const { root, blocks } = await repo.readCarWithRoot(body.blocks)
  const opened = await Repo.load(new MemoryBlockstore(blocks), root)
  const events = await sync.parseCommitAuthenticated({ did: { resolveAtprotoKey: async () => key } }, body)
  if (events.length !== body.ops.length) throw new Error(`${events.length} of ${body.ops.length} operations verified`)
  await invert(body)
  return {
    data: text(opened.commit.data),
    ops: body.ops.map((op) => [op.path, text(op.prev), text(op.cid)]),
  }
}

// With `signed` by their verifyProofs; else by the way down alone: their signatures take 5 ms each.
async function judgeProof(one, did, key, signed) {
  const bytes = fromBase64(one.car)
  const { root, blocks } = await repo.readCarWithRoot(bytes)
  const cid = await (await Repo.load(new MemoryBlockstore(blocks), root)).data.get(one.path)
  const claim = { ...repo.parseDataKey(one.path), cid }
  if (signed && (await repo.verifyProofs(bytes, [claim], did, key)).verified.length !== 1) {
    throw new Error('not verified')
  }
  return { present: cid !== null, cid: text(cid) }
}

async function judge(request) {
  const { did, key } = request
  const cars = []
  for (const car of request.cars) cars.push(await attempt(() => judgeCar(fromBase64(car), did, key)))
  const diff = cars.length === 2 && cars[0].ok && cars[1].ok ? await diffOf(cars[0].tree, cars[1].tree) : null
  for (const car of cars) delete car.tree
  const frames = []
  for (const frame of request.frames) frames.push(await attempt(() => judgeFrame(fromBase64(frame), did, key)))
  const proofs = []
  for (const [i, proof] of request.proofs.entries()) {
    proofs.push(await attempt(() => judgeProof(proof, did, key, i === 0)))
  }
  return { cars, diff, frames, proofs }
}

for await (const line of readline.createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const request = JSON.parse(line)
  const answer = await (request.do === 'build' ? build : judge)(request)
  process.stdout.write(JSON.stringify(answer) + '\n')
}

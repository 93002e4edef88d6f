# SPDX-License-Identifier: MIT OR Apache-2.0
"""Two of the judges of tests/peers (README.md there) in one process: a Merkle search tree written down from its
definition, without any cleverness, and the readers of PyPI's `libipld` (CAR, DAG-CBOR) and `atproto` (signatures).
Requests on standard input, a JSON object a line, answers on standard output."""
import base64
import hashlib
import json
import sys
from pathlib import Path

import libipld
from atproto_crypto.verify import verify_signature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))
from atproto import cbor, cid_text  # noqa: E402

CURVES = {"k256": (ec.SECP256K1(), 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141),
          "p256": (ec.SECP256R1(), 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551)}


# ---- the tree, from its definition -----------------------------------------------------------------------------------

def layer(key):
    bits = int.from_bytes(hashlib.sha256(key).digest(), "big")
    return (256 - bits.bit_length()) // 2


def cid_of(block):
    return b"\x01\x71\x12\x20" + hashlib.sha256(block).digest()


def link(cid):
    return {"$link": cid_text(cid)}


def node_block(left, entries):
    """entries: [(key, value CID, right CID or None)]"""
    rows, before = [], b""
    for key, value, right in entries:
        shared = 0
        while shared < min(len(before), len(key)) and before[shared] == key[shared]:
            shared += 1
        rows.append({"p": shared, "k": {"$bytes": base64.b64encode(key[shared:]).decode().rstrip("=")},
                     "v": link(value), "t": link(right) if right else None})
        before = key
    return cbor({"l": link(left) if left else None, "e": rows})


class Opaque:
    """A subtree that is known by its CID alone: it lies in one gap between keys, at its layer."""

    def __init__(self, cid, at):
        self.cid, self.layer = cid, at


def build_layer(items, at, nodes):
    """CID of the node for `items` at layer `at`; None for nothing. items: (key, value) pairs and Opaques, in order."""
    if not items:
        return None
    if len(items) == 1 and isinstance(items[0], Opaque) and items[0].layer == at:
        return items[0].cid
    groups, entries = [[]], []
    for item in items:
        if isinstance(item, Opaque):
            if item.layer >= at:
                raise ValueError("missing node")
            groups[-1].append(item)
        elif layer(item[0]) == at:
            entries.append(item)
            groups.append([])
        else:
            groups[-1].append(item)
    below = [build_layer(group, at - 1, nodes) if group else None for group in groups]
    block = node_block(below[0], [(key, value, right) for (key, value), right in zip(entries, below[1:])])
    cid = cid_of(block)
    nodes[cid] = block
    return cid


def build_tree(items, nodes):
    """Root of the tree of these items; fills `nodes` with CID -> block."""
    tops = [item.layer if isinstance(item, Opaque) else layer(item[0]) for item in items]
    if not items:
        block = node_block(None, [])
        nodes[cid_of(block)] = block
        return cid_of(block)
    return build_layer(items, max(tops), nodes)


def tree_of(records):
    nodes = {}
    return build_tree(sorted(records.items()), nodes), nodes


# ---- reading with libipld --------------------------------------------------------------------------------------------

def raw_cid(cid):
    """CIDs come as bytes or as text."""
    if isinstance(cid, bytes):
        return cid
    return base64.b32decode(cid[1:].upper() + "=" * (-len(cid[1:]) % 8))


def read_car(data):
    header, blocks = libipld.decode_car(data)
    return raw_cid(header["roots"][0]), {raw_cid(cid): block for cid, block in blocks.items()}


def read_node(node):
    """(left, [(key, value, right)])"""
    entries, before = [], b""
    for entry in node["e"]:
        before = before[:entry["p"]] + entry["k"]
        entries.append((before, raw_cid(entry["v"]), raw_cid(entry["t"]) if entry["t"] is not None else None))
    return raw_cid(node["l"]) if node["l"] is not None else None, entries


def flatten(blocks, root):
    """Items of the tree under `root` in order; absent nodes as Opaques."""
    def walk(cid, at):
        if cid not in blocks:
            return [Opaque(cid, at)]
        left, entries = read_node(blocks[cid])
        if at is None:  # the top: its keys know
            at = layer(entries[0][0]) if entries else 0
        items = walk(left, at - 1) if left else []
        for key, value, right in entries:
            items.append((key, value))
            items += walk(right, at - 1) if right else []
        return items
    return walk(root, None)


def check_commit(commit, did, key):
    unsigned = {k: v for k, v in commit.items() if k != "sig"}
    wire = {"did": unsigned["did"], "rev": unsigned["rev"], "version": unsigned["version"],
            "prev": link(raw_cid(unsigned["prev"])) if unsigned["prev"] is not None else None,
            "data": link(raw_cid(unsigned["data"]))}
    if commit["did"] != did:
        raise ValueError("another DID")
    if set(unsigned) != set(wire) or not verify_signature(key, cbor(wire), commit["sig"]):
        raise ValueError("signature")


def open_car(data, did, key):
    root, blocks = read_car(data)
    commit = blocks[root]
    check_commit(commit, did, key)
    return commit, blocks


# ---- build -----------------------------------------------------------------------------------------------------------

def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def car_of(root, blocks):
    header = cbor({"roots": [link(root)], "version": 1})
    return varint(len(header)) + header + b"".join(varint(len(cid) + len(block)) + cid + block
                                                   for cid, block in blocks.items())


def sign(curve, secret, data):
    group, order = CURVES[curve]
    key = ec.derive_private_key(int(secret, 16), group)
    r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + min(s, order - s).to_bytes(32, "big")


def commit_block(request, rev, data):
    commit = {"did": request["did"], "rev": rev, "version": 3, "prev": None, "data": link(data)}
    signature = sign(request["curve"], request["secret"], cbor(commit))
    return cbor({**commit, "sig": {"$bytes": base64.b64encode(signature).decode().rstrip("=")}})


def b64(data):
    return base64.b64encode(data).decode().rstrip("=")


def diff_of(before, after):
    keys = sorted(set(before) | set(after))
    ops = [[k.decode(), cid_text(before[k]) if k in before else None, cid_text(after[k]) if k in after else None]
           for k in keys if before.get(k) != after.get(k)]
    old, new = set(tree_of(before)[1]), set(tree_of(after)[1])
    return {"ops": ops, "created": sorted(map(cid_text, new - old)), "deleted": sorted(map(cid_text, old - new))}


def build(request):
    blocks, records = {}, {}

    def put(path, record):
        block = cbor(record)
        blocks[cid_of(block)] = block
        records[path.encode()] = cid_of(block)

    def car(rev, sparse=None):
        data, nodes = tree_of(records)
        commit = commit_block(request, rev, data)
        kept = {cid_of(commit): commit, **nodes}
        for cid in records.values() if sparse is None else sparse:
            kept[cid] = blocks[cid]
        return data, cid_of(commit), car_of(cid_of(commit), kept)

    for one in request["initial"]:
        put(one["path"], one["record"])
    before, rev = dict(records), request["rev"]
    prev_data, _, first = car(rev)
    frames = []
    for commit in request["commits"]:
        ops, fresh = [], []
        for op in commit["ops"]:
            prev = records.get(op["path"].encode())
            if op["action"] == "delete":
                del records[op["path"].encode()]
            else:
                put(op["path"], op["record"])
                fresh.append(records[op["path"].encode()])
            ops.append({"action": op["action"], "path": op["path"],
                        "cid": link(fresh[-1]) if op["action"] != "delete" else None,
                        **({"prev": link(prev)} if prev else {})})
        data, cid, sparse = car(commit["rev"], fresh)
        frames.append(b64(cbor({"op": 1, "t": "#commit"}) + cbor({
            "ops": ops, "rev": commit["rev"], "seq": 1, "repo": request["did"], "time": "2026-07-04T12:00:00.000Z",
            "blobs": [], "since": rev, "blocks": {"$bytes": b64(sparse)}, "commit": link(cid), "rebase": False,
            "tooBig": False, "prevData": link(prev_data)})))
        prev_data, rev = data, commit["rev"]
    _, _, last = car(rev)
    proofs = [{"path": path, "present": path.encode() in records, "car": b64(last)} for path in request["ask"]]
    return {"cars": [b64(first), b64(last)], "frames": frames, "diff": diff_of(before, records), "proofs": proofs}


# ---- judge -----------------------------------------------------------------------------------------------------------

def unb64(text):
    return base64.b64decode(text + "=" * (-len(text) % 4))


def judge_car(data, did, key):
    commit, blocks = open_car(data, did, key)
    items = flatten(blocks, raw_cid(commit["data"]))
    if any(isinstance(item, Opaque) for item in items) or any(value not in blocks for _, value in items):
        raise ValueError("a block is absent")
    nodes = {}
    if build_tree(items, nodes) != raw_cid(commit["data"]):
        raise ValueError("not the tree of its keys")
    return {"data": cid_text(raw_cid(commit["data"])), "rev": commit["rev"],
            "listing": [[key.decode(), cid_text(value)] for key, value in items]}


def judge_frame(data, did, key):
    _, body = libipld.decode_dag_cbor_multi(data)
    commit, blocks = open_car(body["blocks"], did, key)
    items = flatten(blocks, raw_cid(commit["data"]))
    for op in body["ops"]:
        path = op["path"].encode()
        now = next((i for i, item in enumerate(items) if not isinstance(item, Opaque) and item[0] == path), None)
        if (now is None) != (op["action"] == "delete") or (now is not None and items[now][1] != raw_cid(op["cid"])):
            raise ValueError("not the value of the operation")
    for op in sorted(body["ops"], key=lambda op: op["action"] != "delete"):
        path = op["path"].encode()
        at = next((i for i, item in enumerate(items) if not isinstance(item, Opaque) and item[0] >= path), len(items))
        if op["action"] == "delete":
            if at > 0 and isinstance(items[at - 1], Opaque):
                raise ValueError("missing node")
            items.insert(at, (path, raw_cid(op["prev"])))
        elif op["action"] == "update":
            items[at] = (path, raw_cid(op["prev"]))
        else:
            del items[at]
    for one, two in zip(items, items[1:]):
        if isinstance(one, Opaque) and isinstance(two, Opaque):
            raise ValueError("missing node")
    if build_tree(items, {}) != raw_cid(body["prevData"]):
        raise ValueError("the root is not prevData")
    return {"data": cid_text(raw_cid(commit["data"])),
            "ops": [[op["path"], cid_text(raw_cid(op["prev"])) if op.get("prev") else None,
                     cid_text(raw_cid(op["cid"])) if op["cid"] else None] for op in body["ops"]]}


def judge_proof(one, did, key):
    commit, blocks = open_car(unb64(one["car"]), did, key)
    path, cid = one["path"].encode(), raw_cid(commit["data"])
    while cid is not None:
        left, entries = read_node(blocks[cid])
        cid = left
        for entry, value, right in entries:
            if entry == path:
                if value not in blocks:
                    raise ValueError("the record is absent")
                return {"present": True, "cid": cid_text(value)}
            if entry > path:
                break
            cid = right
    return {"present": False, "cid": None}


def attempt(run):
    try:
        return {"ok": True, **run()}
    except BaseException as error:  # libipld's panics are BaseExceptions
        if isinstance(error, KeyboardInterrupt):
            raise
        return {"ok": False, "error": f"{type(error).__name__}: {error}"[:200]}


def judge(request):
    did, key = request["did"], request["key"]
    cars = [attempt(lambda: judge_car(unb64(car), did, key)) for car in request["cars"]]
    diff = None
    if len(cars) == 2 and cars[0]["ok"] and cars[1]["ok"]:
        diff = diff_of(*({k.encode(): raw_cid(v) for k, v in car["listing"]} for car in cars))
    return {"cars": cars, "diff": diff,
            "frames": [attempt(lambda: judge_frame(unb64(frame), did, key)) for frame in request["frames"]],
            "proofs": [attempt(lambda: judge_proof(one, did, key)) for one in request["proofs"]]}


if __name__ == "__main__":
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps((build if asked["do"] == "build" else judge)(asked)), flush=True)

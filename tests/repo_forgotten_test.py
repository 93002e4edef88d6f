#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Repositories from a pipe, whose blocks are forgotten once they are used: what is linked again when its bytes are
long gone gets the same verdict as from a file."""
import hashlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))
import freshet as fr  # noqa: E402
from firehose import Link, encode, make_car  # noqa: E402

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
RAW, CBOR = 0x55, 0x71
RECORDS, RECORD_BYTES, EARLY = 600, 3000, 100  # more than twice what a window keeps between EARLY and the last


def cid_of(block, codec=CBOR):
    return bytes([1, codec, 0x12, 0x20]) + hashlib.sha256(block).digest()


def layer_of(key):
    return (256 - int.from_bytes(hashlib.sha256(key).digest(), "big").bit_length()) // 2


def tree(items, layer):
    """The root of items (key, CID, block or None), and its blocks, parents first."""
    if not items:
        return None, []
    tops = [i for i, item in enumerate(items) if layer_of(item[0]) == layer]
    edges = [-1, *tops, len(items)]
    below = [tree(items[a + 1:b], layer - 1) for a, b in zip(edges, edges[1:])]
    entries, blocks, before = [], list(below[0][1]), b""
    for i, (right, its_blocks) in zip(tops, below[1:]):
        key, cid, block = items[i]
        shared = next((n for n, (a, b) in enumerate(zip(key, before)) if a != b), min(len(key), len(before)))
        entries.append({"k": key[shared:], "p": shared, "t": right and Link(right), "v": Link(cid)})
        blocks += [(cid, block)] if block is not None else []
        blocks += its_blocks
        before = key
    node = encode({"e": entries, "l": below[0][0] and Link(below[0][0])})
    return cid_of(node), [(cid_of(node), node), *blocks]


def car(items):
    root, blocks = tree(items, max(layer_of(key) for key, _, _ in items))
    commit = encode({"did": DID, "rev": "3jzfcijpj2z2a", "sig": bytes(range(1, 65)), "data": Link(root), "prev": None,
                     "version": 3})
    return make_car(cid_of(commit), [(cid_of(commit), commit), *blocks]), blocks


def story():
    records = [encode({"n": i, "p": bytes([i & 255]) * RECORD_BYTES}) for i in range(RECORDS)]
    return [(b"app.bsky.feed.post/3k%06d" % i, cid_of(block), block) for i, block in enumerate(records)]


def same_verdict(bytes_, code, expect):
    path = fr.scratch("car")
    path.write_bytes(bytes_)
    of_file = fr.run("repo", "check", path, expect=expect)
    of_pipe = fr.run("repo", "check", "-", stdin=bytes_, expect=expect)
    assert code in of_file.text + of_file.errors and code in of_pipe.text + of_pipe.errors, of_pipe
    listed = [fr.run("repo", "ls", word, stdin=bytes_, expect=expect).out for word in (path, "-")]
    assert expect != 0 or listed[0] == listed[1]


def test_a_node_that_is_a_record_too():
    items = story()
    _, blocks = car(items)
    at = next(i for i, (cid, _) in enumerate(blocks) if cid == items[EARLY][1])
    early = next(cid for cid, block in blocks[at:] if block.startswith(b"\xa2\x61e"))
    same_verdict(car(items[:-1] + [(items[-1][0], early, None)])[0], "ok", 0)


def test_the_same_bytes_under_two_codecs_are_two_blocks():
    items = story()
    key, _, block = items[EARLY]
    items[EARLY] = key, cid_of(block, RAW), block
    same_verdict(car(items[:-1] + [(items[-1][0], cid_of(block), None)])[0], "tree-missing-record", 1)
    both, _ = car(items[:-1] + [(items[-1][0], cid_of(block), block)])
    same_verdict(both, "ok", 0)


def test_output_that_cannot_be_written():
    path = fr.scratch("car")
    path.write_bytes(car(story()[:50])[0])
    key = "app.bsky.feed.post/3k000007"
    for words in (["prove", "--out", "/nonexistent/x", key, path], ["pack", "--out", "/nonexistent/x", path]):
        result = fr.run("repo", *words, expect=4)
        assert "/nonexistent/x" in result.errors, result.errors


if __name__ == "__main__":
    fr.need_command()
    fr.main(sys.modules[__name__])

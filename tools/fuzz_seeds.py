#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""tools/fuzz_seeds.py CORPORA OUT: other people's files as seeds, OUT/TARGET/NAME, each in the form that its fuzz
target reads. CORPORA is where tests find theirs (FR_CORPUS); what is not there gives nothing. A seed's name is the
hash of its bytes, so none is there twice.

CARs go whole to the targets of framing and walk, with the options in front that let them in; nodes, commits and
records are cut out of them, as far as their framing holds; frames are taken apart; and so are lists of cases."""
import ast
import base64
import hashlib
import itertools
import json
import sys
from pathlib import Path

FILE_BYTES_MAX = 64 << 10  # a larger one makes each run slow; its blocks are cut out all the same
LOAD_BYTES_MAX = 8 << 10   # load_fuzz reads its input many times, and in small pieces
BLOCKS_MAX = 100           # of a file: there is a hostile one of 20,000 nodes alike
BARE, ANY_KEY, PARTIAL, CHECK_RECORDS = 1, 2, 4, 8  # car_fuzz's first byte; of faults_fuzz's the first three
CAR_HEAD = b"\xa2eroots"   # what a CAR begins with, behind the length of its header


class Seeds:
    """What a run before has left stays, and is not written again."""

    def __init__(self, out):
        self.out, self.there = out, {}

    def put(self, target, data, most=FILE_BYTES_MAX):
        folder, name = self.out / target, hashlib.sha256(data).hexdigest()[:16]
        if target not in self.there:
            folder.mkdir(parents=True, exist_ok=True)
            self.there[target] = {path.name for path in folder.iterdir()}
        if len(data) <= most and name not in self.there[target]:
            self.there[target].add(name)
            (folder / name).write_bytes(data)


def varint(data, at):
    """(value, where it ends); the end is None when there is none."""
    value = 0
    for i, byte in enumerate(data[at:at + 9]):
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value, at + i + 1
    return value, None


def blocks_of(car):
    """Blocks of a CAR as long as sections have a CID of 36 bytes and end in the file."""
    size, at = varint(car, 0)
    at = at and at + size
    while at is not None and at < len(car):
        size, at = varint(car, at)
        if at is None or size < 36 or at + size > len(car):
            return
        if car[at] == 1 and car[at + 2:at + 4] == b"\x12\x20":
            yield car[at + 36:at + size]
        at += size


def put_blocks(seeds, car):
    for block in itertools.islice(blocks_of(car), BLOCKS_MAX):
        if block[:1] in (b"\xa1", b"\xa2", b"\xbf") and block[1:3] in (b"ae", b"al"):
            seeds.put("repo_node_fuzz", block)
        elif b"csig" in block and b"gversion" in block:
            seeds.put("repo_commit_fuzz", block)
        else:
            seeds.put("codec_cbor_fuzz", block)


def cars(seeds, corpora):
    found = [(path, CHECK_RECORDS) for folder in ("car", "hostile") for path in (corpora / folder).rglob("*.car")]
    found += [(path, BARE | ANY_KEY | PARTIAL) for path in (corpora / "mst").rglob("*.car")]
    for path, options in found:
        car = path.read_bytes()
        seeds.put("repo_car_fuzz", bytes([options]) + car)
        seeds.put("repo_faults_fuzz", bytes([options & 7]) + car)
        seeds.put("repo_load_fuzz", bytes([options << 2, 255]) + car, LOAD_BYTES_MAX)  # at once
        if options == CHECK_RECORDS:  # in pieces of 50 bytes, under a small limit
            seeds.put("repo_load_fuzz", bytes([options << 2 | 64, 7]) + car, LOAD_BYTES_MAX)
        put_blocks(seeds, car)


def frames(seeds, corpora):
    path = corpora / "firehose/frames.bin"
    data, at = path.read_bytes() if path.exists() else b"", 0
    while at + 4 <= len(data):
        size = int.from_bytes(data[at:at + 4], "little")
        frame = data[at + 4:at + 4 + size]
        at += 4 + size
        seeds.put("repo_frame_fuzz", frame)
        head = frame.find(CAR_HEAD)
        if head > 0:
            put_blocks(seeds, frame[head - 1:])
    path = corpora / "firehose/expected_jetstream.jsonl"
    for line in path.read_bytes().splitlines() if path.exists() else ():
        seeds.put("log_event_json_fuzz", line)


def values(seeds, corpora):
    """CBOR in hex, the data model's cases, the syntaxes' lines, and a node of which Go wrote down the bytes."""
    for path in [*(corpora / "cbor").rglob("*.json"), *(corpora / "interop/data-model").glob("*.json")]:
        for case in json.loads(path.read_text()):
            if text := case.get("data") or case.get("hex"):
                seeds.put("codec_cbor_fuzz", bytes.fromhex(text))
            if text := case.get("cbor_base64"):
                seeds.put("codec_cbor_fuzz", base64.b64decode(text + "=" * (-len(text) % 4)))
            if "json" in case:
                seeds.put("codec_json_fuzz", json.dumps(case["json"]).encode())
    for path in (corpora / "interop/syntax").glob("*.txt"):
        for line in path.read_bytes().splitlines():
            if line and not line.startswith(b"#"):
                seeds.put("atproto_syntax_fuzz", line)
    for path in (corpora / "cbor").glob("*FuzzDecodeNodeData*"):
        text = path.read_text().split('[]byte(', 1)[1].rsplit(")", 1)[0]
        seeds.put("repo_node_fuzz", ast.literal_eval("b" + text))


def main():
    corpora, out = map(Path, sys.argv[1:])
    seeds = Seeds(out)
    cars(seeds, corpora)
    frames(seeds, corpora)
    values(seeds, corpora)


if __name__ == "__main__":
    main()

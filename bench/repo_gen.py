#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""A repository for benches: one seed, one file.

    bench/repo_gen.py N --out CAR [--seed S] [--order pds|streamable|random] [--sign-key HEX|FILE] [--freshet BINARY]

N records, each later than the one before by 1 to 600,000,000 us, under the TIDs of their times: 60 % likes (about 212
bytes), 20 % posts of 3 to 49 common words, half of them replies, 10 % reposts, 10 % follows. 192,000 of them are 68 MB,
243,000 blocks and a tree of height 8. The tree is built by `freshet repo pack`; the signature is 64 zero bytes, or by
--sign-key.

Orders, the commit first in each: streamable, each block before what it leads to, as pack writes it; pds, as a PDS that
keeps its blocks by revision hands them out: groups of 3,000,000,000 us, the newest first, in a group by the text of the
CID, downwards, a node being as new as the newest record below it; random, from the seed.

Prints records and the sum of their bytes, as it knows them before there is a CAR."""
import argparse
import base64
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
ORDERS = ("pds", "streamable", "random")
DID = "did:plc:" + "a" * 24
START_US = 1_680_000_000_000_000
STEP_US_MAX = 600_000_000
GROUP_US = 3_000_000_000
CID_START = b"\x01\x71\x12\x20"  # version 1, DRISL, SHA-256
LINK_START = b"\xd8\x2a\x58\x25\x00" + CID_START
CID_BYTES = 36
ALPHABET = "234567abcdefghijklmnopqrstuvwxyz"
WORDS = ("the of and a to in is you that it he was for on are as with his they at be this have from or one had by "
         "word but not what all were we when your can said there use an each which she do how their if").split()


# ---- records ---------------------------------------------------------------------------------------------------------

def tid(micros, clock):
    value = micros << 10 | clock
    return "".join(ALPHABET[value >> shift & 31] for shift in range(60, -1, -5))


def cid_text(raw):
    return "b" + base64.b32encode(raw).decode().lower().rstrip("=")


def records(count, rng):
    """(key, time, value) of each."""
    micros = START_US
    for _ in range(count):
        micros += rng.randint(1, STEP_US_MAX)
        rkey = tid(micros, rng.randrange(1024))
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(micros // 1_000_000)) + f".{micros // 1000 % 1000:03}Z"
        did = "did:plc:" + "".join(rng.choices(ALPHABET, k=24))
        subject = {"cid": cid_text(CID_START + rng.randbytes(32)),
                   "uri": f"at://{did}/app.bsky.feed.post/{tid(micros - rng.randrange(10**9), rng.randrange(1024))}"}
        kind = rng.random()
        if kind < 0.6:
            name, body = "app.bsky.feed.like", {"subject": subject}
        elif kind < 0.8:
            name, body = "app.bsky.feed.post", {"text": " ".join(rng.choices(WORDS, k=rng.randint(3, 49))),
                                                "langs": ["en"]}
            if rng.random() < 0.5:
                body["reply"] = {"root": subject, "parent": subject}
        elif kind < 0.9:
            name, body = "app.bsky.feed.repost", {"subject": subject}
        else:
            name, body = "app.bsky.graph.follow", {"subject": did}
        yield f"{name}/{rkey}", micros, {"$type": name, **body, "createdAt": when}


def cbor_bytes(value):
    """Of a value of these records: ASCII, fewer than 24 members, no numbers."""
    if isinstance(value, str):
        return len(value) + (1 if len(value) < 24 else 2 if len(value) < 256 else 3)
    if isinstance(value, list):
        return 1 + sum(map(cbor_bytes, value))
    return 1 + sum(cbor_bytes(name) + cbor_bytes(member) for name, member in value.items())


# ---- the order of blocks ---------------------------------------------------------------------------------------------

def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at


def sections(car):
    """The header, then (CID, section) of each block."""
    size, at = varint(car, 0)
    header = car[:at + size]
    found, end = [], len(header)
    while end < len(car):
        start = end
        size, at = varint(car, start)
        end = at + size
        found.append((car[at:at + CID_BYTES], car[start:end]))
    return header, found


def block_times(blocks, of_record):
    """CID to time, for the blocks of a CAR in streamable order: behind a node comes all that it leads to."""
    times = dict(of_record)
    for cid, section in reversed(blocks):
        if cid not in times:
            links = section.split(LINK_START)[1:]
            times[cid] = max((times[CID_START + link[:32]] for link in links), default=0)
    return times


def arrange(car, order, of_record, rng):
    header, blocks = sections(car)
    commit, rest = blocks[0], blocks[1:]
    if order == "random":
        rng.shuffle(rest)
    else:
        times = block_times(rest, of_record)
        rest.sort(key=lambda block: (times[block[0]] // GROUP_US, cid_text(block[0])), reverse=True)
    return b"".join([header, commit[1], *(section for _, section in rest)])


# ---- the file --------------------------------------------------------------------------------------------------------

def listing(freshet, car):
    """Key to CID, as pack wrote it."""
    done = subprocess.run([freshet, "repo", "ls", "--level", "trusted", "--mem", "4G", car], check=True,
                          stdout=subprocess.PIPE, text=True)
    rows = (line.split("\t") for line in done.stdout.splitlines())
    return {row[0]: base64.b32decode(row[1][1:].upper() + "=" * 6) for row in rows}


def make(freshet, count, out, seed=1, order="pds", sign_key=None):
    """Writes the CAR; the number of records and the sum of their bytes."""
    rng, times, record_bytes = random.Random(seed), {}, 0
    with tempfile.NamedTemporaryFile("w", suffix=".ndjson", dir=Path(out).parent) as lines:
        for key, micros, value in records(count, rng):
            times[key] = micros
            record_bytes += cbor_bytes(value)
            lines.write(json.dumps({"uri": f"at://{DID}/{key}", "value": value}) + "\n")
        lines.flush()
        rev = tid(max(times.values(), default=START_US), 1023)
        sign = ["--sign-key", sign_key] if sign_key else []
        done = subprocess.run([freshet, "repo", "pack", "--did", DID, "--rev", rev, "--order", "streamable", "--mem",
                               "2G", *sign, "-o", str(out), lines.name], stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr)
    if order != "streamable":
        of_record = {cid: times[key] for key, cid in listing(freshet, str(out)).items()}
        Path(out).write_bytes(arrange(Path(out).read_bytes(), order, of_record, rng))
    return count, record_bytes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int, metavar="N")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--order", choices=ORDERS, default="pds")
    parser.add_argument("--sign-key", metavar="HEX|FILE")
    parser.add_argument("--freshet", default=os.environ.get("FRESHET", str(SOURCE / "build" / "freshet")))
    args = parser.parse_args()
    if args.count < 0:
        parser.error("N is a number of records")
    if not os.access(args.freshet, os.X_OK):
        sys.exit(f"no {args.freshet}: build freshet first")
    found = make(args.freshet, args.count, args.out.resolve(), args.seed, args.order, args.sign_key)
    print(*found)


if __name__ == "__main__":
    main()

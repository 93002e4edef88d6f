#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""bench/repo_gen.py: what it makes is what it says, in each order, and the same for the same seed."""
import collections
import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))
import atproto  # noqa: E402
import freshet as fr  # noqa: E402
from repos import SECRET, repo, sections  # noqa: E402

COUNT = 2000
KEY = "did:key:zQ3shjyJXUaRJC2GC43mX8aPrUhoTdoiongXhZjsdTzPKYZUM"  # of SECRET
ORDERS = ("pds", "streamable", "random")
LINK = b"\xd8\x2a\x58\x25\x00"


def make(*options, count=COUNT):
    """The path, and the records and bytes that it tells."""
    out = fr.scratch("made.car")
    program = [sys.executable, "-B", str(fr.SOURCE / "bench" / "repo_gen.py")]
    done = subprocess.run([*program, str(count), "--out", str(out), *options], capture_output=True, text=True,
                          env={**os.environ, "FRESHET": fr.FRESHET})
    assert done.returncode == 0, done.stderr
    return out, [int(word) for word in done.stdout.split()]


def rows(path):
    return [line.split("\t") for line in repo("ls", path).text.splitlines()]


def time_of(key):
    """Microseconds of a TID."""
    value = 0
    for letter in key.split("/")[1]:
        value = value << 5 | atproto.TID_ALPHABET.index(letter)
    return value >> 10


def links(section):
    """The CIDs that a block of ours names."""
    return [atproto.cid_text(piece[:36]) for piece in section.split(LINK)[1:]]


def newest_below(blocks, times, root):
    """CID -> time of the newest record that it leads to, from the root down and back up."""
    order, open_ones = [], [root]
    while open_ones:
        cid = open_ones.pop()
        if cid not in times:
            order.append(cid)
            open_ones += links(blocks[cid])
    found = dict(times)
    for cid in reversed(order):
        found[cid] = max(found[below] for below in links(blocks[cid]))
    return found


def test_orders():
    made = {order: make("--order", order) for order in ORDERS}
    listed = rows(made["pds"][0])
    for order, (path, told) in made.items():
        assert rows(path) == listed, order
        assert told == [COUNT, sum(int(row[2]) for row in listed)], (order, told)
        assert json.loads(repo("check", "--json", path).text)["unreachable_blocks"] == 0
    data = {order: path.read_bytes() for order, (path, _) in made.items()}
    assert len(set(data.values())) == len(ORDERS) and len(set(map(len, data.values()))) == 1
    found = {order: json.loads(repo("order", "--json", path).text) for order, (path, _) in made.items()}
    assert found["streamable"]["order"] == "streamable" and found["pds"]["order"] == "pds-like", found
    assert found["random"]["order"] == "commit-first", found


def test_pds_order():
    path, _ = make("--order", "pds")
    blocks = sections(path.read_bytes())
    commit, *rest = blocks
    records = {cid: time_of(key) for key, cid, _ in rows(path)}
    newest = newest_below(blocks, records, links(blocks[commit])[0])
    assert len(newest) == len(rest), "the commit is the first block, and nothing is there twice"
    placed = [(newest[cid] // 3_000_000_000, cid) for cid in rest]
    assert placed == sorted(placed, reverse=True)
    assert len({group for group, _ in placed}) > 100


def test_the_same_seed_gives_the_same_bytes():
    for order in ORDERS:
        first, again, other = (make("--order", order, "--seed", seed)[0].read_bytes() for seed in ("7", "7", "8"))
        assert first == again != other, order


def test_signature():
    plain, signed = make()[0], make("--sign-key", SECRET)[0]
    assert json.loads(repo("commit", "--json", plain).text)["sig"] == "0" * 128
    repo("check", "--key", KEY, plain, expect=1)
    found = json.loads(repo("commit", "--json", "--key", KEY, signed).text)
    assert found["signature"] == "valid", found
    assert rows(plain) == rows(signed)


def test_shape():
    """Kinds, sizes and times are those that were asked for."""
    path, _ = make()
    listed = rows(path)
    kinds, sizes = collections.Counter(), collections.defaultdict(list)
    for key, _, size in listed:
        kinds[key.split("/")[0]] += 1
        sizes[key.split("/")[0]].append(int(size))
    for name, share in (("feed.like", 0.6), ("feed.post", 0.2), ("feed.repost", 0.1), ("graph.follow", 0.1)):
        assert abs(kinds[f"app.bsky.{name}"] / COUNT - share) < 0.05, kinds
    assert set(sizes["app.bsky.feed.like"]) == {212}
    times = sorted(time_of(key) for key, _, _ in listed)
    steps = [after - before for before, after in zip(times, times[1:])]
    assert 0 < min(steps) and 500_000_000 < max(steps) <= 600_000_000, (min(steps), max(steps))
    replies = texts = 0
    for line in repo("unpack", "--ndjson", "--collection", "app.bsky.feed.post", path).text.splitlines():
        value = json.loads(line).get("value")
        if value is not None:
            replies += "reply" in value
            texts += 1
            assert 3 <= len(value["text"].split()) <= 49, value
    assert texts == kinds["app.bsky.feed.post"] and 0.4 < replies / texts < 0.6, (texts, replies)


def test_nothing_and_one():
    for count in (0, 1):
        for order in ORDERS:
            path, told = make("--order", order, count=count)
            assert told[0] == count and len(rows(path)) == count


if __name__ == "__main__":
    fr.main(sys.modules[__name__])

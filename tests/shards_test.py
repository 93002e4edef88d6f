#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""One log, split by partition key over three processes, and a gateway that merges their answers: what one process with
all of it says (R72). A record lies with the account that wrote it, and so does that account's status. So

    counts         add, and so do distinct accounts, each of which is in one shard
    lists          are a union: each shard has its own in their order of arrival; between shards nobody knows it
    relationships  are what a wrote, from the shard of a, and what b wrote, from that of b
    author feeds   are in the author's shard; whether what is reposted still stands is known where its author is
    timelines      take follows from the viewer's shard, blocks of the viewer from all of them, and merge author feeds
                   by their key: time, CID, a hash of the at-uri

What today's answers do not let a gateway merge exactly: a repost of a post that no log here ever had (one process shows
it; from outside it looks like one that was deleted); a handle that accounts of two shards claim (the latest claim has
it, and no answer tells when it was made); what an inactive account follows; /links/top, an estimate of each process."""
import collections
import ctypes
import hashlib
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))
import freshet as fr  # noqa: E402
from atproto import cid_bytes, read_lines  # noqa: E402
from model import BLOCK, FOLLOW, REPOST, links_of, parse_ms, split_uri  # noqa: E402

SHARDS = 3
XXHASH = ctypes.CDLL("libxxhash.so.0")
XXHASH.XXH3_64bits.restype = ctypes.c_uint64
XXHASH.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]


def shard_of(did):
    """By the partition key of its events: XXH3-64 of the DID."""
    return XXHASH.XXH3_64bits(did.encode(), len(did.encode())) % SHARDS


def pages(source, route, items, /, **params):
    """All items of a paged answer; an account that a shard never heard of has none there."""
    out, cursor = [], None
    while True:
        answer = source.get(route, cursor=cursor, **params)
        if answer.status == 404:
            return []
        assert answer.status == 200, answer
        out += answer.json[items]
        cursor = answer.json["cursor"]
        if cursor is None:
            return out


class Gateway:
    """Has no data: every answer comes from the shards."""

    def __init__(self, shards, people):
        self.shards, self.people, self.feeds = shards, people, {}

    def of(self, did):
        return self.shards[shard_of(did)]

    def all_counts(self, target):
        sums = collections.defaultdict(collections.Counter)
        for shard in self.shards:
            for collection, paths in shard.ok("/links/all/count", target=target)["links"].items():
                sums[collection].update(paths)
        return sums

    def count(self, **which):
        return sum(shard.ok("/links/count", **which)["total"] for shard in self.shards)

    def linkers(self, **which):
        """One list a shard."""
        return [pages(shard, "/links", "linking_records", limit=7, **which) for shard in self.shards]

    def relationships(self, a, b):
        wrote = self.of(a).ok("/relationships", a=a, b=b)
        met = self.of(b).ok("/relationships", a=a, b=b)
        wrote.update(followedBy=met["followedBy"], blockedBy=met["blockedBy"])
        wrote["mutual"] = bool(wrote["following"] and wrote["followedBy"] and a != b
                               and not wrote["blocking"] and not wrote["blockedBy"])
        return wrote

    def wrote(self, did):
        """The author's shard's own view of the feed, kept: nothing is written here meanwhile."""
        if did not in self.feeds:
            self.feeds[did] = pages(self.of(did), "/author", "feed", did=did, limit=100)
        return self.feeds[did]

    def stands(self, item):
        return item["kind"] == "post" or any(
            i["uri"] == item["subject"] for i in self.wrote(split_uri(item["subject"])[0]))

    def author(self, did):
        return [item for item in self.wrote(did) if self.stands(item)]

    def timeline(self, viewer):
        ours = {did: self.of(viewer).ok("/relationships", a=viewer, b=did) for did in self.people}
        blocked = {did for did, edge in ours.items() if edge["blocking"]}
        for linkers in self.linkers(target=viewer, collection=BLOCK, path=".subject"):
            blocked |= {linker["did"] for linker in linkers}
        authors = {did for did, edge in ours.items() if edge["following"]} - blocked | {viewer}
        items = [item for did in authors for item in self.author(did)
                 if item["kind"] == "post" or split_uri(item["subject"])[0] not in blocked]
        return sorted(items, reverse=True, key=lambda i: (parse_ms(i["sortAt"]), cid_bytes(i["cid"]),
                                                          hashlib.sha256(i["uri"].encode()).digest()[:8]))


class Split:
    """The same lines in one process and in three, and what can be asked about them."""

    def __init__(self, rng):
        path = fr.simulate(120, 7000, rng.randrange(1 << 30))
        texts = path.read_bytes().splitlines(keepends=True)
        events = read_lines(path)
        self.people = sorted({event["did"] for event in events})
        records = [(e["did"], e["commit"]) for e in events if e["kind"] == "commit" and "record" in e["commit"]]
        self.links = sorted({(target, commit["collection"], path) for _, commit in records
                             for path, target in links_of(commit["record"])})
        known = {f"at://{did}/{commit['collection']}/{commit['rkey']}" for did, commit in records}
        assert all(commit["record"]["subject"]["uri"] in known for _, commit in records
                   if commit["collection"] == REPOST), "a gateway cannot know what no log had"
        self.edges = [(did, commit["record"]["subject"]) for did, commit in records
                      if commit["collection"] in (FOLLOW, BLOCK)]
        self.handles = collections.defaultdict(set)
        for event in events:
            if event["kind"] == "identity" and "handle" in event["identity"]:
                self.handles[event["identity"]["handle"]].add(event["did"])
        kinds = collections.Counter(e["commit"]["operation"] if e["kind"] == "commit" else e["kind"] for e in events)
        assert min(kinds[k] for k in ("create", "update", "delete", "account", "identity")) > 0, kinds
        self.one = self.serve(texts)
        self.shards = [self.serve([t for t, e in zip(texts, events) if shard_of(e["did"]) == n]) for n in range(SHARDS)]
        assert sum(s.ok("/ready")["seq"] for s in self.shards) == self.one.ok("/ready")["seq"] == len(events)
        self.gateway = Gateway(self.shards, self.people)

    @staticmethod
    def serve(texts):
        data = fr.scratch()
        fr.ingest(data, "-", stdin=b"".join(texts))
        return fr.Daemon(data)

    def stop(self):
        for daemon in [self.one, *self.shards]:
            daemon.stop()


def compare_links(split, rng):
    one, gateway = split.one, split.gateway
    many = collections.Counter(target for target, _, _ in split.links)
    for target in rng.sample(sorted(many), 250) + [t for t, _ in many.most_common(30)]:
        expected = one.ok("/links/all/count", target=target)["links"]
        assert gateway.all_counts(target) == expected, target
    shared = 0
    for target, collection, path in rng.sample(split.links, 400):
        which = {"target": target, "collection": collection, "path": path}
        assert gateway.count(**which) == one.ok("/links/count", **which)["total"], which
        expected = pages(one, "/links", "linking_records", limit=50, **which)
        lists = gateway.linkers(**which)
        for n, found in enumerate(lists):  # a subsequence of the one list, in its order, and together all of it
            assert found == [row for row in expected if shard_of(row["did"]) == n], (which, n)
        distinct = sum(len({row["did"] for row in found}) for found in lists)
        assert distinct == len({row["did"] for row in expected}), which
        shared += sum(map(bool, lists)) > 1
    assert shared > 10, "hardly a list that lies in two shards"
    web = [link for link in split.links if link[0].startswith("https://")]
    for target, collection, path in rng.sample(web, 20):  # not in normal form: every shard finds that
        which = {"target": "HTTPS://" + target.removeprefix("https://"), "collection": collection, "path": path}
        assert gateway.count(**which) == one.ok("/links/count", **which)["total"], which


def compare_people(split, rng):
    one, gateway = split.one, split.gateway
    pairs = rng.sample(split.edges, 300) + [rng.sample(split.people, 2) for _ in range(100)]
    for a, b in pairs:
        assert gateway.relationships(a, b) == one.ok("/relationships", a=a, b=b), (a, b)
        assert gateway.relationships(b, a) == one.ok("/relationships", a=b, b=a), (b, a)
    for did in split.people:
        assert gateway.author(did) == pages(one, "/author", "feed", did=did, limit=100), did
    undisputed = [(handle, *dids) for handle, dids in split.handles.items() if len(dids) == 1]
    for handle, did in rng.sample(undisputed, 30):
        knowing = [n for n, s in enumerate(split.shards) if s.get("/author", did=handle).status == 200]
        expected = one.get("/author", did=handle).status
        assert knowing == ([shard_of(did)] if expected == 200 else []), (handle, did)


def compare_timelines(split, rng):
    one, gateway = split.one, split.gateway
    wrote = {e[0] for e in split.edges}
    viewers = rng.sample(sorted(wrote), 25)
    told = 0
    for viewer in viewers:
        if not any(gateway.relationships(viewer, b)["following"] for a, b in split.edges if a == viewer):
            continue  # of an inactive account nobody tells what it follows
        expected = pages(one, "/timeline", "feed", did=viewer, limit=100)
        assert gateway.timeline(viewer) == expected, viewer
        told += len({shard_of(item["author"]) for item in expected}) == SHARDS
    assert told > 5, "hardly a timeline out of all shards"


def test_a_gateway_over_three_shards_says_what_one_process_says():
    rng = random.Random(fr.seed())
    split = Split(rng)
    compare_links(split, rng)
    compare_people(split, rng)
    compare_timelines(split, rng)
    split.stop()


if __name__ == "__main__":
    fr.main(sys.modules[__name__])

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""/timeline, /author, /newest and /relationships against a naive model fed with the same generated lines; paging while
the world changes; handles for DIDs; refusals."""
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))
import freshet as fr  # noqa: E402
from atproto import Writer, read_lines, rfc3339, tid  # noqa: E402
from model import Model  # noqa: E402

POST, REPOST, FOLLOW, BLOCK = ("app.bsky.feed.post", "app.bsky.feed.repost", "app.bsky.graph.follow",
                               "app.bsky.graph.block")


def walk(source, path, limit, **params):
    items, cursor = [], None
    while True:
        answer = source.ok(path, limit=limit, cursor=cursor, **params)
        assert set(answer) >= {"feed", "cursor", "complete"} and answer["complete"] is True, answer
        assert len(answer["feed"]) == limit or answer["cursor"] is None, (path, params)
        items += answer["feed"]
        cursor = answer["cursor"]
        if cursor is None:
            return items


def same(found, expected, what):
    assert len(found) == len(expected), (what, len(found), len(expected), [i["uri"] for i in found[:3]])
    for i, (a, b) in enumerate(zip(found, expected)):
        assert a == b, (what, i, a, b)


def compare(source, model, rng, people):
    for did in people:
        limit = rng.choice([7, 50, 100])
        same(walk(source, "/author", limit, did=did), model.feed({did}), ("author", did))
        same(walk(source, "/timeline", limit, did=did), model.timeline(did), ("timeline", did))


def compare_pairs(source, model, pairs):
    for a, b in pairs:
        answer = source.ok("/relationships", a=a, b=b)
        expected = model.relationships(a, b)
        assert (answer["a"], answer["b"]) == (a, b), answer
        for name, uris in expected.items():
            assert answer[name] in uris if uris else answer[name] is None, (name, answer, uris)
        mutual = bool(expected["following"] and expected["followedBy"] and not expected["blocking"]
                      and not expected["blockedBy"] and a != b)
        assert answer["mutual"] is mutual, answer


def people_of(model, rng, count):
    dids = sorted({k[0] for k in model.records} | set(model.status))
    return rng.sample(dids, min(count, len(dids)))


def test_a_network_as_it_is_told():
    rng = random.Random(fr.seed())
    events = read_lines(fr.simulate(80, 4000, rng.randrange(1 << 30)))
    model = Model()
    with fr.Feed() as feed:
        at = 0
        while at < len(events):
            piece = events[at:at + rng.randrange(300, 1200)]
            at += len(piece)
            feed.write(*piece)
            for event in piece:
                model.apply(event)
            compare(feed, model, rng, people_of(model, rng, 8))
            same(walk(feed, "/newest", 100), model.feed(), "newest")
            if rng.random() < 0.4:
                feed.restart(kill=rng.random() < 0.5)
                compare(feed, model, rng, people_of(model, rng, 3))


def test_a_whole_network():
    rng = random.Random(fr.seed())
    path = fr.simulate(200, 12_000, rng.randrange(1 << 30))
    model = Model(read_lines(path))
    data = fr.scratch()
    fr.ingest(data, path)
    with fr.Daemon(data) as daemon:
        people = people_of(model, rng, 15)
        compare(daemon, model, rng, people)
        hidden = list(model.status)[:6]
        compare(daemon, model, rng, hidden)
        pairs = [(rng.choice(people), rng.choice(people)) for _ in range(100)]
        edges = [(k[0], e["commit"]["record"]["subject"]) for k, e in model.records.items() if k[1] in (FOLLOW, BLOCK)]
        pairs += rng.sample(edges, min(300, len(edges)))
        pairs += [(b, a) for k, a in [(k[0], e["commit"]["record"]["subject"]) for k, e in model.records.items()
                                      if k[1] == BLOCK] for b in [k]]
        compare_pairs(daemon, model, pairs)
        undisputed = [(h, d) for d, h in model.handle_of.items() if len(model.handles[h]) == 1 and model.active(d)]
        for handle, did in rng.sample(undisputed, 20):
            found = daemon.ok("/author", did=handle.upper(), limit=5)
            assert found == daemon.ok("/author", did=did, limit=5), handle
            other = rng.choice(people)
            assert daemon.ok("/relationships", a=handle, b=other) == daemon.ok("/relationships", a=did, b=other)


class Town:
    """A few people, made by hand."""

    def __init__(self, plain_keys=False):
        self.feed = fr.Feed()
        self.keys = {}
        self.plain_keys = plain_keys
        self.w = Writer()
        self.model = Model()

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.feed.__exit__(*what)

    def tell(self, *events):
        self.feed.write(*events)
        for event in events:
            self.model.apply(event)

    def key(self, name):
        """A TID for a name; its own name for what is no TID."""
        if name not in self.keys:
            self.keys[name] = name if self.plain_keys else tid(1_600_000_000_000_000 + len(self.keys))
        return self.keys[name]

    def uri(self, who, name, collection=POST):
        return f"at://did:plc:{who}/{collection}/{self.key(name)}"

    def names(self, items):
        back = {v: k for k, v in self.keys.items()}
        return [back[i["uri"].split("/")[-1]] for i in items]

    def post(self, who, name, created=None, **more):
        now = rfc3339(self.w.clock.now + 1000)
        record = {"$type": POST, "text": f"{who} {name}", "createdAt": created or now, **more}
        return self.w.create(f"did:plc:{who}", POST, self.key(name), record)

    def unpost(self, who, name):
        return self.w.delete(f"did:plc:{who}", POST, self.key(name))

    def repost(self, who, name, subject):
        record = {"$type": REPOST, "createdAt": rfc3339(self.w.clock.now + 1000),
                  "subject": {"uri": subject, "cid": "bafyreichz5oebrfqy7xkrzqiqthe6g5yqbpwczz4nvvhtkwjxcs5jmdvqe"}}
        return self.w.create(f"did:plc:{who}", REPOST, self.key(name), record)

    def edge(self, kind, who, rkey, whom):
        record = {"$type": kind, "createdAt": "2025-01-01T00:00:00Z", "subject": f"did:plc:{whom}"}
        return self.w.create(f"did:plc:{who}", kind, rkey, record)

    def timeline(self, who, limit=3):
        found = walk(self.feed, "/timeline", limit, did=f"did:plc:{who}")
        same(found, self.model.timeline(f"did:plc:{who}"), ("timeline", who))
        return self.names(found)

    def author(self, who):
        found = walk(self.feed, "/author", 2, did=f"did:plc:{who}")
        same(found, self.model.feed({f"did:plc:{who}"}), ("author", who))
        return self.names(found)


def test_follow_unfollow_block():
    with Town() as t:
        t.tell(t.edge(FOLLOW, "me", "f1", "ann"), t.edge(FOLLOW, "me", "f1b", "ann"), t.edge(FOLLOW, "me", "f2", "bob"))
        t.tell(t.post("ann", "a1"), t.post("bob", "b1"), t.post("me", "m1"), t.post("eve", "e1"))
        assert t.timeline("me") == ["m1", "b1", "a1"]
        t.tell(t.w.delete("did:plc:me", FOLLOW, "f1"))
        assert t.timeline("me") == ["m1", "b1", "a1"]  # the second record still says so
        t.tell(t.w.delete("did:plc:me", FOLLOW, "f1b"))
        assert t.timeline("me") == ["m1", "b1"]
        t.tell(t.edge(FOLLOW, "me", "f1", "ann"), t.edge(BLOCK, "ann", "k", "me"))
        assert t.timeline("me") == ["m1", "b1"]
        compare_pairs(t.feed, t.model, [("did:plc:me", "did:plc:ann"), ("did:plc:ann", "did:plc:me")])
        t.tell(t.repost("bob", "rp1", t.uri("ann", "a1")))
        assert t.timeline("me") == ["m1", "b1"]
        t.tell(t.w.account("did:plc:ann", False, "deactivated"))  # blocks of hidden accounts do not count …
        assert t.timeline("me") == ["m1", "b1"]                   # … but its posts are hidden as well
        t.tell(t.w.account("did:plc:ann", True), t.w.delete("did:plc:ann", BLOCK, "k"))
        assert t.timeline("me") == ["rp1", "m1", "b1", "a1"]
        t.tell(t.edge(BLOCK, "me", "k", "bob"))
        assert t.timeline("me") == ["m1", "a1"]
        t.tell(t.w.delete("did:plc:me", BLOCK, "k"), t.edge(FOLLOW, "bob", "f", "me"),
               t.edge(FOLLOW, "me", "self", "me"))
        assert t.timeline("me") == ["rp1", "m1", "b1", "a1"]
        everyone = [f"did:plc:{x}" for x in ("me", "ann", "bob", "eve", "nobody")]
        compare_pairs(t.feed, t.model, [(a, b) for a in everyone for b in everyone])


def test_deletes_updates_and_what_comes_again():
    with Town() as t:
        t.tell(*[t.post("ann", f"a{i}") for i in range(6)])
        assert t.author("ann") == ["a5", "a4", "a3", "a2", "a1", "a0"]
        t.tell(t.unpost("ann", "a5"), t.unpost("ann", "a2"))
        assert t.author("ann") == ["a4", "a3", "a1", "a0"]
        t.tell(t.post("ann", "a2"))
        assert t.author("ann") == ["a2", "a4", "a3", "a1", "a0"]
        event = t.post("ann", "a0")
        event["commit"]["operation"] = "update"
        t.tell(event)
        assert t.author("ann") == ["a0", "a2", "a4", "a3", "a1"]
        t.tell(t.post("ann", "old", created="2020-01-01T00:00:00.123456Z"),
               t.post("ann", "future", created="2099-01-01T00:00:00Z"), t.post("ann", "bad", created="yesterday"),
               t.post("ann", "zone", created="2021-06-01T02:00:00+02:00"))
        assert t.author("ann")[-2:] == ["zone", "old"]
        t.feed.restart(kill=True)
        t.author("ann")
        t.tell(t.w.account("did:plc:ann", False, "deleted"))
        assert t.author("ann") == []
        t.tell(t.w.account("did:plc:ann", True), t.post("ann", "new"))
        assert t.author("ann") == ["new"]


def reposts_go_with_their_subject(plain_keys):
    with Town(plain_keys) as t:
        t.tell(t.post("ann", "a1"), t.post("ann", "a2"),
               t.repost("bob", "r1", t.uri("ann", "a1")),
               t.repost("bob", "r2", t.uri("ann", "a2")),
               t.repost("bob", "r3", t.uri("elsewhere", "z")),
               t.repost("bob", "r4", t.uri("ann", "g", "app.bsky.feed.generator")))
        assert t.author("bob") == ["r3", "r2", "r1"]
        t.tell(t.unpost("ann", "a1"))
        assert t.author("bob") == ["r3", "r2"]
        t.feed.restart(kill=True)
        assert t.author("bob") == ["r3", "r2"]
        t.tell(t.w.account("did:plc:ann", False, "takendown"))
        assert t.author("bob") == ["r3"]
        t.tell(t.w.account("did:plc:ann", True), t.post("ann", "a1"))
        assert t.author("bob") == ["r3", "r2", "r1"]
        t.feed.restart()
        assert t.author("bob") == ["r3", "r2", "r1"]
        t.tell(t.w.account("did:plc:bob", False, "suspended"))
        assert t.author("bob") == []
        t.feed.daemon.stop()
        fr.digests(t.feed.data)


def test_reposts_go_with_their_subject():
    reposts_go_with_their_subject(False)


def test_record_keys_need_not_be_tids():
    reposts_go_with_their_subject(True)


def test_replies_say_what_they_reply_to():
    with Town() as t:
        ref = {"uri": t.uri("ann", "a1"), "cid": "bafy"}
        t.tell(t.post("bob", "b1", reply={"root": ref, "parent": ref}))
        item = t.feed.ok("/author", did="did:plc:bob")["feed"][0]
        assert item["reply"] == {"root": ref["uri"], "parent": ref["uri"]} and "subject" not in item, item


def test_equal_times_and_equal_cids():
    """Everything in one millisecond, records byte for byte the same: order is total, pages neither lose nor repeat."""
    with Town() as t:
        events = []
        for i in range(20):
            for who in ("ann", "bob", "eve"):
                record = {"$type": POST, "text": f"{i // 3}", "createdAt": "2025-01-01T00:00:00.000Z"}
                events.append(t.w.create(f"did:plc:{who}", POST, f"k{i}", record))
        t.tell(*events, *[t.edge(FOLLOW, "me", who, who) for who in ("ann", "bob", "eve")])
        expected = [i["uri"] for i in t.model.timeline("did:plc:me")]
        assert len(expected) == 60
        for limit in (1, 2, 7, 60):
            found = walk(t.feed, "/timeline", limit, did="did:plc:me")
            assert [i["uri"] for i in found] == expected, limit
            found = walk(t.feed, "/newest", limit)
            assert [i["uri"] for i in found] == expected, limit


def test_paging_while_the_world_changes():
    with Town() as t:
        t.tell(*[t.post("ann", f"a{i}") for i in range(9)], t.edge(FOLLOW, "me", "f", "ann"))
        first = t.feed.ok("/timeline", did="did:plc:me", limit=3)
        assert t.names(first["feed"]) == ["a8", "a7", "a6"]
        created = t.model.records["did:plc:ann", POST, t.key("a3")]["commit"]["record"]["createdAt"]
        t.tell(t.post("ann", "late"), t.unpost("ann", "a6"), t.unpost("ann", "a4"),
               t.post("ann", "between", created=created))
        t.feed.restart()
        rest = walk_from(t, first["cursor"])
        assert sorted(rest) == sorted(["a5", "a3", "between", "a2", "a1", "a0"]) and rest[0] == "a5", rest
        same(walk(t.feed, "/timeline", 3, did="did:plc:me"), t.model.timeline("did:plc:me"), "after")


def walk_from(t, cursor):
    out = []
    while cursor is not None:
        answer = t.feed.ok("/timeline", did="did:plc:me", limit=3, cursor=cursor)
        out += t.names(answer["feed"])
        cursor = answer["cursor"]
    return out


def test_refusals():
    with Town() as t:
        t.tell(t.post("ann", "a1"), t.w.identity("did:plc:ann", "ann.example"), t.post("ann", "a2"))
        good = t.feed.ok("/author", did="ann.example", limit=1)
        assert good["cursor"], good

        def refused(path, status, error, naming=None, **params):
            answer = t.feed.get(path, **params)
            assert answer.status == status and answer.json["error"] == error, (params, answer)
            assert naming is None or naming in answer.json["message"], answer
        for path in ("/timeline", "/author"):
            refused(path, 400, "InvalidRequest", "did")
            refused(path, 400, "InvalidRequest", "did", did="")
            refused(path, 400, "InvalidRequest", "did", did="not an account")
            refused(path, 400, "InvalidRequest", "did", did=["did:plc:ann", "did:plc:ann"])
            refused(path, 404, "NotFound", "did", did="did:plc:nobody")
            refused(path, 404, "NotFound", "did", did="nobody.example")
            for limit in ("0", "-1", "101", "x", "", "1.5", "99999999999999999999"):
                refused(path, 400, "InvalidRequest", "limit", did="did:plc:ann", limit=limit)
            for cursor in ("x", "1", "__", "1__x", good["cursor"] + "x", good["cursor"][:-1], good["cursor"] + "__zz",
                           "-" + good["cursor"], good["cursor"].upper(), "0" + good["cursor"],
                           "99999999999999999999" + good["cursor"], "\0", "a" * 4000):
                refused(path, 400, "InvalidCursor", did="did:plc:ann", cursor=cursor)
            assert t.feed.ok(path, did="did:plc:ann", cursor="")["feed"], path
        refused("/relationships", 400, "InvalidRequest", "a", b="did:plc:ann")
        refused("/relationships", 400, "InvalidRequest", "b", a="did:plc:ann")
        refused("/relationships", 400, "InvalidRequest", "a", a="x y", b="did:plc:ann")
        refused("/relationships", 404, "NotFound", a="nobody.example", b="did:plc:ann")
        unknown = t.feed.ok("/relationships", a="did:plc:nobody", b="did:plc:ann")
        assert unknown == {"a": "did:plc:nobody", "b": "did:plc:ann", "following": None, "followedBy": None,
                           "blocking": None, "blockedBy": None, "mutual": False}, unknown


if __name__ == "__main__":
    fr.main(sys.modules[__name__])

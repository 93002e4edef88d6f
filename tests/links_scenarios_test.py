#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Section 7 of the links specification against a running daemon: S1-S18 as far as counts, lists, all/count and stats
go, R1, R2, I1, X1-X20 likewise, and the tables of parameters and errors (L6-L10, L17-L20). Twins are
always asked both."""
import http.client
import json
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))
import freshet as fr  # noqa: E402
from atproto import Writer, tid  # noqa: E402

COLLECTION = "app.t.c"


def url(letter):
    """X stands for https://x.example/."""
    return f"https://{letter.lower()}.example/"


class World:
    """An empty data directory, a daemon over it, and the words of the specification's harness."""

    def __init__(self):
        self.feed = fr.Feed()
        self.writer = Writer()

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.feed.__exit__(*what)

    @staticmethod
    def did(name):
        return name if name.startswith("did:") else f"did:plc:{name}"

    @staticmethod
    def record(links):
        """{".abc.uri": "E", ".xyz[].uri": ["F", "G"]} -> the record."""
        out = {}
        for path, letters in links.items():
            steps = path.lstrip(".").split(".")
            if steps[0].endswith("[]"):
                out[steps[0][:-2]] = [{steps[1]: url(x)} for x in letters]
            elif len(steps) == 1:
                out[steps[0]] = url(letters)
            else:
                out[steps[0]] = {steps[1]: url(letters)}
        return out

    def event(self, operation, where, links=None, collection=COLLECTION, record=None, **more):
        did, rkey = where.split("/")
        record = record if record is not None else self.record(links) if links is not None else None
        return self.writer.commit(self.did(did), operation, collection, rkey, record, **more)

    def create(self, where, links=None, **more):
        return self.feed.write(self.event("create", where, links, **more))

    def update(self, where, links=None, **more):
        return self.feed.write(self.event("update", where, links, **more))

    def delete(self, where, **more):
        return self.feed.write(self.event("delete", where, **more))

    def account(self, name, active, status=None):
        return self.feed.write(self.writer.account(self.did(name), active, status))

    # -- asking

    def count(self, letter, path=".abc.uri", collection=COLLECTION, target=None, **more):
        target = target if target is not None else url(letter)
        old = self.feed.ok("/links/count", target=target, collection=collection, path=path, **more)
        new = self.feed.ok("/xrpc/blue.microcosm.links.getBacklinksCount", subject=target,
                           source=f"{collection}:{path[1:]}", **more)
        assert old == new and list(old) == ["total"], (old, new)
        all_counts = self.feed.ok("/links/all/count", target=target, **more)
        found = all_counts["links"].get(collection, {}).get(path, 0)
        assert found == old["total"], (all_counts, old)
        return old["total"]

    def list(self, letter, path=".abc.uri", limit=None, cursor=None, target=None, full=False, **more):
        answer = self.feed.ok("/links", target=target if target is not None else url(letter), collection=COLLECTION,
                              path=path, limit=limit, cursor=cursor, **more)
        assert list(answer) == ["total", "linking_records", "cursor"], answer
        for record in answer["linking_records"]:
            assert list(record) == ["did", "collection", "rkey"] and record["collection"] == COLLECTION, record
        cursor = answer["cursor"]
        assert cursor is None or (0 < len(cursor) <= 128 and all(c.isalnum() or c in "-_" for c in cursor)), cursor
        if full:
            return answer
        rows = [f"{r['did'].removeprefix('did:plc:')}/{r['rkey']}" for r in answer["linking_records"]]
        return rows, answer["total"], cursor

    def rkeys(self, letter, **more):
        rows, total, cursor = self.list(letter, **more)
        return [row.split("/")[1] for row in rows], total, cursor

    def walk(self, letter, limit, **more):
        """Pages of a complete walk."""
        pages, cursor = [], None
        while True:
            rows, total, cursor = self.list(letter, limit=limit, cursor=cursor, **more)
            pages.append(rows)
            if cursor is None:
                assert all(len(page) == limit for page in pages[:-1]), pages
                return pages, total

    def stats(self):
        home = self.feed.ok("/")
        assert set(home) >= {"help", "days_indexed", "stats"}, home
        stats = home["stats"]
        assert isinstance(stats["other_data"], dict) and all(isinstance(v, int) for v in stats["other_data"].values())
        return stats["dids"], stats["targetables"], stats["linking_records"]


def is_(found, expected):
    assert found == expected, f"{found} is not {expected}"


NONE = ([], 0, None)


# ---- S -------------------------------------------------------------------------------------------------------------

def test_S1_empty():
    with World() as w:
        for target in ("", "nonsense", "at://did:plc:x/app.bsky.feed.post/3k"):
            for collection, path in (("", ""), ("bad", "worse"), ("app.bsky.feed.like", ".subject.uri")):
                is_(w.feed.ok("/links/count", target=target, collection=collection, path=path), {"total": 0})
                is_(w.feed.ok("/links", target=target, collection=collection, path=path),
                    {"total": 0, "linking_records": [], "cursor": None})
            is_(w.feed.ok("/links/all/count", target=target), {"links": {}})
        is_(w.stats(), (0, 0, 0))


def test_S2_add():
    with World() as w:
        seq = w.create("asdf/fdsa", {".abc.uri": "E"})
        is_(w.count("E"), 1)
        is_(w.count("F"), 0)
        is_(w.count("E", path=".def.uri"), 0)
        is_(w.stats(), (1, 1, 1))
        is_(w.feed.get("/links/all/count", target=url("E")).seq, seq)


def test_S3_life_cycle():
    with World() as w:
        w.create("asdf/fdsa", {".abc.uri": "E"})
        is_(w.count("E"), 1)
        w.delete("asdf/fdsa", collection="app.wrong.collection")
        is_(w.count("E"), 1)
        w.delete("asdf/wrong")
        is_(w.count("E"), 1)
        w.delete("asdf/fdsa")
        is_(w.count("E"), 0)
        w.create("asdf/fdsa", {".abc.uri": "E"})
        is_(w.count("E"), 1)
        w.create("asdf/fdsa2", {".abc.uri": "E"})
        is_(w.count("E"), 2)
        w.create("asdfasdf/fdsa", {".abc.uri": "E"})
        is_(w.count("E"), 3)
        w.delete("asdf/fdsa")
        is_(w.count("E"), 2)
        is_(w.stats(), (2, 1, 2))


def test_S4_two_links_of_one_user():
    with World() as w:
        w.create("asdf/A", {".abc.uri": "E"})
        is_(w.count("E"), 1)
        w.create("asdf/B", {".abc.uri": "E"})
        is_(w.count("E"), 2)
        w.delete("asdf/A")
        is_(w.count("E"), 1)
        is_(w.stats(), (1, 1, 1))


def test_S5_account_deleted():
    with World() as w:
        w.create("asdf/A", {".abc.uri": "A"})
        w.create("asdf/B", {".abc.uri": "B"})
        w.create("fdsa/A", {".abc.uri": "A"})
        is_((w.count("A"), w.count("B")), (2, 1))
        w.account("asdf", False, "deleted")
        is_((w.count("A"), w.count("B")), (1, 0))
        is_(w.list("A"), (["fdsa/A"], 1, None))
        is_(w.stats(), (1, 2, 1))


def test_S6_multi_link():
    with World() as w:
        w.create("asdf/fdsa", {".abc.uri": "E", ".xyz[].uri": "FG"})
        is_((w.count("E"), w.count("F", ".xyz[].uri"), w.count("G", ".xyz[].uri")), (1, 1, 1))
        w.delete("asdf/fdsa")
        is_((w.count("E"), w.count("F", ".xyz[].uri"), w.count("G", ".xyz[].uri")), (0, 0, 0))
        is_(w.stats(), (1, 3, 0))


def test_S7_update():
    with World() as w:
        w.create("asdf/fdsa", {".abc.uri": "E", ".xyz[].uri": "FG"})
        w.update("asdf/fdsa", {".abc.uri": "H", ".xyz[].uri": "FI"})
        is_([w.count("E"), w.count("H")] + [w.count(x, ".xyz[].uri") for x in "FGI"], [0, 1, 1, 0, 1])
        is_(w.stats(), (1, 5, 1))


def test_S8_update_from_nothing():
    with World() as w:
        w.update("asdf/fdsa", {".abc.uri": "A"})
        is_(w.count("A"), 1)
        is_(w.stats(), (1, 1, 1))


def test_S9_one_target_two_paths():
    with World() as w:
        w.create("asdf/fdsa", {".abc.uri": "A", ".def.uri": "A"})
        is_((w.count("A"), w.count("A", ".def.uri")), (1, 1))
        w.delete("asdf/fdsa")
        is_((w.count("A"), w.count("A", ".def.uri")), (0, 0))
        is_(w.stats(), (1, 2, 0))


def test_S10_list():
    with World() as w:
        w.create("asdf/asdf", {".abc.uri": "A"})
        is_(w.list("A"), (["asdf/asdf"], 1, None))


def linkers(w, count, did="asdf-{}", rkey="asdf"):
    for i in range(1, count + 1):
        w.create(f"{did.format(i)}/{rkey.format(i) if '{' in rkey else rkey}", {".abc.uri": "A"})


def numbered(*numbers):
    return [f"asdf-{i}/asdf" for i in numbers]


def test_S11_pages():
    with World() as w:
        linkers(w, 5)
        rows, total, cursor = w.list("A", limit=2)
        is_((rows, total), (numbered(5, 4), 5))
        rows, total, cursor = w.list("A", limit=2, cursor=cursor)
        is_((rows, total), (numbered(3, 2), 5))
        is_(w.list("A", limit=2, cursor=cursor), (numbered(1), 5, None))
        is_(w.stats(), (5, 1, 5))


def test_S13_did_filter():
    with World() as w:
        is_(w.list("A", did="did:plc:linker"), NONE)
        w.create("linker/asdf", {".abc.uri": "A"})
        is_(w.list("A", did="did:plc:linker"), (["linker/asdf"], 1, None))
        is_(w.list("A", did="did:plc:someone-else"), NONE)
        w.create("linker/asdf-2", {".abc.uri": "A"})
        w.create("someone-else/asdf", {".abc.uri": "A"})
        is_(w.list("A", did="did:plc:linker", limit=2), (["linker/asdf-2", "linker/asdf"], 2, None))
        both = ["did:plc:linker", "did:plc:someone-else"]
        rows, total, cursor = w.list("A", did=both, limit=2)
        is_((rows, total), (["someone-else/asdf", "linker/asdf-2"], 3))
        is_(w.list("A", did=both[::-1], limit=2, cursor=cursor), (["linker/asdf"], 3, None))
        is_(w.list("A", did="did:plc:unknown"), NONE)
        is_(w.list("A", from_dids=",".join(both), limit=2)[:2], (["someone-else/asdf", "linker/asdf-2"], 3))
        is_(w.list("A", did=["did:plc:unknown", " did:plc:linker ", ""])[1], 2)


def test_S14_exact_multiple():
    with World() as w:
        linkers(w, 4)
        is_(w.walk("A", 2), ([numbered(4, 3), numbered(2, 1)], 4))
        is_(w.walk("A", 4), ([numbered(4, 3, 2, 1)], 4))


def test_S15_links_arrive_meanwhile():
    with World() as w:
        linkers(w, 4)
        rows, total, cursor = w.list("A", limit=2)
        is_((rows, total), (numbered(4, 3), 4))
        w.create("asdf-5/asdf", {".abc.uri": "A"})
        is_(w.list("A", limit=2, cursor=cursor), (numbered(2, 1), 5, None))


def test_S16_links_vanish_meanwhile():
    with World() as w:
        linkers(w, 4)
        cursor = w.list("A", limit=2)[2]
        w.delete("asdf-2/asdf")
        is_(w.list("A", limit=2, cursor=cursor), (numbered(1), 3, None))


def test_S16_the_cursors_own_link_vanishes():
    with World() as w:
        linkers(w, 5)
        cursor = w.list("A", limit=2)[2]
        w.delete("asdf-4/asdf")
        w.delete("asdf-5/asdf")
        is_(w.list("A", limit=5, cursor=cursor), (numbered(3, 2, 1), 3, None))


def test_S17_account_goes_inactive():
    with World() as w:
        linkers(w, 4)
        cursor = w.list("A", limit=2)[2]
        w.account("asdf-1", False, "deactivated")
        is_(w.list("A", limit=2, cursor=cursor), (numbered(2), 3, None))
        is_(w.list("A", limit=2, cursor=cursor, include="inactive"), (numbered(2), 4, None))
        is_((w.count("A"), w.count("A", include="inactive")), (3, 4))


def test_S18_all_counts():
    with World() as w:
        w.create("asdf/asdf", {".abc.uri": "A", ".def.uri": "A"})
        is_(w.feed.ok("/links/all/count", target=url("A")), {"links": {COLLECTION: {".abc.uri": 1, ".def.uri": 1}}})
        is_(w.stats(), (1, 2, 1))
        w.update("asdf/asdf", {".abc.uri": "A"})
        is_(w.feed.ok("/links/all/count", target=url("A")), {"links": {COLLECTION: {".abc.uri": 1, ".def.uri": 0}}})
        is_(w.feed.ok("/links/all/count", target=url("A"), exclude="empty"), {"links": {COLLECTION: {".abc.uri": 1}}})


# ---- R, I ----------------------------------------------------------------------------------------------------------

def test_R1_neighbours_of_a_deleted_account():
    with World() as w:
        w.create("will-shortly-delete/asdf", {".abc.uri": "P"})
        w.create("someone-else/asdf", {".abc.uri": "Q"})
        w.account("will-shortly-delete", False, "deleted")
        is_((w.count("P"), w.count("Q")), (0, 1))


def test_R2_prefix_bounds():
    """Accounts whose ids lie side by side, many records of the middle one: only those go."""
    with World() as w:
        events = [w.event("create", f"{who}/r-{i:02x}", {".abc.uri": "A"})
                  for who in ("one", "two", "three") for i in range(256)]
        w.feed.write(*events)
        is_(w.count("A"), 768)
        w.account("two", False, "deleted")
        is_(w.count("A"), 512)
        pages, total = w.walk("A", 100)
        rows = [row for page in pages for row in page]
        is_(rows, [f"{who}/r-{i:02x}" for who in ("three", "one") for i in range(255, -1, -1)])
        is_(total, 512)


def test_I1_one_real_like():
    with World() as w:
        target = "at://did:plc:lphckw3dz4mnh3ogmfpdgt6z/app.bsky.feed.post/3lfdau5f7wk23"
        record = {"$type": "app.bsky.feed.like", "createdAt": "2025-01-09T18:21:32.663Z",
                  "subject": {"cid": "bafyreichz5oebrfqy7xkrzqiqthe6g5yqbpwczz4nvvhtkwjxcs5jmdvqe", "uri": target}}
        w.feed.write(w.writer.create("did:plc:a", "app.bsky.feed.like", "3lffwybqkmo2h", record))
        is_(w.feed.ok("/links/count", target=target, collection="app.bsky.feed.like", path=".subject.uri")["total"], 1)


# ---- X -------------------------------------------------------------------------------------------------------------

def test_X2_duplicate_create():
    with World() as w:
        event = w.event("create", "asdf/fdsa", {".abc.uri": "E"})
        w.feed.write(event, event)
        is_(w.count("E"), 1)
        w.feed.write(event)
        w.delete("asdf/fdsa")
        w.feed.write(event)
        is_((w.count("E"), w.list("E")), (0, NONE))


def test_X3_repeated_target():
    for known in (False, True):
        with World() as w:
            if known:
                w.create("other/one", {".a[].uri": "A"})
            base = int(known)
            record = {"a": [url("A"), url("A")]}
            w.create("asdf/fdsa", record=record)
            is_((w.count("A", ".a[]"), len(w.list("A", ".a[]")[0])), (1, 1))
            w.update("asdf/fdsa", record={"a": [url("A"), url("A"), url("B")]})
            is_((w.count("A", ".a[]"), w.count("B", ".a[]")), (1, 1))
            w.delete("asdf/fdsa")
            is_((w.count("A", ".a[]"), w.count("B", ".a[]"), w.count("A", ".a[].uri")), (0, 0, base))


def test_X4_deleted_account_with_several_links():
    with World() as w:
        for rkey in "abc":
            w.create(f"d/{rkey}", {".abc.uri": "A"})
        w.create("e/a", {".abc.uri": "A"})
        w.account("d", False, "deleted")
        is_((w.count("A"), w.list("A")), (1, (["e/a"], 1, None)))


def test_X5_large_account_deletion():
    for records in (1025, 20_001):
        with World() as w:
            w.feed.write(*[w.event("create", f"d/{i:x}", {".abc.uri": "A", ".uri": "B"}) for i in range(records)])
            w.create("e/a", {".abc.uri": "A"})
            is_((w.count("A"), w.count("B", ".uri")), (records + 1, records))
            w.account("d", False, "deleted")
            is_((w.count("A"), w.count("B", ".uri"), w.list("A")), (1, 0, (["e/a"], 1, None)))
            w.account("d", True)
            is_(w.count("A"), 1)
            w.create("d/again", {".abc.uri": "A"})
            is_(w.list("A"), (["d/again", "e/a"], 2, None))
            is_(w.stats()[2], 2)
            w.feed.restart()
            is_(w.list("A"), (["d/again", "e/a"], 2, None))


def states(w):
    return (w.count("A"), w.count("A", include="inactive"), w.list("A"), w.list("A", include="inactive"),
            w.list("A", did="did:plc:asdf-2"), w.list("A", did="did:plc:asdf-2", include="inactive"))


def test_X7_X8_hidden_and_back():
    for status in ("deactivated", "takendown", "suspended", "something-new", None):
        with World() as w:
            linkers(w, 4)
            before = states(w)
            is_(before, (4, 4, (numbered(4, 3, 2, 1), 4, None), (numbered(4, 3, 2, 1), 4, None),
                         (numbered(2), 1, None), (numbered(2), 1, None)))
            w.account("asdf-2", False, status)
            is_(states(w), (3, 4, (numbered(4, 3, 1), 3, None), (numbered(4, 3, 1), 4, None), NONE, NONE))
            w.feed.restart()
            is_(states(w), (3, 4, (numbered(4, 3, 1), 3, None), (numbered(4, 3, 1), 4, None), NONE, NONE))
            w.delete("asdf-2/asdf") if status == "suspended" else w.account("asdf-2", True)
            if status == "suspended":
                w.account("asdf-2", True)
                is_(w.list("A"), (numbered(4, 3, 1), 3, None))
            else:
                is_(states(w), before)


def test_L48_other_states_change_nothing():
    for status in ("desynchronized", "throttled"):
        with World() as w:
            linkers(w, 2)
            w.account("asdf-2", False, status)
            is_((w.count("A"), w.list("A")), (2, (numbered(2, 1), 2, None)))
            w.account("asdf-2", False, "deactivated")
            w.account("asdf-2", False, status)
            is_(w.count("A"), 1)


def test_X9_status_before_the_first_link():
    with World() as w:
        w.account("early", False, "deactivated")
        w.create("early/a", {".abc.uri": "A"})
        is_((w.count("A"), w.count("A", include="inactive"), w.list("A")), (0, 1, NONE))
        w.account("early", True)
        is_((w.count("A"), w.list("A")), (1, (["early/a"], 1, None)))


def test_X10_newest_removed():
    with World() as w:
        linkers(w, 6)
        for i in range(3, 7):
            w.delete(f"asdf-{i}/asdf")
        is_(w.list("A", limit=2), (numbered(2, 1), 2, None))


def test_X11_filtered_walk_with_a_deletion():
    with World() as w:
        linkers(w, 5, did="one", rkey="asdf-{}")
        rows, total, cursor = w.rkeys("A", did="did:plc:one", limit=2)
        is_((rows, total), (["asdf-5", "asdf-4"], 5))
        w.delete("one/asdf-1")
        rows, total, cursor = w.rkeys("A", did="did:plc:one", limit=2, cursor=cursor)
        is_((rows, total, cursor), (["asdf-3", "asdf-2"], 4, None))


def test_X13_restart_kill_replay():
    """Random events; between them restarts, kills and replays of the last ones: answers equal a clean run's."""
    rng = random.Random(fr.seed())
    for _ in range(3):
        with World() as w, World() as clean:
            sent = []
            for step in range(40):
                who, rkey = rng.choice("abc"), rng.choice("xyz")
                kind = rng.random()
                if kind < 0.6:
                    event = w.event(rng.choice(["create", "update"]), f"{who}/{rkey}",
                                    {".abc.uri": rng.choice("AB"), ".xyz[].uri": rng.choice(["", "A", "AB", "BB"])})
                elif kind < 0.8:
                    event = w.event("delete", f"{who}/{rkey}")
                else:
                    event = w.writer.account(w.did(who), *rng.choice(
                        [(True, None), (False, "deactivated"), (False, "deleted")]))
                sent.append(event)
                w.feed.write(event)
                clean.feed.write(event)
                if rng.random() < 0.1:
                    w.feed.restart(kill=rng.random() < 0.7)
                    w.feed.write(*sent[-rng.randrange(1, 10):])
            for letter in "AB":
                for path in (".abc.uri", ".xyz[].uri"):
                    is_((w.walk(letter, 2, path=path), w.count(letter, path)),
                        (clean.walk(letter, 2, path=path), clean.count(letter, path)))
                    is_(w.count(letter, path, include="inactive"), clean.count(letter, path, include="inactive"))
            # exact for accounts and records; lists that are both saved and touched since may count twice
            ours, theirs = w.stats(), clean.stats()
            assert ours[0] == theirs[0] and ours[2] == theirs[2] and ours[1] >= theirs[1], (ours, theirs)


def test_X14_identical_updates():
    with World() as w:
        w.create("asdf/a", {".abc.uri": "A"})
        w.create("asdf/b", {".abc.uri": "A"})
        w.feed.write(*[w.event("update", "asdf/a", {".abc.uri": "A"}) for _ in range(1000)])
        is_(w.list("A"), (["asdf/b", "asdf/a"], 2, None))
        is_(w.stats(), (1, 1, 2))
        w.feed.restart()
        is_(w.list("A"), (["asdf/b", "asdf/a"], 2, None))
        # only what is new goes to the top
        w.update("asdf/a", {".abc.uri": "A", ".def.uri": "A"})
        is_(w.list("A")[0], ["asdf/b", "asdf/a"])
        w.update("asdf/a", {".def.uri": "A"})
        w.update("asdf/a", {".abc.uri": "A"})
        is_(w.list("A")[0], ["asdf/a", "asdf/b"])


def test_X15_out_of_order():
    with World() as w:
        older = w.event("create", "asdf/a", {".abc.uri": "A"})
        newer = w.event("update", "asdf/a", {".abc.uri": "B"})
        w.feed.write(newer)
        w.feed.write(older)
        is_((w.count("A"), w.count("B")), (0, 1))
        gone = w.event("delete", "asdf/a")
        again = w.event("create", "asdf/a", {".abc.uri": "C"})
        w.feed.write(again)
        w.feed.write(gone)
        is_((w.count("B"), w.count("C")), (0, 1))


def test_X16_hostile_records():
    with World() as w:
        deep = b'{"x":' * 5000 + b"1" + b"}" * 5000
        head = json.dumps(w.event("create", "asdf/deep", record={"uri": url("A")})).encode()
        at = head.index(b'"record": {') + len(b'"record": {')
        w.feed.write(head[:at] + b'"deep":' + deep + b"," + head[at:])
        is_(w.count("A", ".uri"), 1)
        abyss = b'"deep":' + b"[" * 100_000 + b"]" * 100_000 + b","
        w.feed.write(head[:at].replace(b"asdf", b"abyss") + abyss + head[at:])
        is_(w.count("A", ".uri"), 1)  # over the parser's bound: refused, named, and the rest goes on
        w.create("asdf/long", record={"uri": url("B"), "a": "https://x.example/" + "y" * 1_000_000})
        w.create("asdf/wide", record={"l": [f"x:{i}" for i in range(100_000)]})
        w.create("asdf/after", {".uri": "C"})
        is_((w.count("B", ".uri"), w.count("C", ".uri")), (1, 1))
        kept = w.feed.ok("/links/count", target="x:0", collection=COLLECTION, path=".l[]")["total"]
        last = w.feed.ok("/links/count", target="x:99999", collection=COLLECTION, path=".l[]")["total"]
        is_((kept, last), (1, 0))
        metrics = w.feed.metrics()
        assert metrics["freshet_links_dropped_total"] >= 90_000, metrics["freshet_links_dropped_total"]
        is_(w.feed.get("/health").status, 200)
        w.feed.daemon.stop()
        again = fr.scratch()
        fr.ingest(again, "-", stdin=fr.run("log", "dump", "--data", w.feed.data).out)
        is_(fr.digests(again), fr.digests(w.feed.data))


def test_X17_bad_cursors():
    with World() as w:
        linkers(w, 6)
        w.create("asdf/b", {".abc.uri": "B", ".def.uri": "A"})
        cursor = w.list("A", limit=2)[2]
        filtered = w.list("A", limit=2, did=[f"did:plc:asdf-{i}" for i in range(9)])[2]
        target, other = url("A"), url("B")
        bad = ["x", "xx", "zzzz", "050003", "fa00fa", "fbfb000097", "05622e636f6d", "%00", "a" * 128, "a" * 129,
               "a" * 5000, cursor + "A", cursor[:-1], cursor[:-4], cursor[1:], cursor.swapcase(), cursor + "=",
               "1736448492000__bafy", " " + cursor, cursor + " ", "null", "0", "-1", filtered]
        bad += [cursor[:i] + ("A" if cursor[i] != "A" else "B") + cursor[i + 1:] for i in range(len(cursor))]
        for text in bad:
            answer = w.feed.get("/links", target=target, collection=COLLECTION, path=".abc.uri", limit=2, cursor=text)
            assert answer.status == 400 and answer.json["error"] == "InvalidCursor", (text, answer)
        for params in ({"target": other, "path": ".abc.uri"}, {"target": target, "path": ".def.uri"},
                       {"target": target, "path": ".abc.uri", "did": "did:plc:asdf-1"},
                       {"target": target, "path": ".abc.uri", "collection": "app.t.d"}):
            answer = w.feed.get("/links", **{"collection": COLLECTION, "cursor": cursor, **params})
            assert answer.status == 400 and answer.json["error"] == "InvalidCursor", (params, answer)
        # limit and include may change, `cursor=` counts as absent, and a restart changes nothing
        is_(w.list("A", limit=3, cursor=cursor)[0], numbered(4, 3, 2))
        is_(w.list("A", limit=3, cursor=cursor, include="inactive")[0], numbered(4, 3, 2))
        is_(w.list("A", limit=1, cursor="")[0], numbered(6))
        w.feed.restart()
        is_(w.list("A", limit=9, cursor=cursor)[0], numbered(4, 3, 2, 1))


def test_L23_cursors_survive_a_rebuild():
    import shutil
    with World() as w:
        linkers(w, 6)
        cursor = w.list("A", limit=2)[2]
        w.feed.daemon.stop()
        w.feed.daemon.process.stdin.close()
        for path in w.feed.data.iterdir():
            if path.name != "log":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        w.feed.start()
        is_(w.list("A", limit=9, cursor=cursor), (numbered(4, 3, 2, 1), 6, None))


# Rows of section 4: record -> (path, target) pairs, all of them.
U, U1, U2 = "https://u.example/", "https://u1.example/", "https://u2.example/"
WALKS = [
    ({"a": "https://example.com", "b": "not a link"}, {(".a", "https://example.com")}),
    ({"a.b": U}, {(".a.b", U)}),
    ({"a": {"b": U}, "a.b": U}, {(".a.b", U)}),
    ({"": U}, {(".", U)}),
    ({"a": {"": U}}, {(".a.", U)}),
    ({"a": [U1, U2]}, {(".a[]", U1), (".a[]", U2)}),
    ({"a": [[U]]}, {(".a[][]", U)}),
    ({"a": [[[{"b": U}]]]}, {(".a[][][].b", U)}),
    ({"a": [{"$type": "t.y.p", "u": U}]}, {(".a[t.y.p].u", U)}),
    ({"a": [{"$type": "t.y.p#frag", "u": U}]}, {(".a[t.y.p#frag].u", U)}),
    ({"a": [{"$type": 7, "u": U}]}, {(".a[].u", U)}),
    ({"a": [{"$type": "", "u": U}]}, {(".a[].u", U)}),
    ({"a": [{"type": "t.y.p", "u": U}]}, {(".a[].u", U)}),
    ({"a": [{"$type": "w:x", "u": U}]}, {(".a[w:x].u", U), (".a[w:x].$type", "w:x")}),
    ({"a": {"$type": "t.y.p", "u": U}}, {(".a.u", U)}),
    ({"$type": "a:b"}, {(".$type", "a:b")}),
    ({"é": U, 'k"q': U1, "a[]": U2}, {(".é", U), ('.k"q', U1), (".a[]", U2)}),
    ({"a": "https://x.com/😀"}, set()),
    ({"cid": "bafyreichz5oebrfqy7xkrzqiqthe6g5yqbpwczz4nvvhtkwjxcs5jmdvqe", "b": {"$bytes": "aGk"}}, set()),
    ({"text": "hi:there", "tags": ["a:b"]}, {(".text", "hi:there"), (".tags[]", "a:b")}),
    ({"subject": {"cid": "bafy", "uri": "at://did:plc:b/app.bsky.feed.post/3k"},
      "via": {"uri": "at://did:plc:c/x.y.z/1"}}, {(".subject.uri", "at://did:plc:b/app.bsky.feed.post/3k"), (".via.uri", "at://did:plc:c/x.y.z/1")}),
    ({"subject": "did:plc:b", "list": "at://did:plc:b/app.bsky.graph.list/1"},
     {(".subject", "did:plc:b"), (".list", "at://did:plc:b/app.bsky.graph.list/1")}),
]

# Normal forms: input -> what it is stored as (None: no link).
FORMS = [
    ("at://bad-example.com", "at://bad-example.com"), ("AT://bad-example.com", "at://bad-example.com"),
    ("at://bad-example.com/%", None), ("at://bad-example.com/%3a", "at://bad-example.com/%3A"),
    ("at://bad-example.com/a/../b", "at://bad-example.com/b"), ("at://did:plc:abc//", "at://did:plc:abc"),
    ("at://did:plc:abc/c.d.e/3k//", "at://did:plc:abc/c.d.e/3k"), ("at://DID:plc:ABC/c/3k", "at://did:plc:abc/c/3k"),
    ("at://did:plc:abc/./c.d.e/3k", "at://did:plc:abc/c.d.e/3k"), ("at://x/a:b", "at://x/a:b"),
    ("at://did:plc:abc///foo/bar", "at://did:plc:abc/foo/bar"), ("at://did:plc:abc/a.b.c/x y", None),
    ("at://Alice.Example.COM/c/3k", "at://alice.example.com/c/3k"), ("%61t://did:plc:abc/a.b.c/x", "at://did:plc:abc/a.b.c/x"),
    ("at://x?%41", "at://x?A"), ("at://x?%2", None), ("at://x?%+1", "at://x?%+1"), ("at://", "at://"),
    ("did:web:bad-example.com", "did:web:bad-example.com"), ("did:plc:", "did:plc:"), ("DID:plc:abc", "did:plc:abc"),
    ("did:plc:abc\n", None), ("", None), (" ", None), ("z", None), ("hello world", None), ("hello: world", None),
    ("12:30", None), ("app.bsky.feed.post", None), ("hello:world", "hello:world"), ("A:B", "a:B"), ("lol:)", "lol:)"),
    ("MAILTO:A@Example.COM", "mailto:A@Example.COM"), ("https://example.com", "https://example.com"),
    ("HTTPS://EXAMPLE.com/Foo/../Bar?Q=1#Frag", "https://example.com/Bar?Q=1#Frag"),
    ("https://example.com:/x", "https://example.com/x"), ("http://example.com:80/", "http://example.com:80/"),
    ("https://example.com/%7Euser/%2f%3a", "https://example.com/~user/%2F%3A"),
    ("https://[2001:DB8::0:1]/", "https://[2001:db8::1]/"), ("https://user:Pass@EXAMPLE.com/", "https://user:Pass@example.com/"),
    ("https://x.example/%zz", None), ("//example.com", None), ("example.com/path", None), ("https://x.example/a|b", None),
]


def test_X18_extraction():
    with World() as w:
        events = []
        for i, (record, _) in enumerate(WALKS):
            events.append(w.event("create", f"walk/{i}", record=record, collection=f"app.t.walk{i}"))
        for i, (text, _) in enumerate(FORMS):
            events.append(w.event("create", f"form/{i}", record={"u": text}, collection=f"app.t.form{i}"))
        w.feed.write(*events)
        for i, (record, links) in enumerate(WALKS):
            for target in {t for _, t in links} | {U}:
                found = w.feed.ok("/links/all/count", target=target, match="exact")["links"].get(f"app.t.walk{i}", {})
                is_((i, record, found), (i, record, {p: 1 for p, t in links if t == target}))
        total = 0
        for i, (text, stored) in enumerate(FORMS):
            if stored is not None:
                found = w.feed.ok("/links/count", target=stored, collection=f"app.t.form{i}", path=".u", match="exact")
                is_((text, found["total"]), (text, 1))
                total += 1
        metrics = w.feed.metrics()
        is_(metrics["freshet_links"], total + sum(len(links) for _, links in WALKS))


def test_L36_the_last_of_duplicate_keys_wins():
    with World() as w:
        text = json.dumps(w.event("create", "asdf/a", record={"a": U2})).encode()
        w.feed.write(text.replace(b'"record": {', b'"record": {"a":"https:\\/\\/u1.example\\/",'))
        is_([w.feed.ok("/links/count", target=t, collection=COLLECTION, path=".a")["total"] for t in (U1, U2)], [0, 1])


# ---- parameters and errors -----------------------------------------------------------------------------------------

def refused(w, path, /, error="InvalidRequest", status=400, naming=None, **params):
    answer = w.feed.get(path, **params)
    assert answer.status == status, (path, params, answer)
    assert answer.headers["content-type"].startswith("application/json"), (path, params, answer)
    body = answer.json
    assert body["error"] == error and isinstance(body["message"], str) and body["message"], (params, body)
    assert naming is None or naming in body["message"], (params, body)
    return body


COUNT, BACKLINKS = "/links/count", "/xrpc/blue.microcosm.links.getBacklinksCount"


def test_L6_decoding():
    with World() as w:
        w.create("asdf/a", record={"a b": "https://x.example/?q=a+b", "ü": "x:%25"})
        raw = w.feed.get("/links/count?target=https%3A%2F%2Fx.example%2F%3Fq%3Da%2Bb&collection=app.t.c&path=.a+b")
        is_((raw.status, raw.json), (200, {"total": 1}))
        raw = w.feed.get("/links/count?path=.%C3%BC&target=x:%2525&collection=app.t.c&unknown=1&Target=2")
        is_((raw.status, raw.json), (200, {"total": 1}))
        raw = w.feed.get("/links/count?&&target=x:%2525&collection=app%2Et%2Ec&path=.%c3%bc&")
        is_((raw.status, raw.json), (200, {"total": 1}))
        refused(w, COUNT, Target=U, collection="c", path=".p", naming="target")


def test_L7_limits():
    with World() as w:
        linkers(w, 120)
        rows, total, cursor = w.list("A")
        is_((len(rows), total, cursor is not None), (100, 120, True))
        is_(w.list("A", limit=0), ([], 120, None))
        is_(len(w.list("A", limit=1000)[0]), 120)
        is_(w.list("A", limit="007")[0], numbered(*range(120, 113, -1)))
        for limit in ("1001", "-1", "", "x", "1.0", "1e2", "0x10", "99999999999999999999999", "+1", " 1", "١"):
            refused(w, "/links", target=url("A"), collection=COLLECTION, path=".abc.uri", limit=limit, naming="limit")


def test_L9_scalars_and_lists():
    with World() as w:
        linkers(w, 3)
        good = {"target": url("A"), "collection": COLLECTION, "path": ".abc.uri"}
        for name in ("target", "collection", "path"):
            refused(w, COUNT, naming=name, **{**good, name: None})
            refused(w, "/links", naming=name, **{**good, name: None})
            refused(w, COUNT, naming=name, **{**good, name: [good[name], good[name]]})
        refused(w, BACKLINKS, naming="subject", source="a:b")
        refused(w, BACKLINKS, naming="source", subject=U)
        refused(w, "/links/all/count", naming="target")
        refused(w, "/links", naming="limit", **good, limit=[1, 1])
        refused(w, "/links", naming="cursor", **good, cursor=["a", "a"])
        refused(w, "/links", **good, from_dids="did:plc:asdf-1", did="did:plc:asdf-2")
        refused(w, "/links", **good, from_dids=["did:plc:asdf-1", "did:plc:asdf-2"])
        is_(w.list("A", from_dids="did:plc:asdf-1", did="")[1], 1)
        is_(w.list("A", from_dids="did:plc:asdf-1,did:plc:asdf-2")[1], 2)
        is_(w.list("A", from_dids="did:plc:asdf-1, did:plc:asdf-2")[1], 1)  # pieces are not trimmed
        is_(w.list("A", did=["", "  "])[1], 3)  # empty ones are dropped: no filter


def test_L10_source():
    with World() as w:
        w.create("asdf/a", record={"": U, "x:y": U, "p": {"q": U}})
        for source, total in ((f"{COLLECTION}:p.q", 1), (f"{COLLECTION}:.p.q", 0), (f"{COLLECTION}:", 1),
                              (f"{COLLECTION}:x:y", 1), (":p.q", 0)):
            is_((source, w.feed.ok(BACKLINKS, subject=U, source=source)["total"]), (source, total))
        refused(w, BACKLINKS, subject=U, source=COLLECTION, naming="source")
        refused(w, BACKLINKS, subject=U, source="", naming="source")
        w.create("asdf/b", record={".x": {"y": U1}, "": {"x": U1}})
        is_(w.feed.ok(BACKLINKS, subject=U1, source=f"{COLLECTION}:.x.y")["total"], 1)
        is_(w.feed.ok(BACKLINKS, subject=U1, source=f"{COLLECTION}:.x")["total"], 1)


def test_L17_second_try():
    with World() as w:
        w.create("asdf/a", record={"u": "HTTPS://Example.com/", "d": "did:plc:abc"})
        for target in ("HTTPS://Example.com/", "https://example.COM/"):
            answer = w.feed.get(COUNT, target=target, collection=COLLECTION, path=".u")
            is_((answer.json, answer.headers["freshet-matched"]), ({"total": 1}, "normalised"))
            is_(w.feed.ok(COUNT, target=target, collection=COLLECTION, path=".u", match="exact"), {"total": 0})
            is_(w.feed.get("/links", target=target, collection=COLLECTION, path=".u").headers["freshet-matched"],
                "normalised")
            is_(w.feed.ok("/links/all/count", target=target), {"links": {COLLECTION: {".u": 1}}})
            is_(w.feed.ok("/links/all/count", target=target, match="exact"), {"links": {}})
        exact = w.feed.get(COUNT, target="https://example.com/", collection=COLLECTION, path=".u")
        is_((exact.json, exact.headers["freshet-matched"]), ({"total": 1}, None))
        is_(w.feed.ok(COUNT, target=" https://example.com/", collection=COLLECTION, path=".u"), {"total": 0})
        is_(w.feed.ok(COUNT, target="https://example.com", collection=COLLECTION, path=".u"), {"total": 0})


def test_L21_aliases():
    with World() as w:
        linkers(w, 3)
        target = url("A")
        is_(w.feed.ok(COUNT, subject=target, source=f"{COLLECTION}:abc.uri"), {"total": 3})
        is_(w.feed.ok(BACKLINKS, target=target, collection=COLLECTION, path=".abc.uri"), {"total": 3})
        is_(w.list("A", linkDid=["did:plc:asdf-1", "did:plc:asdf-3"])[1], 2)
        is_(w.feed.ok("/links/all/count", subject=target), {"links": {COLLECTION: {".abc.uri": 3}}})
        refused(w, COUNT, subject=target, target=U, source=f"{COLLECTION}:abc.uri")
        refused(w, COUNT, subject=target, source=f"{COLLECTION}:abc.uri", collection="other.thing.x")
        both = {"subject": target, "target": target, "source": f"{COLLECTION}:abc.uri", "path": ".abc.uri"}
        is_(w.feed.ok(COUNT, **both), {"total": 3})


def test_X1_S12_reverse():
    """`reverse` belongs to every list route (L21): exactly true or false, each link once, oldest first."""
    with World() as w:
        linkers(w, 7)
        pages, total = w.walk("A", 2, reverse="true")
        is_((pages, total), ([numbered(1, 2), numbered(3, 4), numbered(5, 6), numbered(7)], 7))
        is_(w.walk("A", 2, reverse="false"), (w.walk("A", 2)))
        cursor = w.list("A", limit=2)[2]
        refused(w, "/links", target=url("A"), collection=COLLECTION, path=".abc.uri", cursor=cursor, reverse="true",
                error="InvalidCursor")
        for text in ("1", "True", "", "yes"):
            refused(w, "/links", target=url("A"), collection=COLLECTION, path=".abc.uri", reverse=text,
                    naming="reverse")
        rows, _, cursor = w.list("A", limit=5, reverse="true")
        w.create("asdf-8/asdf", {".abc.uri": "A"})  # seen at the end
        is_(w.list("A", limit=5, reverse="true", cursor=cursor), (numbered(6, 7, 8), 8, None))


def test_X20_http_edges():
    with World() as w:
        linkers(w, 2)
        target = fr.query(COUNT, target=url("A"), collection=COLLECTION, path=".abc.uri")
        got, head = w.feed.get(target), w.feed.daemon.get(target, method="HEAD")
        is_((head.status, head.body, head.headers["content-length"]), (200, b"", got.headers["content-length"]))
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            answer = w.feed.daemon.get(target, method=method)
            is_((method, answer.status, answer.json["error"]), (method, 405, "MethodNotAllowed"))
        for path in ("/links/", "/links/count/", "/nothing", "/xrpc/", "/LINKS", "//links", "/links/count/x"):
            is_((path, w.feed.get(path).status), (path, 404))
            is_(w.feed.get(path).json["error"], "NotFound")
        for accept, kind in ((None, "json"), ("", "json"), ("*/*", "json"), ("image/png", "json"),
                             ("text/html", "html"),
                             ("application/json, text/html", "json"), ("text/html, application/json", "html"),
                             ("text/html;q=0.5, application/json", "json"), ("text/*", "html"),
                             ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "html")):
            for path in (target, "/"):
                answer = w.feed.daemon.get(path, headers={} if accept is None else {"accept": accept})
                assert answer.status == 200 and kind in answer.headers["content-type"], (accept, path, answer)
                assert "accept" in [v.strip() for v in answer.headers["vary"].split(",")], answer
        answer = w.feed.daemon.get(target, headers={"accept": "text/html;q=x, ///"})
        is_((answer.status, answer.json["error"]), (400, "InvalidRequest"))


def test_L20_nothing_gives_5xx():
    rng = random.Random(fr.seed())
    names = ["target", "subject", "collection", "path", "source", "limit", "cursor", "did", "linkDid", "from_dids",
             "include", "match", "exclude", "reverse", "a", "b", "handle"]
    values = ["", "0", "1", "1000", "-1", "99999999999", "at://did:plc:x/a.b.c/d", "did:plc:asdf-1", "x:y", ".", ":", "::",
              "https://a.example/", COLLECTION, ".abc.uri", f"{COLLECTION}:abc.uri", "\0", "\xff", "é", "a" * 500, "%", "%zz",
              "inactive", "exact", "empty", "true", "did:plc:asdf-1,did:plc:asdf-2,", ",,,", " "]
    paths = ["/links", "/links/count", "/links/all/count", BACKLINKS, "/links/top", "/timeline", "/author", "/newest",
             "/relationships", "/", "/health", "/metrics", "/robots.txt"]
    with World() as w:
        linkers(w, 5)
        for _ in range(2000):
            pairs = [(rng.choice(names), rng.choice(values)) for _ in range(rng.randrange(6))]
            target = rng.choice(paths) + "?" + "&".join(
                f"{n}={fr.urllib.parse.quote(v) if rng.random() < 0.9 else v.encode().hex()}" for n, v in pairs)
            answer = w.feed.get(target)
            assert answer.status in (200, 400, 404), (target, answer)
        is_(w.count("A"), 5)


def test_L25_order_across_saved_and_recent_parts():
    """Newest first across what is saved and what is recent; deletions on both sides."""
    with World() as w:
        w.feed.write(*[w.event("create", f"d{i % 37}/r{i}", {".abc.uri": "A"}) for i in range(1500)])
        w.feed.restart()
        w.feed.write(*[w.event("create", f"d{i % 37}/r{i}", {".abc.uri": "A"}) for i in range(1500, 2500)])
        w.feed.write(*[w.event("delete", f"d{i % 37}/r{i}") for i in range(0, 2500, 7)])
        expected = [f"d{i % 37}/r{i}" for i in range(2499, -1, -1) if i % 7]
        for limit in (1000, 333):
            pages, total = w.walk("A", limit)
            is_((sum(pages, []), total), (expected, len(expected)))
        some = [row for row in expected if row.split("/")[0] in ("d5", "d6")]
        pages, total = w.walk("A", 10, did=["did:plc:d5", "did:plc:d6"])
        is_((sum(pages, []), total), (some, len(some)))


if __name__ == "__main__":
    fr.main(sys.modules[__name__])

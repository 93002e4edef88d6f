#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Counts, lists and all pages of the most linked and of random targets, against a naive model fed with the same lines:
while a generated network is told, over restarts, and by CLI ingest."""
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))
import freshet as fr  # noqa: E402
from atproto import read_lines, lines  # noqa: E402
from model import Model  # noqa: E402


def walk(source, limit, **params):
    rows, cursor, total = [], None, None
    while True:
        answer = source.ok("/links", limit=limit, cursor=cursor, **params)
        page = [(r["did"], r["rkey"]) for r in answer["linking_records"]]
        assert len(page) == limit or answer["cursor"] is None, (params, len(page))
        rows += page
        total, cursor = answer["total"], answer["cursor"]
        if cursor is None:
            return rows, total


def compare(source, model, rng, lists, targets):
    for target, collection, path in lists:
        where = {"target": target, "collection": collection, "path": path}
        expected = model.list(target, collection, path)
        assert source.ok("/links/count", **where) == {"total": len(expected)}, where
        assert source.ok("/links/count", **where, include="inactive") == {
            "total": model.count_all(target, collection, path)}, where
        assert source.ok("/xrpc/blue.microcosm.links.getBacklinksCount", subject=target,
                         source=f"{collection}:{path[1:]}") == {"total": len(expected)}, where
        for limit in {rng.randrange(1, 20), 100, 1000}:
            if limit * 50 >= len(expected):
                rows, total = walk(source, limit, **where)
                assert (rows, total) == (expected, len(expected)), (where, limit)
                rows, total = walk(source, limit, reverse="true", **where)
                assert (rows, total) == (expected[::-1], len(expected)), (where, limit)
        if expected:
            dids = {rng.choice(expected)[0] for _ in range(rng.randrange(1, 5))}
            some = model.list(target, collection, path, dids)
            rows, total = walk(source, rng.randrange(1, 4), did=sorted(dids), **where)
            assert (rows, total) == (some, len(some)), (where, dids)
            rows, total = walk(source, rng.randrange(1, 4), did=sorted(dids), reverse="true", **where)
            assert (rows, total) == (some[::-1], len(some)), (where, dids)
    for target in targets:
        assert source.ok("/links/all/count", target=target)["links"] == model.all_count(target), target


def pick(model, rng, most, some):
    keys = sorted(model.lists, key=lambda k: -len(model.lists[k]))
    lists = keys[:most] + rng.sample(keys, min(some, len(keys)))
    return lists, {k[0] for k in lists}


def test_a_network_as_it_is_told():
    """Some lines at a time; now and then the daemon is restarted, so that saved and recent parts meet."""
    rng = random.Random(fr.seed())
    events = read_lines(fr.simulate(120, 6000, rng.randrange(1 << 30)))
    model = Model()
    with fr.Feed() as feed:
        at = 0
        while at < len(events):
            piece = events[at:at + rng.randrange(200, 1500)]
            at += len(piece)
            seq = feed.write(*piece)
            for event in piece:
                model.apply(event)
            assert seq == model.seq, (seq, model.seq)
            compare(feed, model, rng, *pick(model, rng, 5, 25))
            stats = feed.ok("/")["stats"]
            assert stats["linking_records"] == len(model.links), (stats, len(model.links))
            assert stats["dids"] == len(model.linkers), (stats, len(model.linkers))
            assert stats["targetables"] >= len(model.lists), (stats, len(model.lists))
            assert stats["other_data"]["links"] == sum(map(len, model.links.values())), stats
            if rng.random() < 0.4:
                feed.restart(kill=rng.random() < 0.5)
                compare(feed, model, rng, *pick(model, rng, 3, 10))


def test_a_whole_network():
    rng = random.Random(fr.seed())
    path = fr.simulate(400, 30_000, rng.randrange(1 << 30))
    data = fr.scratch()
    fr.ingest(data, path)
    model = Model(read_lines(path))
    with fr.Daemon(data) as daemon:
        compare(daemon, model, rng, *pick(model, rng, 40, 200))
        # every list that holds or held a link of an account whose state changed
        touched = [k for k, rows in model.lists.items() if any(not model.active(d) for d, _ in rows)]
        compare(daemon, model, rng, rng.sample(touched, min(100, len(touched))), ())


def test_duplicates_and_any_order_of_records():
    """Events repeated at random do not show; events of other records may come late."""
    rng = random.Random(fr.seed())
    events = read_lines(fr.simulate(60, 2500, rng.randrange(1 << 30)))
    model = Model(events)
    told, sent = [], []
    for event in events:
        told.append(event)
        sent.append(event)
        while rng.random() < 0.3:
            told.append(rng.choice(sent))
    data = fr.scratch()
    report = fr.ingest(data, "-", stdin=lines(told)).report
    assert report["appended"] == len(events) and report["duplicate"] == len(told) - len(events), report
    with fr.Daemon(data) as daemon:
        compare(daemon, model, rng, *pick(model, rng, 20, 60))


if __name__ == "__main__":
    fr.main(sys.modules[__name__])

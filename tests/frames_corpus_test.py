#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Real data through the command: a stretch of the production relay against what a production Jetstream served of it,
the golden facts of its links over HTTP, the listings of real CARs, the verdicts on hostile ones."""
import hashlib
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))
import freshet as fr  # noqa: E402
from atproto import lines, read_lines  # noqa: E402
from model import Model  # noqa: E402

HOSTILE_EXIT = {"ok": 0, "reject": 1, "limit": 3, "reject-record": 5}
STRETCH = [("app.bsky.feed.like", ".subject.uri", 41), ("app.bsky.feed.like", ".via.uri", 8),
           ("app.bsky.feed.repost", ".subject.uri", 7), ("app.bsky.feed.repost", ".via.uri", 4),
           ("app.bsky.feed.post", ".reply.parent.uri", 4), ("app.bsky.feed.post", ".reply.root.uri", 4),
           ("app.bsky.feed.post", ".embed.external.uri", 1),
           ("app.bsky.feed.post", ".facets[].features[app.bsky.richtext.facet#link].uri", 1),
           ("app.bsky.graph.follow", ".subject", 3), ("app.bsky.graph.block", ".subject", 1)]


def corpus(*names):
    return fr.CORPUS.joinpath(*names)


def key_of(event):
    commit = event["commit"]
    return event["did"], commit["rev"], commit["collection"], commit["rkey"]


def test_frames_give_exactly_the_events_of_jetstream():
    frames, keys = corpus("firehose", "frames.bin"), corpus("firehose", "did_docs.json")
    expected = read_lines(corpus("firehose", "expected_jetstream.jsonl"))
    assert len(expected) == 62
    one, two = fr.scratch(), fr.scratch()
    report = fr.ingest(one, frames, kind="frames", did_docs=keys).report
    assert [report[n] for n in ("appended", "rejected", "unverified", "cid_unverified")] == [62, 0, 0, 0], report
    found = {key_of(e): e["commit"] for e in fr.dump(one)}
    assert found == {key_of(e): e["commit"] for e in expected}
    # the lines are the same events, in any order of coming
    report = fr.ingest(one, corpus("firehose", "expected_jetstream.jsonl")).report
    assert (report["appended"], report["duplicate"]) == (0, 62), report
    report = fr.ingest(two, corpus("firehose", "expected_jetstream.jsonl")).report
    assert (report["appended"], report["cid_unverified"]) == (62, 0), report
    report = fr.ingest(two, frames, kind="frames", did_docs=keys).report
    assert (report["appended"], report["duplicate"]) == (0, 62), report
    assert fr.digests(one)["links"] == fr.digests(two)["links"]
    without = fr.ingest(fr.scratch(), frames, kind="frames").report
    assert without["appended"] == 62 and without["unverified"] >= 55, without


def golden_facts(daemon, model):
    stats = daemon.ok("/")["stats"]
    assert (stats["dids"], stats["targetables"], stats["linking_records"]) == (56, 73, 57), stats
    assert stats["other_data"]["links"] == 74, stats
    targets = {t for t, _, _ in model.lists}
    assert len(targets) == 69
    totals = {}
    for target, collection, path in model.lists:
        total = daemon.ok("/links/count", target=target, collection=collection, path=path)["total"]
        assert total == len(model.list(target, collection, path)), (target, collection, path)
        totals[collection, path] = totals.get((collection, path), 0) + total
        rows = daemon.ok("/links", target=target, collection=collection, path=path)["linking_records"]
        assert sorted((r["did"], r["rkey"]) for r in rows) == sorted(model.list(target, collection, path))
        if total != 1:
            assert total == 2 and path == ".reply.root.uri" and target.endswith("/3mptbyospqk2i"), (target, path)
            assert len({r["did"] for r in rows}) == 1
    assert totals == {(c, p): n for c, p, n in STRETCH}, totals


def test_golden_facts_over_http():
    model = Model(read_lines(corpus("firehose", "expected_jetstream.jsonl")))
    for kind, name, keys in (("frames", "frames.bin", ["--did-docs", corpus("firehose", "did_docs.json")]),
                             ("jetstream", "expected_jetstream.jsonl", [])):
        with fr.Daemon(fr.scratch(), "--source", f"{kind}:{corpus('firehose', name)}", *keys) as daemon:
            daemon.wait_seq(62)
            golden_facts(daemon, model)
            follows = [e for e in read_lines(corpus("firehose", "expected_jetstream.jsonl"))
                       if e["commit"]["collection"] == "app.bsky.graph.follow" and "record" in e["commit"]]
            for event in follows:
                edge = daemon.ok("/relationships", a=event["did"], b=event["commit"]["record"]["subject"])
                assert edge["following"] == f"at://{event['did']}/app.bsky.graph.follow/{event['commit']['rkey']}"


def test_damaged_frames_cost_themselves_only():
    raw = corpus("firehose", "frames.bin").read_bytes()
    keys = corpus("firehose", "did_docs.json")
    at, spans = 0, []
    while at < len(raw):
        size = int.from_bytes(raw[at:at + 4], "little")
        spans.append((at, size))
        at += 4 + size
    assert len(spans) == 60
    for index in (0, 17, 42, 59):
        start, size = spans[index]
        frame = raw[start + 4:start + 4 + size]
        cut = frame[:size * 2 // 3]
        flipped = bytearray(frame)
        for i in range(8):
            flipped[size * 3 // 4 + i] ^= 0xff
        for damaged in (cut, bytes(flipped)):
            path = fr.scratch("damaged.bin")
            path.write_bytes(raw[:start] + len(damaged).to_bytes(4, "little") + damaged + raw[start + 4 + size:])
            data = fr.scratch()
            result = fr.ingest(data, path, kind="frames", did_docs=keys)
            report = result.report
            assert report["rejected"] >= 1 and report["appended"] <= 61, report
            assert report["appended"] + report["rejected"] >= 61, report
            assert f"{path}: offset {start}:" in result.errors and result.errors.count("offset") == 1 \
                or report["rejected"] > 1, result


def test_listings_of_cars():
    checked = listed = 0
    for fact in map(json.loads, corpus("car", "expected.jsonl").read_text().splitlines()):
        path = corpus("car", fact["file"])
        if not path.is_file():
            continue  # the archive of trees is read by the walker's own tests
        checked += 1
        verdict = fr.run("repo", "check", "--json", path, expect=None)
        assert verdict.report["strict"] == fact["strict"], (fact["file"], fact["reasons"], verdict)
        assert verdict.code == HOSTILE_EXIT[verdict.report["verdict"]], verdict
        if fact["strict"] == "ok":
            for name in ("blocks", "records", "listing_sha256", "roots"):
                assert verdict.report[name] == fact[name], (fact["file"], name, verdict)
        if "listing_sha256" in fact:
            listed += 1
            loose = [] if fact["strict"] == "ok" else ["--bare", "--any-key"]
            rows = fr.run("repo", "ls", *loose, path).text.splitlines()
            listing = "".join("{}\t{}\n".format(*row.split("\t")[:2]) for row in rows)
            assert hashlib.sha256(listing.encode()).hexdigest() == fact["listing_sha256"], fact["file"]
            assert len(rows) == fact["records"], fact["file"]
    assert checked >= 25 and listed >= 6, (checked, listed)
    jetstream = corpus("car", "jetstream")
    expected = [row.split("\t") for row in (jetstream / "car_expected_records.tsv").read_text().splitlines()]
    rows = [row.split("\t")[:2] for row in fr.run("repo", "ls", jetstream / "repo.car").text.splitlines()]
    assert len(rows) == 23 and sorted(rows) == sorted(expected)


def test_hostile_verdicts():
    cases = json.loads(corpus("hostile", "cases.json").read_text())
    assert len(cases) == 76
    wrong = []
    for case in cases:
        path = corpus("hostile", case["file"])
        whose = ["--key", case["signing_key"], "--did", case["did"]]
        result = fr.run("repo", "check", "--json", *whose, path, expect=None)
        report = result.report
        if report["verdict"] != case["verdict"] or result.code != HOSTILE_EXIT[case["verdict"]]:
            wrong.append((case["file"], case["verdict"], report["verdict"], report.get("code"), result.code))
        elif case["verdict"] != "ok":
            assert report["code"] and report["strict"] == "reject", report
    assert not wrong, wrong
    many = fr.run("repo", "check", "--json", *[corpus("hostile", c["file"]) for c in cases], expect=None)
    assert [Path(r["file"]).name for r in many.lines()] == [c["file"] for c in cases]


def test_hostile_cars_through_ingest():
    """What check refuses, ingest refuses; what is sound goes in; nothing ends the run."""
    cases = json.loads(corpus("hostile", "cases.json").read_text())
    docs = fr.scratch("docs.json")
    did = cases[0]["did"]
    assert all(c["did"] == did for c in cases)
    by_key = {}
    for case in cases:
        by_key.setdefault(case["signing_key"], []).append(case)
    for key, group in by_key.items():
        docs.write_text(json.dumps({did: {"id": did, "verificationMethod": [{
            "id": f"{did}#atproto", "type": "Multikey", "controller": did,
            "publicKeyMultibase": key.removeprefix("did:key:")}]}}))
        bad = [c for c in group if c["verdict"] in ("reject", "limit")]
        data = fr.scratch()
        result = fr.ingest(data, *[corpus("hostile", c["file"]) for c in bad], kind="car", did_docs=docs, expect=None)
        assert fr.dump(data) == [] and result.report["rejected"] == len(bad), result
        assert all(f"/{c['file']}: offset " in result.errors for c in bad), result
        for case in group:
            if case in bad:
                continue
            data = fr.scratch()
            result = fr.ingest(data, corpus("hostile", case["file"]), kind="car", did_docs=docs, expect=None)
            report = result.report
            events = fr.dump(data)
            if case["reason"] == "commit version 2 without rev":
                # sound, and yet nothing that events could be ordered by
                assert report["rejected"] == 1 and "commit-rev" in result.errors, (case, result)
            elif case["verdict"] == "ok":
                assert (result.code, report["rejected"]) == (0, 0) and events[-1]["kind"] == "sync", (case, result)
            else:
                assert report["rejected"] == 1 and report["appended"] >= 11, (case, result)


def test_cars_through_ingest():
    data = fr.scratch()
    fr.ingest(data, corpus("car", "jetstream", "repo.car"), corpus("car", "repo-stream", "little.car"), kind="car")
    records = {(e["did"], e["commit"]["collection"] + "/" + e["commit"]["rkey"]): e["commit"]["cid"]
               for e in fr.dump(data) if e["kind"] == "commit"}
    listed = {}
    for name in (("jetstream", "repo.car"), ("repo-stream", "little.car")):
        did = fr.run("repo", "check", "--json", corpus("car", *name)).report["commit"]["did"]
        for row in fr.run("repo", "ls", corpus("car", *name)).text.splitlines():
            key, cid, _ = row.split("\t")
            listed[did, key] = cid
    assert records == listed
    again = fr.scratch()
    fr.ingest(again, "-", stdin=lines(fr.dump(data)))
    assert fr.digests(again) == fr.digests(data)
    result = fr.ingest(fr.scratch(), corpus("car"), kind="car", expect=None)
    assert result.report["appended"] >= 300 and result.report["rejected"] >= 20, result


if __name__ == "__main__":
    fr.need_corpus()
    fr.main(sys.modules[__name__])

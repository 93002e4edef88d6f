#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The verbs of `freshet repo`: one record and its proof, statistics and order, diffs, unpack and pack, frames."""
import json
import random
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))
import freshet as fr  # noqa: E402

CARS = ["jetstream/repo.car", "repo-stream/tiny.car", "repo-stream/little.car", "repo-stream/empty.car",
        "atproto-fixtures/valid-canonical.car"]


def repo(*words, expect=0, stdin=b""):
    return fr.run("repo", *words, expect=expect, stdin=stdin)


def car(name):
    return fr.CORPUS / "car" / name


def hostile(name):
    return fr.CORPUS / "hostile" / f"{name}.car"


def cases():
    return {Path(c["file"]).stem: c for c in json.loads((fr.CORPUS / "hostile" / "cases.json").read_text())}


def rows(path, *options):
    return [line.split("\t") for line in repo("ls", *options, path).text.splitlines()]


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at


def sections(data):
    """(start, end) of each section."""
    size, at = varint(data, 0)
    at += size
    found = []
    while at < len(data):
        size, body = varint(data, at)
        found.append((at, body + size))
        at = body + size
    return found


# ---- one record ------------------------------------------------------------------------------------------------------

def test_commit():
    key = cases()["ok-k256"]["signing_key"]
    plain = json.loads(repo("commit", "--json", hostile("ok-k256")).text)
    assert plain["signature"] == "unchecked" and plain["key"] is None, plain
    signed = json.loads(repo("commit", "--json", "--key", key, hostile("ok-k256")).text)
    assert signed["signature"] == "valid" and signed["key"] == key, signed
    assert signed["did"] == cases()["ok-k256"]["did"] and len(signed["sig"]) == 128, signed
    expected = [json.loads(line) for line in (fr.CORPUS / "car" / "expected.jsonl").read_text().splitlines()]
    for name in CARS:
        commit = next(row["commit"] for row in expected if row["file"] == name)
        found = json.loads(repo("commit", "--json", car(name)).text)
        assert {k: found[k] for k in ("did", "rev", "data", "prev", "version", "sig")} == \
            {k: commit[k] for k in ("did", "rev", "data", "prev", "version", "sig")}, (found, commit)
    assert "commit-did-mismatch" in repo("commit", "--did", "did:plc:aaaa", car(CARS[0]), expect=1).errors
    assert json.loads(repo("commit", "--json", hostile("ok-v2-legacy")).text)["version"] == 2


def test_get():
    path = car("jetstream/repo.car")
    data = path.read_bytes()
    for key, cid, size in rows(path):
        raw = repo("get", "--raw", key, path).out
        assert len(raw) == int(size) and raw in data
        record = json.loads(repo("get", key, path).text)
        assert record["$type"] == key.split("/")[0]
    assert repo("get", path, key).out == repo("get", key, path).out == repo("get", key, "-", stdin=data).out
    missing = repo("get", "app.bsky.feed.post/none", path, expect=1)
    assert missing.out == b"" and "no such record" in missing.errors
    repo("get", key, expect=2)
    assert b"" == repo("get", key, hostile("bad-hash-record"), expect=1).out


def test_proofs():
    case = cases()["ok-k256"]
    path, key = hostile("ok-k256"), case["signing_key"]
    listed = rows(path)
    for name, cid, _ in listed[::7]:
        proof = repo("prove", name, path).out
        found = json.loads(repo("verify-proof", "--json", "--key", key, "--did", case["did"], name, "-",
                                stdin=proof).text)
        assert found["present"] and found["cid"] == cid and found["signature"] == "valid", found
        assert len(proof) < path.stat().st_size
        gone = repo("prove", name + "0", path).out
        found = json.loads(repo("verify-proof", "--json", "--key", key, name + "0", "-", stdin=gone).text)
        assert found["present"] is False and "cid" not in found, found
        # The proof of one thing is not that of the other, and needs each of its blocks.
        repo("verify-proof", "--key", key, name, "-", stdin=gone, expect=1)
        for start, end in sections(proof):
            repo("verify-proof", "--key", key, name, "-", stdin=proof[:start] + proof[end:], expect=1)
    other = "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme"
    assert "sig-wrong" in repo("verify-proof", "--key", other, name, "-", stdin=proof, expect=1).errors
    out = fr.scratch("proof.car")
    repo("prove", "--out", out, name, path)
    assert out.read_bytes() == proof


# ---- what a file is --------------------------------------------------------------------------------------------------

def test_ls_of_a_part():
    path = car("repo-stream/little.car")
    all_rows = rows(path)
    assert rows(path, "--reverse") == all_rows[::-1]
    for collection in {row[0].split("/")[0] for row in all_rows}:
        wanted = [row for row in all_rows if row[0].startswith(collection + "/")]
        assert rows(path, "--collection", collection) == wanted
        assert repo("ls", "--count", "--collection", collection, path).text == f"{len(wanted)}\n"
        assert rows(path, "--keys", "--reverse", "--collection", collection) == [[r[0]] for r in wanted[::-1]]
    assert rows(path, "--collection", "app.bsky") == []


def test_stat():
    path = car("repo-stream/little.car")
    stat = json.loads(repo("stat", "--json", path).text)
    assert (stat["blocks"], stat["nodes"], stat["records"], stat["record_bytes"]) == (375, 96, 278, 246960), stat
    assert stat["widest_node"] == 16 and stat["unreachable_blocks"] == stat["duplicate_blocks"] == 0, stat
    assert sum(stat["nodes_by_layer"].values()) == sum(stat["nodes_by_fan_out"].values()) == 96
    assert sum(int(k) * v for k, v in stat["nodes_by_fan_out"].items()) == stat["keys"] == 278
    listed = rows(path)
    assert stat["key_bytes"] == sum(len(row[0]) for row in listed)
    for collection, found in stat["collections"].items():
        inside = [int(row[2]) for row in listed if row[0].startswith(collection + "/")]
        assert found == {"records": len(inside), "bytes": sum(inside)}, collection
    keys = ("a", "b/x", "c", "d/x", "d/y", "e")
    loose = pack("".join(json.dumps({"uri": key, "value": {}}) + "\n" for key in keys).encode(), "--any-key")
    pairs = json.loads(repo("stat", "--json", "--any-key", "--bare", "-", stdin=loose).text, object_pairs_hook=list)
    found = [(name, dict(counts)["records"]) for name, counts in dict(pairs)["collections"]]
    assert found == [("b", 1), ("d", 2), ("", 3)], found
    waste = json.loads(repo("stat", "--json", hostile("ok-unreachable")).text)
    assert waste["unreachable_blocks"] > 0 and waste["unreachable_bytes"] > 0, waste
    data = path.read_bytes()
    start, end = sections(data)[7]
    doubled = json.loads(repo("stat", "--json", "-", stdin=data + data[start:end]).text)
    assert (doubled["duplicate_blocks"], doubled["duplicate_bytes"]) == (1, end - start), doubled


def test_missing_nodes_are_ranges():
    key = rows(hostile("ok-k256"))[30][0]
    proof = repo("prove", key, hostile("ok-k256")).out
    stat = json.loads(repo("stat", "--json", "--partial", "-", stdin=proof, expect=6).text)
    gaps = stat["missing"]
    assert stat["missing_nodes"] == len(gaps) > 0 and stat["missing_records"] > 0, stat
    for gap in gaps:
        assert gap["after"] is None or gap["before"] is None or gap["after"] < gap["before"], gap
        assert not (gap["after"] or "") < key < (gap["before"] or "\x7f"), gap
    repo("stat", "-", stdin=proof, expect=1)


def test_order():
    def order(path, stdin=b""):
        return json.loads(repo("order", "--json", path, stdin=stdin).text)
    assert order(car("jetstream/repo.car"))["order"] == "pds-like"
    assert order(car("repo-stream/little.car"))["commit_section"] == 5
    for name in CARS:
        packed = pack(unpack_lines(car(name)))
        found = order("-", packed)
        assert found["order"] == "streamable" and found["first_out_of_order"] is None, found
        parts = sections(packed)
        assert found["buffer_bytes"] == max(end - start for start, end in parts)
        head = packed[:parts[0][0]]
        blocks = [packed[start:end] for start, end in parts]
        if len(blocks) > 4:
            by_cid = sorted(blocks, key=lambda b: b[varint(b, 0)[1]:][:36])
            assert order("-", head + b"".join(by_cid))["order"] == "cid-sorted"
            swapped = blocks[:1] + blocks[2:3] + blocks[1:2] + blocks[3:]
            found = order("-", head + b"".join(swapped))
            assert found["first_out_of_order"] == len(head) + len(blocks[0]), found
            assert found["order"] in ("commit-first", "pds-like") and found["commit_section"] == 0, found


# ---- unpack and pack -------------------------------------------------------------------------------------------------

def unpack_lines(path, *options):
    return repo("unpack", "--ndjson", *options, path).out


def pack(lines, *options):
    return repo("pack", *options, "-", stdin=lines).out


def test_round_trips():
    names = [car(name) for name in CARS] + [hostile(name) for name, case in cases().items()
                                            if case["verdict"] in ("ok", "reject-record")]
    for path in names:
        before = json.loads(repo("commit", "--json", path).text)
        lines = unpack_lines(path)
        listed = rows(path)
        objects = [json.loads(line) for line in lines.splitlines()]
        if listed:
            assert [(o["uri"], o["cid"]) for o in objects] == [(f"at://{before['did']}/{r[0]}", r[1]) for r in listed]
        packed = pack(lines)
        folder = fr.scratch("unpacked")
        repo("unpack", path, folder)
        assert repo("pack", folder).out == packed
        after = json.loads(repo("commit", "--json", "-", stdin=packed).text)
        assert after == before, f"{path}: {after} is not {before}"
        assert rows_of(packed) == listed
        repo("unpack", path, folder, expect=2)  # not into what is there


def rows_of(packed):
    return [line.split("\t") for line in repo("ls", "-", stdin=packed).text.splitlines()]


def test_files_stay_in_their_folder():
    """Keys that would be paths, and keys longer than a file name."""
    keys = ["../../x", "..", ".", "/", "a//b", "a/../../b", "~/%2e", "é/ü\n", "-rf", ".commit", "a" * 700,
            "b/" + "." * 600, "." * 450 + "/x", "c/" + "%" * 300, "plain",
            "plain.json/x", "a" * 700 + ".json/x", ".json/x", ""]
    lines = "".join(json.dumps({"uri": key, "value": {"n": i}}, ensure_ascii=False) + "\n"
                    for i, key in enumerate(keys)).encode()
    packed = pack(lines, "--any-key")
    options = ["--bare", "--any-key"]
    folder = fr.scratch("outer") / "inner"
    repo("unpack", *options, "-", folder, stdin=packed)
    assert [p.name for p in folder.parent.iterdir()] == ["inner"]
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert len(files) == len(keys) and all(p.resolve().is_relative_to(folder.resolve()) for p in files)
    assert repo("pack", "--any-key", folder).out == packed
    assert len(rows_of_bare(packed)) == len(keys)
    repo("pack", "-", stdin=lines, expect=1)  # keys of no repository


def rows_of_bare(packed):
    return repo("ls", "--bare", "--any-key", "-", stdin=packed).text.splitlines()


def test_pack_refuses_and_renews():
    lines = unpack_lines(car("jetstream/repo.car")).splitlines()
    first = json.loads(lines[0])
    for change in ({"value": {"other": 1}}, {"cid": "nonsense"}, {"uri": "at://did:plc:x/y"}, {"value": {"f": 1.5}}):
        repo("pack", "-", stdin=json.dumps({**first, **change}).encode(), expect=1)
    repo("pack", "-", stdin=b"not json\n", expect=1)
    result = repo("pack", "-", stdin=b"\n".join(lines[:5]))
    assert "not signed" in result.errors
    commit = json.loads(repo("commit", "--json", "-", stdin=result.out).text)
    assert commit["did"] == first["commit"]["did"] and commit["rev"] > first["commit"]["rev"], commit
    assert len(rows_of(result.out)) == 5


# ---- diff ------------------------------------------------------------------------------------------------------------

def test_diff():
    before = car("jetstream/repo.car")
    lines = unpack_lines(before).splitlines()
    edited = json.loads(lines[3])
    edited["value"]["edited"] = True
    del edited["cid"]
    new = fr.scratch("after.car")
    new.write_bytes(pack(b"\n".join(lines[:3] + [json.dumps(edited).encode()] + lines[5:])))
    found = json.loads(repo("diff", "--json", before, new).text)
    old = {row[0]: row[1] for row in rows(before)}
    now = {row[0]: row[1] for row in rows(new)}
    expected = [{"rpath": key, "old_value": old.get(key), "new_value": now.get(key)}
                for key in sorted(old.keys() | now.keys()) if old.get(key) != now.get(key)]
    assert found["record_ops"] == expected and len(expected) == 2, found
    assert found["created_nodes"] and found["deleted_nodes"]
    text = [line.split("\t") for line in repo("diff", before, new).text.splitlines()]
    assert [row[0] for row in text] == ["update", "delete"] and [r[1] for r in text] == [o["rpath"] for o in expected]
    assert repo("diff", before, before).out == b""
    back = json.loads(repo("diff", "--json", new, before).text)
    assert back["created_nodes"] == found["deleted_nodes"]


# ---- frames ----------------------------------------------------------------------------------------------------------

FRAMES = fr.CORPUS / "firehose" / "frames.bin"
DOCS = fr.CORPUS / "firehose" / "did_docs.json"


def split(data):
    frames = []
    while data:
        size = struct.unpack("<I", data[:4])[0]
        frames.append(data[4:4 + size])
        data = data[4 + size:]
    return frames


def join(frames):
    return b"".join(struct.pack("<I", len(frame)) + frame for frame in frames)


def report(frames, docs=DOCS, expect=0):
    keys = ["--did-docs", docs] if docs else []
    return repo("frames", "--report", *keys, "-", stdin=join(frames), expect=expect).lines()


def without_time(event):
    return {k: v for k, v in event.items() if k != "time_us"}


def test_frames_as_jetstream():
    events = repo("frames", "--did-docs", DOCS, FRAMES).lines()
    expected = [json.loads(line) for line in (FRAMES.parent / "expected_jetstream.jsonl").read_text().splitlines()]
    assert [without_time(e) for e in events] == [without_time(e) for e in expected]


def test_report():
    frames = split(FRAMES.read_bytes())
    found = report(frames)
    assert [list(row)[:8] for row in found] == [["frame", "type", "seq", "repo", "rev", "signature", "inversion",
                                                 "verdict"]] * 60
    assert all((r["signature"], r["inversion"], r["verdict"]) == ("valid", "ok", "ok") for r in found), found
    assert [r["frame"] for r in found] == list(range(60))
    assert {r["signature"] for r in report(frames, docs=None)} == {"no-key"}
    again = report(frames + frames[:1])
    assert again[60]["verdict"] == "skip", again[60]
    docs = json.loads(DOCS.read_text())
    first, second = found[0]["repo"], next(r["repo"] for r in found if r["repo"] != found[0]["repo"])
    docs[first] = {**docs[second], "id": first}
    path = fr.scratch("docs.json")
    path.write_text(json.dumps(docs))
    wrong = report(frames, docs=path, expect=1)
    assert wrong[0]["signature"] == "wrong" and wrong[0]["verdict"] == "reject", wrong[0]
    cut = repo("frames", "--report", "-", stdin=join(frames)[:-1], expect=1).lines()
    assert len(cut) == 60 and cut[59]["verdict"] == "reject" and cut[59]["type"] is None, cut[59]


def test_flipped_frames_are_refused():
    dice = random.Random(fr.seed())
    frames = split(FRAMES.read_bytes())
    for _ in range(40):
        at = dice.randrange(60)
        bad = bytearray(frames[at])
        start = bad.find(b"fblocks")
        where = dice.randrange(start + 10, len(bad) * 3 // 4)
        for i in range(8):
            bad[where + i] ^= 0x40
        found = report(frames[:at] + [bytes(bad)] + frames[at + 1:], expect=1)
        assert len(found) == 60
        rejected = [r["frame"] for r in found if r["verdict"] == "reject"]
        assert rejected == [at], (at, where, found[at])


def test_a_generated_stream():
    path = fr.scratch("frames")
    fr.run("simulate", "--format", "frames", "--accounts", "5", "--events", "200", "--seed", "3", "--out", path)
    docs = Path(f"{path}.did-docs.json")
    frames = split(path.read_bytes())
    found = report(frames, docs=docs)
    assert {r["verdict"] for r in found} <= {"ok", "skip"}, [r for r in found if r["verdict"] not in ("ok", "skip")][:3]
    commits = [r for r in found if r["type"] == "#commit"]
    assert len(commits) > 50 and all(r["signature"] == "valid" for r in commits)
    last = {}
    for row in commits:  # a commit that has one before it and one behind it
        last.setdefault(row["repo"], []).append(row["frame"])
    chain = max(last.values(), key=len)
    drop, after = chain[1], chain[2]
    lost = report(frames[:drop] + frames[drop + 1:], docs=docs)
    assert [r["frame"] + 1 for r in lost if r["verdict"] == "desync"] == [after], lost[after - 1]
    swapped = list(frames)
    swapped[drop], swapped[after] = swapped[after], swapped[drop]
    verdicts = {r["frame"]: r["verdict"] for r in report(swapped, docs=docs)}
    assert verdicts[drop] == verdicts[after] == "desync", verdicts


def test_usage():
    for verb in ("commit", "get", "prove", "verify-proof", "stat", "order", "diff", "unpack", "pack", "frames"):
        assert repo(verb, "--help").out
        assert repo(verb, expect=2).err
    repo("stat", "/nowhere.car", expect=4)
    repo("burn", expect=2)


if __name__ == "__main__":
    fr.need_command()
    fr.need_corpus()
    fr.main(sys.modules[__name__])

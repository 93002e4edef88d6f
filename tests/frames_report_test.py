# SPDX-License-Identifier: MIT OR Apache-2.0
"""`freshet repo frames --report` on frames that are lost, repeated, out of order, cut, damaged, or that lie."""
import copy
import datetime
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "support")]
from firehose import Link, car_blocks, decode, encode, make_car  # noqa: E402
from firehose_test import change_blocks, later_commits, network  # noqa: E402
from freshet import FRESHET, PATIENCE_S, SANITIZED, ingest, main, run, scratch  # noqa: E402

MEMBERS = {"frame", "type", "seq", "repo", "rev", "signature", "inversion", "verdict"}


def join(raws):
    return b"".join(len(r).to_bytes(4, "little") + r for r in raws)


def report(raws, documents, tail=b""):
    path, keys = scratch("frames.bin"), scratch("docs.json")
    path.write_bytes(join(raws) + tail)
    keys.write_text(json.dumps(documents))
    result = run("repo", "frames", "--report", "--did-docs", keys, path, expect=None)
    lines = result.lines()
    assert all(MEMBERS <= set(line) for line in lines)
    assert [line["frame"] for line in lines] == list(range(len(raws) + (tail != b"")))
    assert result.code == any(line["verdict"] == "reject" for line in lines), result.code
    return lines


def other(link):
    return Link(bytes(link)[:-1] + bytes([link[-1] ^ 1]))


def changed_ops(frame, member):
    ops = copy.deepcopy(frame.body["ops"])
    for op in ops:
        if op.get(member):
            op[member] = other(op[member])
    return frame.rebuilt(ops=ops)


def test_what_is_said_of_each():
    frames, documents = network()
    raws = [f.raw for f in frames]
    lines = report(raws, documents)
    assert {line["verdict"] for line in lines} == {"ok"}
    for frame, line in zip(frames, lines):
        is_commit = frame.type == "#commit"
        assert line["signature"] == ("valid" if is_commit else "no-key") and line["seq"] == frame.seq
        assert line["inversion"] == ("ok" if is_commit else "not-given") and line["repo"] == frame.did
    commits = later_commits(frames)
    at = commits[30]
    of_the_same = (frames[at].did, "#commit")
    after = next(i for i in range(at + 1, len(frames)) if (frames[i].did, frames[i].type) == of_the_same)
    makes = next(i for i in commits if frames[i].body["ops"] and frames[i].body["ops"][0]["action"] == "create")
    edits = next(i for i in commits if any(o["action"] == "update" for o in frames[i].body["ops"]))
    two_thirds, damaged = raws[at][:len(raws[at]) * 2 // 3], bytearray(raws[at])
    damaged[len(damaged) * 3 // 4:len(damaged) * 3 // 4 + 8] = bytes(8)
    _, header = decode(raws[at])
    cases = [  # name, what stands at which index, verdicts there and, when not ok, behind
        ("cut", at, [two_thirds], "reject", "desync"),
        ("damaged", at, [bytes(damaged)], "reject", "desync"),
        ("no blocks", at, [frames[at].rebuilt(blocks=b"", tooBig=True, ops=[])], "desync", "desync"),
        ("another since", at, [frames[at].rebuilt(since="3aaaaaaaaaaaa")], "desync", "ok"),
        ("no prevData", at, [frames[at].rebuilt(prevData=None)], "desync", "ok"),
        ("another prevData", at, [frames[at].rebuilt(prevData=other(frames[at].body["prevData"]))], "reject", "desync"),
        ("header t after op", at, [b"\xa2\x62op\x01\x61t" + encode("#commit") + raws[at][header:]], "ok", "ok"),
    ]
    for name, i, wire, here, behind in cases:
        lines = report(raws[:i] + wire + raws[i + 1:], documents)
        assert lines[i]["verdict"] == here, (name, lines[i])
        assert lines[after]["verdict"] == behind, (name, lines[after])
    for i, member, code in ((makes, "cid", "inv-value"), (edits, "prev", "inv-")):
        line = report(raws[:i] + [changed_ops(frames[i], member)] + raws[i + 1:], documents)[i]
        assert line["verdict"] == "reject" and line["inversion"].startswith(code), line
    lines = report(raws[:at] + raws[at + 1:], documents)  # lost
    assert lines[after - 1]["verdict"] == "desync"
    lines = report(raws[:at + 1] + raws[at:], documents)  # twice
    assert lines[at + 1]["verdict"] == "skip" and lines[after + 1]["verdict"] == "ok"
    swapped = list(raws)
    swapped[at], swapped[after] = swapped[after], swapped[at]
    lines = report(swapped, documents)
    assert lines[at]["verdict"] == "desync" and lines[after]["verdict"] == "desync"
    assert report(raws[:at], {}) and {line["signature"] for line in report(raws[:at], {})} == {"no-key"}


def test_operations_without_prev_data():
    """Nobody signs operations: where there is no tree before to lead them back to, they are what the signed tree says,
    or the commit is refused and nothing of it ingested."""
    frames, documents = network()
    firsts = {}
    for frame in frames:
        if frame.type == "#commit" and frame.body["ops"]:
            firsts.setdefault(frame.did, frame)
    frame = next(f for f in firsts.values() if f.body["ops"][0]["action"] == "create")
    op = frame.body["ops"][0]
    lies = {"another value": [dict(op, cid=other(op["cid"]))], "a deletion": [dict(op, action="delete", cid=None)],
            "another path": [dict(op, path="app.bsky.feed.post/3jzfcijpj2z2a")], "two of one path": [op, op]}
    for name, ops in [("honest", frame.body["ops"]), *lies.items()]:
        raw = frame.rebuilt(prevData=None, ops=ops)
        line = report([raw], documents)[0]
        honest = name == "honest"
        assert line["signature"] == "valid" and line["verdict"] == ("ok" if honest else "reject"), (name, line)
        assert (line["inversion"] == "not-given") is honest, (name, line)
        path, keys = scratch("frames.bin"), scratch("docs.json")
        path.write_bytes(join([raw]))
        keys.write_text(json.dumps(documents))
        result = ingest(scratch("data"), path, kind="frames", did_docs=keys, expect=None)
        assert (result.report["appended"] != 0) is honest, (name, result.report)


def test_a_stream_that_goes_back():
    """As after a reconnect with an older cursor: what came already is skipped, and no account is out of step for that;
    the lines have each event once. Behind a hole only what came since is known to have come."""
    frames, documents = network()
    raws = [f.raw for f in frames]
    of_commits = {i for i, f in enumerate(frames) if f.type == "#commit"}
    path, keys = scratch("frames.bin"), scratch("docs.json")
    keys.write_text(json.dumps(documents))

    def events(wire):
        path.write_bytes(join(wire))
        lines = run("repo", "frames", "--did-docs", keys, path).lines()
        return [line for line in lines if line["kind"] == "commit"]

    for back, to in ((len(raws) - 1, len(raws)), (20, 90), (0, len(raws))):
        wire = raws[:to] + raws[back:]
        lines = report(wire, documents)
        assert {lines[i]["verdict"] for i in range(to)} == {"ok"}
        again = {lines[to + i - back]["verdict"] for i in of_commits if back <= i < to}
        assert again <= {"skip"} and all(line["verdict"] in ("ok", "skip") for line in lines)
        assert {line["verdict"] for line in lines[2 * to - back:]} <= {"ok"}, "and goes on behind it"
        assert events(wire) == events(raws)
        data = scratch("data")
        path.write_bytes(join(wire))
        assert ingest(data, path, kind="frames", did_docs=keys).report["desynced"] == 0
    at = later_commits(frames)[10]
    of = [i for i in sorted(of_commits) if frames[i].did == frames[at].did]
    place = of.index(at)
    holed = [raws[i] for i in of[:place] + of[place + 1:]] + [raws[i] for i in of]
    verdicts = [line["verdict"] for line in report(holed, documents)]
    came = len(of) - 1 - place  # since the hole, the one that shows it the first
    assert verdicts[:len(of) - 1] == ["ok"] * place + ["desync"] + ["ok"] * (came - 1), verdicts
    assert verdicts[len(of) - 1:] == ["desync"] * (place + 1) + ["skip"] * came, verdicts


def test_what_is_no_commit():
    frames, documents = network()
    raws = [f.raw for f in frames[:20]]
    skipped = [encode({"op": 1, "t": "#new"}) + encode({"x": 1}),
               encode({"op": 1, "t": "#info"}) + encode({"name": "OutdatedCursor"}),
               encode({"op": -1}) + encode({"error": "FutureCursor"})]
    for wire, verdict in [(w, "skip") for w in skipped] + [(b"\xff\xff", "reject"), (b"", "reject")]:
        lines = report(raws[:10] + [wire] + raws[10:], documents)
        assert lines[10]["verdict"] == verdict, lines[10]
        assert {line["verdict"] for line in lines[:10] + lines[11:]} == {"ok"}
    for tail in (b"\x10\0\0\0abc", b"\x10\0"):
        assert report(raws, documents, tail)[-1]["verdict"] == "reject"
    commit = next(f for f in frames if f.type == "#commit")
    line = report([change_blocks(commit, "block")], documents)[0]
    assert line["verdict"] == "reject" and line["repo"] and line["seq"] and line["rev"], line  # so much was read


def test_an_ingest_counts_who_is_out_of_step():
    """A commit that is lacking, and a #sync: of the tree that is there, of another one, of an account not seen."""
    frames, documents = network()
    commits = [i for i, frame in enumerate(frames) if frame.type == "#commit"]
    at = later_commits(frames)[10]
    of = [i for i in commits if frames[i].did == frames[at].did]
    after = of[of.index(at) + 1]

    def sync(frame):
        body = frame.body
        root, blocks = bytes(body["commit"]), car_blocks(body["blocks"])[0]
        car = make_car(root, [(cid, block) for cid, block in blocks if cid == root])
        return encode({"op": 1, "t": "#sync"}) + encode(
            {"seq": body["seq"], "did": body["repo"], "rev": body["rev"], "blocks": car, "time": body["time"]})

    whole = [frame.raw for frame in frames]
    first_of_all = [sync(frames[of[0]]) if i == of[0] else raw for i, raw in enumerate(whole)]
    cases = [("whole", whole, 0, {"ok"}), ("lost", whole[:at] + whole[at + 1:], 1, {"ok", "desync"}),
             ("a sync behind its commit", whole[:at + 1] + [sync(frames[at])] + whole[at + 1:], 0, {"ok", "skip"}),
             ("a sync in place of a commit", whole[:at] + [sync(frames[at])] + whole[at + 1:], 1, {"ok", "desync"}),
             ("two of them", whole[:at] + [sync(frames[at])] + whole[at + 1:after] + [sync(frames[after])]
              + whole[after + 1:], 1, {"ok", "desync"}),
             ("a sync first of all", first_of_all, 0, {"ok"})]
    for name, raws, desynced, verdicts in cases:
        path, keys, data = scratch("frames.bin"), scratch("docs.json"), scratch("data")
        path.write_bytes(join(raws))
        keys.write_text(json.dumps(documents))
        result = ingest(data, path, kind="frames", did_docs=keys)
        assert (result.report["desynced"], result.report["rejected"]) == (desynced, 0), (name, result)
        assert {line["verdict"] for line in report(raws, documents)} == verdicts, name


def info(size):
    return encode({"op": 1, "t": "#info"}) + encode({"name": "x" * size})


def test_lines_come_with_their_frames():
    """A pipe that stays open: each line before the frame behind it, and no more memory than a frame takes."""
    count, size = 60, 1_000_000
    process = subprocess.Popen([FRESHET, "repo", "frames", "--report", "-"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    watchdog = threading.Timer(PATIENCE_S, process.kill)  # readline then ends
    watchdog.start()
    for i in range(count):
        process.stdin.write(join([info(size)]))
        process.stdin.flush()
        line = json.loads(process.stdout.readline())
        assert (line["frame"], line["type"], line["verdict"]) == (i, "#info", "skip"), line
    status = Path(f"/proc/{process.pid}/status").read_text()
    peak = next(int(row.split()[1]) for row in status.splitlines() if row.startswith("VmHWM"))
    assert SANITIZED or peak * 1024 < 20 * size, peak
    process.stdin.write(b"\x10\0\0\0abc")
    process.stdin.close()
    assert json.loads(process.stdout.readline())["code"] == "frame-cut"
    assert process.stdout.read() == b"" and process.wait(PATIENCE_S) == 1
    watchdog.cancel()


def test_inputs_of_every_kind_give_the_same():
    frames, _ = network()
    wire = join([f.raw for f in frames[:50]] + [b"\xff"] + [info(5 << 20)] + [f.raw for f in frames[50:90]] + [b""])
    path, pipe = scratch("frames.bin"), scratch("pipe")
    for data in (wire, wire[:-1], wire + b"\xff\xff\xff\xff" + wire[:9], b""):
        path.write_bytes(data)
        for form in ((), ("--report",)):
            whole = run("repo", "frames", *form, path, expect=None)
            assert whole.code == (data != b"")
            pipe.unlink(missing_ok=True)
            os.mkfifo(pipe)
            writer = threading.Thread(target=pipe.write_bytes, args=(data,))
            writer.start()
            named = run("repo", "frames", *form, pipe, expect=None)
            writer.join()
            for name, piped in ((pipe, named), *((n, run("repo", "frames", *form, n, stdin=data, expect=None))
                                                 for n in ("-", "/dev/stdin"))):
                assert (piped.code, piped.out) == (whole.code, whole.out), (name, form)
                assert piped.errors.replace(str(name) + ":", str(path) + ":") == whole.errors, (name, form)
    assert [line["code"] for line in map(json.loads, run("repo", "frames", "--report", "-", stdin=wire, expect=1).text
            .splitlines()) if line["verdict"] == "reject"][1] == "limit-frame"


def test_files_after_one_that_is_not_there():
    frames, _ = network()
    good, bad, nothing = scratch("good.bin"), scratch("bad.bin"), scratch("nothing.bin")
    good.write_bytes(join(f.raw for f in frames[:5]))
    bad.write_bytes(join([b"\xff"]))
    for paths, code, count in (((good, nothing, bad), 4, 6), ((bad, nothing, good), 1, 6), ((good, good, bad), 1, 11)):
        result = run("repo", "frames", "--report", *paths, expect=code)
        assert [line["frame"] for line in result.lines()] == list(range(count)), result
        assert (str(nothing) in result.errors) == (nothing in paths), result


def test_time_for_a_pipe():
    process = subprocess.Popen([FRESHET, "repo", "frames", "--report", "--seconds", "1", "-"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wire = join([info(10)])
    process.stdin.write(wire)
    process.stdin.flush()
    assert process.wait(PATIENCE_S) == 3
    assert len(process.stdout.read().splitlines()) == 1
    assert f"-: offset {len(wire)}: limit-time: " in process.stderr.read().decode()


def test_what_the_lexicon_says_of_a_message():
    frames, documents = network()
    commit = next(frames[i] for i in later_commits(frames))
    cases = [({"since": 7}, "frame-since"), ({"since": "now"}, "frame-since"), ({"since": None}, None),
             ({"time": 7}, "frame-time"), ({"time": "now"}, "frame-time"), ({"time": None}, "frame-time"),
             ({"blocks": bytes(2_000_001)}, "limit-bytes")]
    for changes, code in cases:
        line = report([commit.rebuilt(**changes)], documents)[0]
        assert line.get("code") == code and line["type"] == "#commit" and line["repo"], (changes, line)
    line = report([commit.raw + b"\0"], documents)[0]
    assert (line["type"], line["code"], line["offset"]) == ("#commit", "frame-cbor", len(commit.raw)), line
    _, header = decode(commit.raw)
    twice = b"\xa3\x62op\x20\x62op\x01\x61t" + encode("#commit") + commit.raw[header:]
    assert report([twice], documents)[0]["code"] == "frame-cbor"


def test_members_that_are_not_text():
    """Of messages without blocks, by the lexicon absent or text. A handle that is text and no handle stays as it is."""
    documents, head = network()[1], {"seq": 5, "did": "did:web:a.example", "time": "2026-07-04T14:38:08.085Z"}
    path = scratch("frames.bin")
    for kind, name, body in (("account", "status", {**head, "active": True}), ("identity", "handle", head),
                             ("info", "name", {}), ("info", "message", {"name": "OutdatedCursor"})):
        def message(value):
            return encode({"op": 1, "t": "#" + kind}) + encode({**body, name: value})

        for value in (5, None, b"x", ["x"], False):
            line = report([message(value)], documents)[0]
            assert (line["type"], line.get("code"), line["verdict"]) == ("#" + kind, "frame-shape", "reject"), line
            at = line["offset"]
            assert message(value)[at:at + len(encode(value))] == encode(value), (kind, value, line)
        assert report([message("bad handle")], documents)[0]["verdict"] == ("skip" if kind == "info" else "ok")
        if kind != "info":
            path.write_bytes(join([message("bad handle")]))
            event = run("repo", "frames", path).lines()[0]
            assert event[kind] == {**body, name: "bad handle"}, event


def test_an_account_and_a_key():
    """--did and --key are held against each frame, as against any commit: of another account, or signed by another."""
    frames, documents = network()
    path, keys = scratch("frames.bin"), scratch("docs.json")
    path.write_bytes(join([f.raw for f in frames] + [info(3)]))
    keys.write_text(json.dumps(documents))
    commit = next(f for f in frames if f.type == "#commit")
    did = commit.did
    key = next(m["publicKeyMultibase"] for m in documents[did]["verificationMethod"] if m["id"].endswith("#atproto"))
    lines = run("repo", "frames", "--report", "--did", did, "--did-docs", keys, path, expect=1).lines()
    for line in lines[:-1]:
        assert (line["verdict"] == "reject") == (line["repo"] != did), line
        assert line["repo"] == did or line["code"] == "commit-did-mismatch", line
    assert lines[-1]["verdict"] == "skip" and {line["repo"] for line in lines} > {did}
    mine = join(f.raw for f in frames if f.did == did)
    for form in ((), ("--report",)):
        whole = run("repo", "frames", *form, "--did-docs", keys, "-", stdin=mine)
        assert run("repo", "frames", *form, "--did", did, "--key", key, "-", stdin=mine).out == whole.out
    wrong = "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme"
    lines = run("repo", "frames", "--report", "--key", wrong, "-", stdin=mine, expect=1).lines()
    assert {line["code"] for line in lines if line["type"] == "#commit"} == {"sig-wrong"}


def test_a_clock():
    """With --now a rev of more than five minutes later is refused, of commits and of #sync alone."""
    frames, documents = network()
    path, keys = scratch("frames.bin"), scratch("docs.json")
    path.write_bytes(join(f.raw for f in frames))
    keys.write_text(json.dumps(documents))
    letters = "234567abcdefghijklmnopqrstuvwxyz"

    def time_of(rev):  # microseconds
        value = 0
        for letter in rev:
            value = value << 5 | letters.index(letter)
        return value >> 10

    revs = {i: time_of(f.body["rev"]) for i, f in enumerate(frames) if f.type == "#commit"}
    middle = sorted(revs.values())[len(revs) // 2]
    for late in (-1, 0, 300_000_000, 300_000_001):
        now = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=middle - late)
        result = run("repo", "frames", "--report", "--did-docs", keys, "--now", now.isoformat() + "Z", path,
                     expect=None)
        said = {line["frame"]: line for line in result.lines()}
        ahead = {i for i, time in revs.items() if time - (middle - late) > 300_000_000}
        assert {i for i, line in said.items() if line["verdict"] == "reject"} == ahead, late
        assert {said[i]["code"] for i in ahead} <= {"commit-rev"} and result.code == (ahead != set())
        assert (late > 300_000_000) <= bool(ahead)
    old = run("repo", "frames", "--now", "2001-09-09T01:46:40Z", "--did-docs", keys, path, expect=1)
    assert old.errors.count(": commit-rev: ") == len(revs), old
    for now in (["--now", "clock"], []):
        assert run("repo", "frames", *now, "--did-docs", keys, path).text.count('"kind":"commit"') > 0
    for now in ("", "now", "-1", "2001-09-09", "12", "1969-12-31T23:59:59Z"):
        run("repo", "frames", "--now", now, path, expect=2)


if __name__ == "__main__":
    sys.exit(main(sys.modules[__name__]))

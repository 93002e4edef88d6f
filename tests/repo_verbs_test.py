#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""More verbs of `freshet repo`: explain, pack in every order and signed, refresh from a host that helps, refuses or
lies; and what no verb may do: write outside of its folder."""
import http.server
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))
import atproto  # noqa: E402
import firehose  # noqa: E402
import freshet as fr  # noqa: E402
from repos import DID, SECRET, facts, line, lines, listing, pack, records, repo, sections  # noqa: E402


# ---- pack ------------------------------------------------------------------------------------------------------------

def test_several_files_are_told_apart():
    """With --json each object has its file; as text several begin with their names, and one alone is as it was."""
    names = [fr.scratch("one\n.car"), fr.scratch("two.car")]
    for number, name in enumerate(names):
        name.write_bytes(pack(line(f"app.bsky.feed.post/{number}", {"$type": "x"})))
    for verb, label in (("commit", "file       "), ("stat", "file "), ("order", "file ")):
        texts = [repo(verb, str(name)).text for name in names]
        shown = [label + str(name).replace("\n", "\\x0a") + "\n" for name in names]
        assert repo(verb, *map(str, names)).text == shown[0] + texts[0] + shown[1] + texts[1]
        objects = [json.loads(row) for row in repo(verb, "--json", *map(str, names)).text.splitlines()]
        assert [row["file"] for row in objects] == list(map(str, names))
    assert repo("ls", *map(str, names)).text == "".join(repo("ls", str(name)).text for name in names)


def test_answers_name_level_and_signature():
    """What was checked: of every report, as text and as an object."""
    path, key = fr.scratch("signed.car"), "did:key:zQ3shjyJXUaRJC2GC43mX8aPrUhoTdoiongXhZjsdTzPKYZUM"
    path.write_bytes(pack(line("a.b.c/d", {}), "--sign-key", SECRET))
    proof = fr.scratch("proof.car")
    repo("prove", "a.b.c/d", "--out", proof, path)
    for options, level, states in (([], "full", ("unchecked",)), (["--level", "lazy"], "lazy", ("unchecked",)),
                                   (["--level", "trusted", "--key", key], "trusted", ("verified", "valid"))):
        for words in (["check"], ["commit"], ["stat"], ["order"], ["explain", "a.b.c/d"],
                      ["explain", facts(path.read_bytes())["commit_cid"]]):
            found = json.loads(repo(*words, "--json", *options, path).text)
            assert found["level"] == level and found["signature"] in states, (words, found)
            text = repo(*words, *options, path).text.split()
            at = len(text) - 1 - text[::-1].index("level")
            assert text[at + 1].strip(",") == level and text[at + 3].strip(",") in states, (words, text)
        found = json.loads(repo("verify-proof", "--json", *options, "a.b.c/d", proof).text)
        assert found["level"] == "full" and found["signature"] in states, found


def test_a_collection_is_a_slice():
    """It lists as the whole does, its commit is the signed one, and it says nothing of other collections."""
    made = records(random.Random(fr.seed()), 3000)
    whole = fr.scratch("whole.car")
    whole.write_bytes(pack(lines(made), "--did", DID, "--sign-key", SECRET))
    part = fr.scratch("part.car")
    repo("pack", "--collection", "app.bsky.feed.like", "--out", str(part), str(whole))
    likes = repo("ls", "--collection", "app.bsky.feed.like", str(whole)).out
    assert repo("ls", "--partial", "--collection", "app.bsky.feed.like", str(part)).out == likes != b""
    assert repo("commit", str(part)).text.split() == repo("commit", str(whole)).text.split()
    assert part.stat().st_size < whole.stat().st_size * 0.7
    repo("check", str(part), expect=1)
    absent = fr.scratch("absent.car")
    repo("pack", "--collection", "app.bsky.graph.follow", "--out", str(absent), str(whole))
    assert repo("ls", "--partial", "--collection", "app.bsky.graph.follow", str(absent)).out == b""
    assert absent.stat().st_size < 20000


def test_a_collection_of_any_length():
    keys = ["c" * 400 + "/a", "c" * 401 + "/b", "d" * 1022 + "/c"]
    car = pack(b"".join(json.dumps({"uri": key, "value": {}}).encode() + b"\n" for key in keys), "--any-key")
    for key in keys:
        options = ["--any-key", "--bare", "--collection", key[:-2]]
        assert repo("ls", "--keys", *options, "-", stdin=car).text == key + "\n"
        assert json.loads(repo("unpack", "--ndjson", *options, "-", stdin=car).text)["uri"] == key
    for name in ("c" * 399, "d" * 1023, "d" * 2000, ""):
        assert repo("ls", "--any-key", "--bare", "--collection", name, "-", stdin=car).out == b""


def test_pack_is_held_to_account_and_key():
    """What --did and --key ask for, and the accounts that the URIs name, are those of the commit that came."""
    other = "did:plc:otherotherotherotherothe"
    made = records(random.Random(fr.seed()), 20)
    car = pack(lines(made), "--sign-key", SECRET)
    text, folder = repo("unpack", "--ndjson", "-", stdin=car).out, fr.scratch("unpacked")
    repo("unpack", "-", folder, stdin=car)
    wrong = "did:key:zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF"
    for source, given in ((folder, b""), ("-", text)):
        assert repo("pack", source, stdin=given).out == car
        refused = repo("pack", "--did", other, source, stdin=given, expect=1).err
        assert b"commit-did-mismatch" in refused or b"a uri is not of one DID" in refused, refused
        assert b"sig-wrong" in repo("pack", "--key", wrong, source, stdin=given, expect=1).err
    repo("pack", "--did", "nonsense", folder, expect=2)
    nobody = json.dumps({"uri": "a.b.c/d", "value": {}}).encode()
    assert "no commit" in repo("pack", "-", stdin=nobody).errors and not repo("pack", "--bare", "-", stdin=nobody).err
    lied = text.replace(b'"at://' + DID.encode(), b'"at://' + other.encode())
    assert lied != text and b"commit-did-mismatch" in repo("pack", "-", stdin=lied, expect=1).err
    bare = repo("pack", "--bare", "-", stdin=text).out
    assert repo("ls", "--count", "--bare", "-", stdin=bare).text == f"{len(made)}\n"
    for asked in (["--key", wrong], ["--did", DID]):  # a tree alone has neither
        repo("check", "--bare", *asked, "-", stdin=bare, expect=2)
    assert repo("pack", "-", stdin=b"\r\n \r\n".join([b""] + text.splitlines())).out == car, "white space between lines"


def test_what_is_packed_is_told_apart():
    """A CAR, sound or not, from a text, JSON or not: the error is of what it is."""
    car = pack(line("a.b.c/d", {}), "--sign-key", SECRET)
    for data, code in ((b"\x0a\xa1gversion\x02" + car, "car-version"), (b"\0" + car[1:], "car-header-length"),
                       (b"\xba\0" + car[1:], "car-varint"), (car[:40], "car-header-length"), (b"[{}]", "pack-input"),
                       (b"root:x:0:0\n", "json"), (b"\0\0\n", "json"), (b"{", "json"), (b"\n\n7", "pack-input"),
                       (b"\n", "pack-input")):
        path = fr.scratch("input")
        path.write_bytes(data)
        for name in ("-", path):
            told = repo("pack", name, stdin=data, expect=1).errors
            assert told.startswith(f"{name}: offset ") and f": {code}: " in told, (data[:20], told)


def test_a_key_that_stands_twice():
    """It is refused, whatever the values are, where they stand and wherever the records have gone meanwhile."""
    dice = random.Random(fr.seed())
    made = {key: {**record, "n": n} for n, (key, record) in enumerate(records(dice, 1500).items())}
    rows = [line(key, record) for key, record in made.items()]
    dice.shuffle(rows)
    for key, value in ((dice.choice(sorted(made)), None), (dice.choice(sorted(made)), {"$type": "other"})):
        again = line(key, made[key] if value is None else value)
        first = next(i for i, row in enumerate(rows) if json.loads(row)["uri"].endswith(key))
        for at in (first + 1, len(rows)):  # right behind it, and at the end
            data = b"".join(rows[:at] + [again] + rows[at:])
            offset = sum(map(len, rows[:at]))
            for limit in ("16M", "200K"):
                out = fr.scratch("twice.car")
                for words in ([], ["--out", out]):
                    told = repo("pack", "--did", DID, "--mem", limit, *words, "-", stdin=data, expect=1)
                    assert told.errors.startswith(f"-: offset {offset}: key-twice: ") and not told.out, told
                    assert told.errors.endswith(f" ({key})\n") and not out.exists(), told
    # What unpack writes has one name for a key; another may be made by hand.
    folder = fr.scratch("folder")
    repo("unpack", "-", folder, stdin=pack(line("a.b.c/d", {})))
    (folder / "a.b.c" / "%64.json").write_text("{}")
    told = repo("pack", folder, expect=1).errors
    assert ": key-twice: " in told and told.endswith(" (a.b.c/d)\n"), told
    # Other errors of a line name its key as well, when it has one.
    for bad, key in ((line("nokey", {}), "nokey"), (line("a.b.c/d", {"n": 1.5}), "a.b.c/d"), (b"{}\n", "")):
        told = repo("pack", "-", stdin=line("a.b.c/x", {}) + bad, expect=1).errors
        assert told.endswith(f" ({key})\n") if key else "a.b.c" not in told, told
    text = repo("unpack", "--ndjson", "-", stdin=pack(line("a.b.c/d", {}))).out
    commit = json.dumps({"commit": json.loads(text)["commit"]}).encode() + b"\n"
    assert "a second commit" in repo("pack", "-", stdin=text + commit, expect=1).errors


def test_a_folder_holds_files_and_folders():
    """What unpack does not write is refused at once, by its name, and nothing is read from outside of the folder."""
    folder, outside = fr.scratch("folder"), fr.scratch("outside")
    car = pack(line("a.b.c/d", {}), "--sign-key", SECRET)
    repo("unpack", "-", folder, stdin=car)
    (outside / "e.f.g").mkdir(parents=True)
    (outside / "e.f.g" / "h.json").write_text("{}")
    bound = socket.socket(socket.AF_UNIX)
    for name, make in (("a.b.c/p.json", os.mkfifo), ("a.b.c/readme", os.mkfifo),
                       ("a.b.c/l.json", lambda at: at.symlink_to(outside / "e.f.g" / "h.json")),
                       ("e.f.g", lambda at: at.symlink_to(outside / "e.f.g")),
                       ("a.b.c/gone.json", lambda at: at.symlink_to("nowhere")),
                       ("s.json", lambda at: bound.bind(str(at)))):
        at = folder / name
        make(at)
        told = repo("pack", folder, expect=1)
        assert told.errors == f"{at}: offset 0: pack-input: pack: neither a file nor a folder\n" and not told.out, told
        at.unlink()
    bound.close()
    link = fr.scratch("link")
    link.symlink_to(folder)
    assert repo("pack", link).out == repo("pack", folder).out == car
    # Any other error names the file as well.
    (folder / "a.b.c" / "x.json").write_text('{"n":1.5}')
    told = repo("pack", folder, expect=1).errors
    assert told.startswith(f"{folder}/a.b.c/x.json: offset 0: json-number: ") and told.count("\n") == 1, told


def test_limits_are_options():
    car = pack(lines(records(random.Random(fr.seed()), 300)), "--sign-key", SECRET)
    size = len(car)
    for name, enough, little in (("header", 100, 10), ("block", "1M", 16), ("node-bytes", "1M", 20),
                                 ("node-entries", 300, 1), ("blocks", "1K", 20), ("bytes", size, size - 1)):
        assert repo("ls", "--count", "--limit", f"{name}={enough}", "-", stdin=car).text == "300\n", name
        refused = repo("check", "--json", "--limit", f"{name}={little}", "-", stdin=car, expect=3)
        assert json.loads(refused.text)["code"] == f"limit-{name}", refused
    for bad in ("blocks", "blocks=", "blocks=0", "block s=1", "=1", "nodes=1", "blocks=-1"):
        repo("check", "--limit", bad, "-", stdin=car, expect=2)


def test_a_clock():
    """A rev of more than five minutes after --now is refused by every verb that looks at a commit."""
    key = "a.b.c/d"
    car = pack(line(key, {}), "--sign-key", SECRET, "--rev", atproto.tid(17 * 10**14, 0))  # 2023-11-14T22:13:20Z
    verbs = (["ls"], ["check"], ["check", "--all"], ["check", "--json"], ["commit"], ["get", key], ["stat"], ["pack"],
             ["verify-proof", key], ["unpack", "--ndjson"], ["prove", key])
    for words in verbs:
        for now in ("2023-11-14T22:08:20Z", "2023-11-14T22:13:20+00:00", "2024-01-01T00:00:00Z", "clock"):
            repo(*words, "--now", now, "-", stdin=car)
        told = repo(*words, "--now", "2023-11-14T22:08:19.999Z", "-", stdin=car, expect=1)
        assert b"commit-rev" in told.out + told.err, (words, told)
    text = repo("unpack", "--ndjson", "-", stdin=car).out
    assert b"commit-rev" in repo("pack", "--now", "2023-11-14T22:00:00Z", "-", stdin=text, expect=1).err
    repo("pack", "--now", "clock", "-", stdin=line(key, {}))  # made now


def test_a_pipe_with_a_name_is_read():
    car = pack(lines(records(random.Random(fr.seed()), 20)))
    path = fr.scratch("named")
    os.mkfifo(path)
    for words in (["check", "--all"], ["refresh", "--from", "http://127.0.0.1:1"], ["frames", "--report"]):
        writer = threading.Thread(target=path.write_bytes, args=(car,))
        writer.start()
        result = repo(*words, path, expect=None)
        writer.join()
        assert b"car-empty" not in result.err and (words[0] != "frames" or result.out), result


def test_orders_and_signatures():
    dice = random.Random(fr.seed())
    made = {key: {**record, "n": n} for n, (key, record) in enumerate(records(dice, 120).items())}
    options = ["--sign-key", SECRET, "--rev", "3kaaaaaaaaaa2"]
    cars = {order: pack(lines(made), "--order", order, *options) for order in ("streamable", "cid-sorted", "pds")}
    for order, car in cars.items():
        assert pack(lines(made), "--order", order, *options) == car, "the same bytes again"
        found = json.loads(repo("order", "--json", "-", stdin=car).text)["order"]
        assert found == {"pds": "pds-like"}.get(order, order), (order, found)
        for other in cars.values():  # from any other one, the commit stays
            assert pack(other, "--order", order) == car
    assert len({facts(car)["commit_cid"] for car in cars.values()}) == 1
    # Without an order it is the streamable one; what is superfluous goes.
    car = cars["streamable"]
    assert pack(car + b"".join(sections(car).values())) == car
    secret = fr.scratch("secret")
    secret.write_text(SECRET + "\n")
    assert pack(lines(made), "--sign-key", secret, "--rev", "3kaaaaaaaaaa2") == car
    # The same tree on the other curve: the revision stays, the commit does not.
    other = pack(car, "--sign-key", "p256:" + SECRET)
    before, after = facts(car), facts(other)
    assert before["commit"]["rev"] == after["commit"]["rev"] and before["commit_cid"] != after["commit_cid"]
    assert before["commit"]["data"] == after["commit"]["data"] and before["listing_sha256"] == after["listing_sha256"]
    for wrong in (["--sign-key", "zz"], ["--sign-key", "/dev/null"], ["--rev", "now"]):  # before anything is read
        waits = subprocess.Popen([fr.FRESHET, "repo", "pack", *wrong, "-"], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert waits.wait(fr.PATIENCE_S) == 2 and waits.stderr.read() and not waits.stdout.read(), wrong
        waits.stdin.close()
        waits.stderr.close()
        waits.stdout.close()
    repo("pack", "/nowhere.car", expect=4)
    repo("pack", "--order", "random", "-", stdin=car, expect=2)
    repo("pack", "-", stdin=car[:-1], expect=1)


def test_round_trips_of_random_repositories():
    dice = random.Random(fr.seed())
    for _ in range(15):
        made = records(dice, dice.choice([0, 1, 2, 9, 40, 200]))
        for key in list(made)[::3]:
            made[key] = {"$type": "é\u202e\n", "deep": [[{"x": {"$bytes": "AAE"}}]], "n": -2**53, "s": "\0\"\\"}
        made[f"a.b.c/{'r' * dice.randrange(1, 513)}"] = {}
        made["a.b.c/...~:_-"] = {"dots": True}
        car = pack(lines(made), "--sign-key", SECRET)
        again = pack(repo("unpack", "--ndjson", "-", stdin=car).out)
        assert again == car
        folder = fr.scratch("folder")
        repo("unpack", "-", folder, stdin=car)
        assert repo("pack", folder).out == car
        for path in folder.rglob("*"):
            assert path.resolve().is_relative_to(folder.resolve()) and not path.is_symlink(), path


def test_no_name_leads_out_of_the_folder():
    """Keys that a tree with --any-key can have."""
    keys = ["../../evil", "..", ".", "/etc/x", "a/../b", "a//b", "a/..", ".commit", "a\\b", "a/b\0c", "CON",
            "a/" + "é" * 300, "x" * 800, "%2e%2e/x", "a/.hidden", "\x1b[2J", "a/b/c/d", "-rf", "a b", "\u202e"]
    data = b"".join(json.dumps({"uri": key, "value": {"k": n}}).encode() + b"\n" for n, key in enumerate(keys))
    car = pack(data, "--any-key")
    top = fr.scratch("top")
    folder = top / "a" / "b" / "out"
    repo("unpack", "--any-key", "--bare", "-", folder, stdin=car)
    everything = [path for path in top.rglob("*") if path.is_file()]
    assert len(everything) == len(keys) and all(folder in path.parents for path in everything), everything
    assert repo("pack", "--any-key", folder).out == car


# ---- explain ---------------------------------------------------------------------------------------------------------

def test_explain():
    dice = random.Random(fr.seed())
    made = records(dice, 150)
    shared = {"$type": "shared"}
    twice = sorted(dice.sample(sorted(made), 2))
    made.update({key: shared for key in twice})
    car = pack(lines(made), "--sign-key", SECRET)
    rows = {row[0]: row[1] for row in listing(car)}
    commit = facts(car)["commit_cid"]
    for key in dice.sample(sorted(made), 12):
        found = json.loads(repo("explain", "--json", key, "-", stdin=car).text)
        assert found["present"] and found["cid"] == rows[key] and found["commit"] == commit, found
        path = found["path"]
        assert [node["layer"] for node in path] == list(range(path[0]["layer"], found["layer"] - 1, -1))
        assert [node["found"] for node in path] == [False] * (len(path) - 1) + [True]
        for node in path:
            assert (node["before"] or "") < key < (node["after"] or "\x7f")
            why = json.loads(repo("explain", "--json", node["cid"], "-", stdin=car).text)
            (section,), (use,) = why["sections"], why["uses"]
            assert section["block_offset"] == node["offset"] and section["bytes"] == node["bytes"]
            assert use["kind"] == "node" and use["layer"] == node["layer"], use
            assert (use["after"] or "") < key < (use["before"] or "\x7f")
        assert path[-1]["prefix"] + path[-1]["suffix"] == len(key)
    why = json.loads(repo("explain", "--json", rows[twice[0]], "-", stdin=car).text)
    assert [use["key"] for use in why["uses"]] == twice and len(why["sections"]) == 1, why
    why = json.loads(repo("explain", "--json", commit, "-", stdin=car).text)
    assert why["uses"] == [{"kind": "commit"}] and why["sections"][0]["offset"] == 59
    absent = json.loads(repo("explain", "--json", twice[0] + "0", "-", stdin=car, expect=1).text)
    assert absent["present"] is False and absent["cid"] is None and not any(n["found"] for n in absent["path"])
    unknown = "bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm"
    assert "does not have it" in repo("explain", unknown, "-", stdin=car, expect=1).text
    for words in ([twice[0]], [rows[twice[0]]], [commit]):
        assert repo("explain", *words, "-", stdin=car).text
    # A proof lacks blocks: what is missing is told as well.
    proof = repo("prove", twice[0], "-", stdin=car).out
    gaps = json.loads(repo("stat", "--json", "--partial", "-", stdin=proof, expect=6).text)["missing"]
    lost = json.loads(repo("explain", "--json", "--partial", gaps[0]["cid"], "-", stdin=proof, expect=1).text)
    assert lost["sections"] == [] and lost["uses"][0]["kind"] == "node", lost
    assert lost["uses"][0]["after"] == gaps[0]["after"] and lost["uses"][0]["before"] == gaps[0]["before"]


# ---- parts -----------------------------------------------------------------------------------------------------------

def test_what_a_part_leaves_open():
    """With --partial what is absent is no fault, but not nothing either: it is listed as far as it is known, and the
    exit code says that it is missing."""
    dice = random.Random(fr.seed())
    car = pack(lines({key: {**record, "n": n} for n, (key, record) in enumerate(records(dice, 200).items())}))
    rows, parts = listing(car), sections(car)
    key, cid, _ = dice.choice(rows)
    node = json.loads(repo("explain", "--json", key, "-", stdin=car).text)["path"][-1]["cid"]

    def without(gone):
        path = fr.scratch("part.car")
        path.write_bytes(car[:59] + b"".join(part for name, part in parts.items() if name != gone))
        return path

    def at(path, *words, expect=6):
        """The same of a file and of a stream."""
        found = repo(*words, str(path), expect=expect)
        assert repo(*words, "-", stdin=path.read_bytes(), expect=expect).out == found.out, words
        return found.text

    lacks = without(cid)
    shown = [[k, c, "-" if k == key else size] for k, c, size in rows]
    assert [row.split("\t") for row in at(lacks, "ls", "--partial").splitlines()] == shown
    assert [row.split("\t") for row in at(lacks, "ls", "--partial", "--reverse").splitlines()] == shown[::-1]
    objects = [json.loads(row) for row in at(lacks, "ls", "--partial", "--json").splitlines()]
    assert [row["bytes"] for row in objects if row["key"] == key] == [None]
    for options in ([], ["--reverse"], ["--collection", key.split("/")[0]]):
        count = sum(k.startswith(options[1]) for k, *_ in rows) if len(options) == 2 else len(rows)
        assert at(lacks, "ls", "--partial", "--count", *options) == f"{count}\n"
        assert len(at(lacks, "ls", "--partial", "--keys", *options).splitlines()) == count
    other = next(name for name in ("app.bsky.feed.post", "app.bsky.feed.like") if not key.startswith(name + "/"))
    whole = repo("ls", "--collection", other, str(lacks)).text  # of a file, which is judged no further
    assert at(lacks, "ls", "--partial", "--collection", other, expect=0) == whole
    assert len(at(lacks, "unpack", "--partial", "--ndjson").splitlines()) == len(rows) - 1
    assert at(lacks, "get", "--partial", key) == "" and at(lacks, "get", key, expect=1) == ""
    assert facts(lacks.read_bytes(), "--partial", expect=6)["records"] == len(rows)
    part = at(lacks, "order", "--partial").split("\n")
    assert part[1] == f"sections {len(parts) - 1}" and at(lacks, "order", expect=1) == "", part
    for order in ("streamable", "cid-sorted", "pds"):
        found = repo("pack", "--partial", "--order", order, lacks, expect=6)
        assert set(sections(found.out)) == set(parts) - {cid} and not found.err, order
        out = fr.scratch("out.car")
        repo("pack", "--partial", "--order", order, "--out", out, "-", stdin=lacks.read_bytes(), expect=6)
        assert out.read_bytes() == found.out
    repo("pack", "--partial", "--collection", key.split("/")[0], lacks, expect=6)
    slice_of = repo("pack", "--partial", "--collection", other, lacks).out  # of which nothing is absent
    assert repo("pack", "--partial", "--collection", other, "-", stdin=slice_of).out == slice_of
    assert repo("pack", "--partial", "-", stdin=slice_of, expect=6).out == slice_of
    assert repo("pack", "--partial", "-", stdin=car).out and repo("order", "--partial", "-", stdin=car).out
    # What a node shows is open without it, and is neither there nor not there.
    lacks = without(node)
    assert at(lacks, "order", "--partial") and repo("pack", "--partial", lacks, expect=6).out
    for verb in ("get", "prove", "explain"):
        assert at(lacks, verb, "--partial", key) == "" and at(lacks, verb, key, expect=1) == ""
        told = repo(verb, "--partial", key, str(lacks), expect=6).err.decode()
        assert ": tree-missing-node: " in told, told
    assert len(at(lacks, "ls", "--partial").splitlines()) < len(rows)
    assert len(at(lacks, "unpack", "--partial", "--ndjson").splitlines()) < len(rows)
    empty = fr.scratch("empty.car")
    empty.write_bytes(pack(b"", "--did", DID))
    repo("diff", "--partial", str(empty), str(lacks), expect=6)
    repo("diff", str(empty), str(lacks), expect=1)


# ---- refresh ---------------------------------------------------------------------------------------------------------

class Host:
    """A PDS with one repository. `without`: methods that it lacks; `lie`: spoils what getRepo?since gives."""

    def __init__(self, old, new, without=(), lie=False):
        host, self.asked = self, []
        commit = facts(new)
        fresh = {cid: part for cid, part in sections(new).items() if cid not in sections(old)}

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def give(self, body, status=200):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                url = urllib.parse.urlparse(self.path)
                asked = urllib.parse.parse_qs(url.query)
                method = url.path.split(".")[-1] + ("?since" if "since" in asked else "")
                host.asked.append(method)
                assert asked["did"] == [DID], asked
                if method in without:
                    self.give(b'{"error":"InvalidRequest"}', 400)
                elif method == "getLatestCommit":
                    self.give(json.dumps({"cid": commit["commit_cid"], "rev": commit["commit"]["rev"]}).encode())
                elif method == "getRepo?since":
                    body = new[:59] + b"".join(fresh.values())
                    self.give(body[:-1] + bytes([body[-1] ^ 1]) if lie else body)
                elif method == "getRepo":
                    self.give(new)
                elif method == "getBlocks":
                    self.give(new[:59] + b"".join(sections(new)[cid] for cid in asked["cids"]))
                else:
                    self.give(b"", 404)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *problem):
        self.server.shutdown()
        self.server.server_close()


def refresh(host, old, *options, expect=0):
    out = fr.scratch("new.car")
    path = fr.scratch("old.car")
    path.write_bytes(old)
    result = repo("refresh", "--from", host.url + "/", "--json", "--out", out, *options, path, expect=expect)
    return (json.loads(result.text), out.read_bytes()) if expect == 0 else (result, out.exists())


def test_refresh():
    dice = random.Random(fr.seed())
    made = records(dice, 200)
    old = pack(lines(made), "--sign-key", SECRET, "--rev", "3kaaaaaaaaaa2")
    for key in dice.sample(sorted(made), 5):
        del made[key]
    made.update(records(dice, 4))
    new = pack(lines(made), "--sign-key", SECRET, "--rev", "3kaaaaaaaaab2")
    for without, method in (((), "since"), (("getRepo?since",), "blocks"), (("getRepo?since", "getBlocks"), "full")):
        with Host(old, new, without) as host:
            told, car = refresh(host, old)
            assert car == new and told["method"] == method, (told, host.asked)
            assert (told["rev_before"], told["rev_after"]) == ("3kaaaaaaaaaa2", "3kaaaaaaaaab2")
            assert told["car_bytes"] == len(new) and told["saved_bytes"] == len(new) - told["fetched_bytes"]
            assert (told["saved_bytes"] > len(new) // 3) == (method != "full"), told
    with Host(old, new, lie=True) as host:  # what does not hash is thrown away, and the rest is asked for elsewhere
        told, car = refresh(host, old)
        assert car == new and told["method"] != "since", told
    with Host(new, new) as host:
        told, car = refresh(host, new)
        assert car == new and told["method"] == "none" and host.asked == ["getLatestCommit"], told
    with Host(new, old) as host:  # a host that went back
        result, written = refresh(host, new, expect=1)
        assert "refresh-older" in result.errors and not written
    other = pack(lines(made), "--sign-key", "22" * 32, "--rev", "3kaaaaaaaaac2")
    before, after = ("did:key:zQ3sh" + of for of in ("jyJXUaRJC2GC43mX8aPrUhoTdoiongXhZjsdTzPKYZUM",
                                                     "S9i8ufXsDMmNUWAzJDryVeJeQjh2cQNVA6Sc3r9W8wnv"))
    with Host(old, other) as host:  # the account has another key since
        assert refresh(host, old, "--key", after)[1] == other
        result, written = refresh(host, old, "--key", before, expect=1)
        assert "sig-wrong" in result.errors and not written
    with Host(old, old) as host:
        assert refresh(host, old, "--key", before)[1] == old
        assert not refresh(host, old, "--key", after, expect=1)[1]
    deaf = socket.create_server(("127.0.0.1", 0))  # takes the call and never answers
    result = repo("refresh", "--from", f"http://127.0.0.1:{deaf.getsockname()[1]}", "--seconds", "1", "-", stdin=old,
                  expect=3)
    assert ": limit-time: " in result.errors and not result.out, result
    deaf.close()
    with Host(old, new) as host:
        assert repo("refresh", "--from", host.url, "-", stdin=old).out == new
    with Host(old, new, ("getLatestCommit",)) as host:
        result, written = refresh(host, old, expect=1)
        assert not written
    repo("refresh", "-", stdin=old, expect=2)


def lines_around(command, data, upto):
    """(what is printed when no more than data[:upto] is in, all that is printed)."""
    process = subprocess.Popen([fr.FRESHET, "repo", *command], bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(data[:upto])
    came, _, _ = select.select([process.stdout], [], [], 60)
    first = process.stdout.read(1 << 16) if came else b""
    rest, _ = process.communicate(data[upto:])
    assert process.returncode == 0, command
    return first, first + rest


def test_a_stream_is_listed_as_it_comes():
    """A record is told when it is in: no byte after it is waited for."""
    car = pack(lines(records(random.Random(fr.seed()), 6000)))
    path = fr.scratch("whole.car")
    path.write_bytes(car)
    for options in ([], ["--collection", "app.bsky.feed.like"], ["--keys"]):
        whole = repo("ls", *options, path).out
        key = whole.decode().split()[0]
        _, cid, size = next(row for row in listing(car) if row[0] == key)
        block = firehose.varint(36 + int(size)) + atproto.cid_bytes(cid)
        first, out = lines_around(["ls", *options, "-"], car, car.index(block) + len(block) + int(size))
        assert first and out == whole, options


def test_time_for_what_is_printed():
    """--seconds hold for a whole file, also where a reader that sleeps is what takes the time."""
    path = fr.scratch("whole.car")
    path.write_bytes(pack(lines(records(random.Random(fr.seed()), 6000))))
    for words in (["ls"], ["ls", "--reverse"], ["ls", "--collection", "app.bsky.feed.like"], ["unpack", "--ndjson"]):
        whole = repo(*words, path).out
        process = subprocess.Popen([fr.FRESHET, "repo", *words, "--seconds", "1", str(path)], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        assert select.select([process.stdout], [], [], fr.PATIENCE_S)[0]
        time.sleep(1.2)  # from the first line on, which is longer than it has in all
        out, err = process.communicate(timeout=fr.PATIENCE_S)
        assert process.returncode == 3 and b": limit-time: " in err, (words, err)
        assert len(whole) > 1 << 17 and len(out) < len(whole) and whole.startswith(out), words


def test_json():
    made = records(random.Random(fr.seed()), 40)
    path, out = fr.scratch("in.car"), fr.scratch("out.car")
    path.write_bytes(pack(lines(made), "--sign-key", SECRET))
    rows = [row.split("\t") for row in repo("ls", path).text.splitlines()]
    found = [json.loads(row) for row in repo("ls", "--json", path).text.splitlines()]
    assert found == [{"key": key, "cid": cid, "bytes": int(size)} for key, cid, size in rows]
    assert [json.loads(row) for row in repo("ls", "--json", "--keys", "-", stdin=path.read_bytes()).text.splitlines()] \
        == [{"key": key} for key, _, _ in rows]
    assert json.loads(repo("ls", "--json", "--count", path).text) == {"file": str(path), "records": len(rows)}
    told = repo("prove", "--json", rows[0][0], path)
    assert told.out == repo("prove", rows[0][0], path).out and json.loads(told.err)["bytes"] == len(told.out)
    told = repo("pack", "--json", path)
    assert told.out == repo("pack", path).out and json.loads(told.err)["bytes"] == len(told.out)
    for key in (rows[0][0], rows[0][0] + "0"):
        proof = json.loads(repo("prove", "--json", "--out", out, key, path).text)
        assert proof.pop("bytes") == out.stat().st_size == len(repo("prove", key, path).out)
        assert proof == json.loads(repo("verify-proof", "--json", key, out).text)
    commit = json.loads(repo("commit", "--json", path).text)
    for order in ("streamable", "pds"):
        told = json.loads(repo("pack", "--json", "--order", order, "--out", out, path).text)
        assert told == {"file": str(path), "out": str(out), "did": DID, "rev": commit["rev"], "commit": commit["cid"],
                        "data": commit["data"], "signature": "kept", "order": order, "bytes": out.stat().st_size}
        assert out.read_bytes() == repo("pack", "--order", order, "-", stdin=path.read_bytes()).out
    told = json.loads(repo("pack", "--json", "--sign-key", SECRET, "--out", out, "-", stdin=lines(made)).text)
    assert told["signature"] == "made" and told["data"] == commit["data"], told
    broken = path.read_bytes()[:-1]
    assert not repo("pack", "-", stdin=broken, expect=1).out
    before = out.read_bytes()
    repo("pack", "--out", out, "-", stdin=broken, expect=1)
    assert out.read_bytes() == before and not out.with_name(out.name + ".tmp").exists()


def wait_for(path):
    end = time.monotonic() + fr.PATIENCE_S
    while not path.exists():
        assert time.monotonic() < end, path
        time.sleep(0.01)


def test_an_end_before_the_end_leaves_nothing():
    """Signals, a clock that has run out, no room: nothing stays beside OUT, and OUT is as it was."""
    car = pack(lines(records(random.Random(fr.seed()), 40)), "--sign-key", SECRET)
    out = fr.scratch("out.car")
    out.parent.mkdir(exist_ok=True)
    out.write_bytes(b"before")
    for data in (b"", b"\n", car[:-1], lines({"a.b.c/d": {}})):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process = subprocess.Popen([fr.FRESHET, "repo", "pack", "--out", str(out), "-"], stdin=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL)
            process.stdin.write(data)
            process.stdin.flush()
            wait_for(out.with_name(out.name + ".tmp"))
            process.send_signal(number)
            assert process.wait(fr.PATIENCE_S) == -number
            process.stdin.close()
            assert out.read_bytes() == b"before" and not out.with_name(out.name + ".tmp").exists()
        silent = subprocess.Popen([fr.FRESHET, "repo", "pack", "--seconds", "1", "--out", str(out), "-"],
                                  stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        silent.stdin.write(data)
        silent.stdin.flush()
        assert silent.wait(fr.PATIENCE_S) == 3 and b"limit-time" in silent.stderr.read()
        silent.stdin.close()
        silent.stderr.close()
        assert out.read_bytes() == b"before" and not out.with_name(out.name + ".tmp").exists()


def test_output_that_is_no_file():
    car = pack(lines(records(random.Random(fr.seed()), 40)), "--sign-key", SECRET)
    pipe = fr.scratch("pipe")
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE)
    repo("pack", "--out", pipe, "-", stdin=car)
    assert reader.communicate(timeout=fr.PATIENCE_S)[0] == car and pipe.is_fifo()
    for device, code in (("/dev/null", 0), ("/dev/full", 4)):
        link = fr.scratch("device")
        link.symlink_to(device)
        repo("pack", "--out", link, "-", stdin=car, expect=code)
        assert link.is_symlink() and not link.with_name(link.name + ".tmp").exists()
    assert "directory" in repo("pack", "--out", pipe.parent, "-", stdin=car, expect=4).errors


def test_what_a_careless_user_does():
    made = records(random.Random(fr.seed()), 40)
    path, empty = fr.scratch("in.car"), fr.scratch("empty")
    path.write_bytes(pack(lines(made), "--sign-key", SECRET))
    empty.mkdir()
    key = next(iter(made))
    # Standard output that is full is no fault of the input.
    for words in (["ls"], ["ls", "--count"], ["check"], ["check", "--json"], ["commit"], ["get", key], ["prove", key],
                  ["stat"], ["order"], ["explain", key], ["unpack", "--ndjson"], ["pack"], ["--help"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run([fr.FRESHET, "repo", *words, str(path)], stdout=full, stderr=subprocess.PIPE)
        assert done.returncode == 4 and b"standard output" in done.stderr, (words, done)
        assert b"in.car" not in done.stderr, (words, done)
    # Nothing to pack is no repository, unless that was meant.
    assert "pack-input" in repo("pack", empty, expect=1).errors and "pack-input" in repo("pack", "-", expect=1).errors
    assert repo("pack", "--bare", "-").out and facts(repo("pack", "--did", DID, "-").out)["records"] == 0
    for most in ("0", "1", "4096M", "17179869183G", str(2**64 - 1)):
        assert repo("ls", "--count", "--mem", most, "--disk", "4096M", path).text == f"{len(made)}\n"
    for wrong in ("-1", "1.5M", "", "M", "17179869184G", str(2**64)):
        repo("ls", "--mem", wrong, path, expect=2)


def test_options_of_other_verbs():
    """A verb takes its own options and those of all, helps with no other, and refuses these: they would do nothing."""
    common = ["--level=lazy", "--key=did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme", f"--did={DID}",
              "--mem=16M", "--disk=1G", "--spill-dir=/tmp", "--on-limit=spill", "--seconds=9", "--limit=blocks=9",
              "--partial", "--any-key", "--json", "--now=clock"]
    own = {"--collection=a.b.c": ["ls", "unpack", "pack"], "--count": ["ls"], "--keys": ["ls"],
           "--reverse": ["ls", "unpack"], "--raw": ["get"], "--out=/nowhere/x": ["prove", "pack", "refresh"],
           "--ndjson": ["unpack", "pack"], "--rev=3kaaaaaaaaaa2": ["pack"], "--order=pds": ["pack", "refresh"],
           f"--sign-key={SECRET}": ["pack"], "--all": ["check"], "--from=http://x": ["refresh"],
           "--did-docs=x": ["frames"], "--report": ["frames"]}
    for verb in ("ls", "check", "commit", "get", "prove", "verify-proof", "stat", "order", "explain", "diff", "unpack",
                 "pack", "refresh", "frames"):
        told = repo(verb, *common, "--help").text
        assert "--bare" in told and repo(verb, "--bare", "--help").text == told
        for option, verbs in own.items():
            result = repo(verb, option, "--help", expect=0 if verb in verbs else 2)
            name = option.split("=")[0]
            assert (name + "=" in told or name + " " in told) == (verb in verbs), (verb, option)
            assert verb in verbs or name in result.errors, (verb, option, result)  # of --reverse --rev is short


def test_options_that_would_do_nothing():
    """Frames are judged in full; the limits of pack hold for what it makes as for what it reads."""
    for option in ("--level=lazy", "--bare", "--partial", "--any-key", "--limit=blocks=1", "--limit=key=9"):
        told = repo("frames", option, "-", expect=2)
        assert not told.out and option.split("=")[0] in told.errors, told
    repo("frames", "--level=full", "--mem=16M", "--report", "-")
    for words in (["ls", "--limit=block=9M"], ["pack", "--limit=key=1025", "--any-key"],
                  ["check", "--limit=block=4M", "--mem=8M"], ["ls", "--limit=header=4G"],
                  ["diff", "-", "--limit=bytes=65G"]):
        assert " most" in repo(*words, "-", expect=2).errors, words  # it would have been cut down in silence
    assert repo("ls", "--limit=block=4M", "-", stdin=pack(line("a.b.c/d", {}))).out
    data = lines(records(random.Random(fr.seed()), 40))
    car = pack(data)
    for made in (data, car):  # a quarter of memory, of which writing takes a part
        for words in (["--limit=block=4M"], ["--limit=block=8M", "--mem=32M"]):
            assert listing(repo("pack", *words, "-", stdin=made).out) == listing(car), words
    for limit in ("blocks=9", "bytes=999", "block=20", "node-entries=1"):
        for made in (data, car):
            assert ": limit-" in repo("pack", "--limit", limit, "-", stdin=made, expect=3).errors, limit


def test_a_header_under_the_largest_limit():
    """More roots than a page of a pipe holds."""
    car = pack(line("a.b.c/d", {}))
    root, count = car[9:50], 5000
    assert root[:5] == b"\xd8\x2a\x58\x25\x00"
    header = b"\xa2\x65roots\x99" + count.to_bytes(2, "big") + root * count + b"\x67version\x01"
    car = firehose.varint(len(header)) + header + car[59:]
    for limit in ("1M", str(2**32 - 1)):
        told = repo("check", "--limit", f"header={limit}", "-", stdin=car).text
        assert told.startswith("-: ok: 1 records"), (limit, told)
    assert ": limit-" in repo("check", "--limit", "header=100K", "-", stdin=car, expect=3).text


def test_unpack_that_cannot_write():
    """It is the folder that is told, and no fault of the input."""
    path = fr.scratch("in.car")
    path.write_bytes(pack(line("a.b.c/d", {})))
    file = fr.scratch("file")
    file.write_bytes(b"")
    for folder, code in (("/proc/nowhere", 4), (file / "x", 4), (file, 2), ("/proc", 2)):
        told = repo("unpack", path, folder, expect=code).errors
        assert str(folder) in told and str(path) not in told, told


def test_help():
    for verb in ("explain", "refresh", "pack"):
        assert repo(verb, "--help").out
        assert repo(verb, expect=2).err


if __name__ == "__main__":
    fr.need_command()
    fr.main(sys.modules[__name__])

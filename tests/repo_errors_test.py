#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""How `freshet repo` tells what is wrong: every fault, its place and key, on one line that a terminal may show."""
import base64
import hashlib
import json
import random
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))
import atproto  # noqa: E402
import freshet as fr  # noqa: E402
from repos import DID, SECRET, facts, line, lines, listing, pack, records, repo, sections  # noqa: E402


# ---- every fault -----------------------------------------------------------------------------------------------------

def all_faults(car, *options, expect=1):
    found = json.loads(repo("check", "--all", "--json", *options, "-", stdin=car, expect=expect).text)
    lines = repo("check", "--all", *options, "-", stdin=car, expect=expect).text.splitlines()
    assert found["fault_count"] == len(found["faults"]) and (expect == 0 or len(lines) == len(found["faults"]))
    for row, fault in zip(lines, found["faults"]):
        assert row.startswith(f"-: offset {fault['offset']}: {fault['code']}: "), row
    return found["faults"]


def test_every_fault():
    dice = random.Random(fr.seed())
    made = {key: {**record, "n": n} for n, (key, record) in enumerate(records(dice, 150).items())}
    car = pack(lines(made), "--sign-key", SECRET)
    assert all_faults(car, expect=0) == []
    parts = sections(car)
    cids = {row[1]: row[0] for row in listing(car)}
    places, at = {}, 59
    for cid, part in parts.items():
        places[cid] = at
        at += len(part)
    # Records of which a bit is flipped: each at its section, and each is then absent where its key is.
    bad = sorted(dice.sample(sorted(cids), 4), key=places.get)
    spoiled = bytearray(car)
    for cid in bad:
        spoiled[places[cid] + len(parts[cid]) - 1] ^= 1
    found = all_faults(bytes(spoiled))
    assert [(f["code"], f["offset"]) for f in found[:4]] == [("car-hash", places[cid]) for cid in bad], found
    assert {f["key"] for f in found[4:]} == {cids[cid] for cid in bad} and len(found) == 8
    assert {f["code"] for f in found[4:]} == {"tree-missing-record"}
    # Nodes that are absent: each is told, and the walk goes on behind each.
    commit = facts(car)["commit_cid"]
    root = facts(car)["commit"]["data"]
    nodes = [cid for cid in parts if cid not in cids and cid not in (commit, root)]
    low = [cid for cid in nodes if not any(atproto.cid_bytes(other) in parts[cid] for other in nodes if other != cid)]
    gone = dice.sample(low, 3)
    found = all_faults(car[:59] + b"".join(part for cid, part in parts.items() if cid not in gone))
    missing = [f["cid"] for f in found if f["code"] == "tree-missing-node"]
    assert sorted(missing) == sorted(gone), (missing, gone)
    # Keys that are none are all told, and what is below the nodes they stand in is read.
    odd = {key[:20] + f" {n}": {"n": n} for n, key in enumerate(dice.sample(sorted(made), 40))}
    mixed = pack(b"".join(line(key, record) for key, record in sorted({**made, **odd}.items())), "--any-key")
    kept = {cid: part for cid, part in sections(mixed).items() if cid not in bad}
    for options, codes in (([], ["key-syntax", "tree-missing-record"]), (["--any-key"], ["tree-missing-record"])):
        found = all_faults(mixed[:59] + b"".join(kept.values()), *options)
        wanted = {"key-syntax": sorted(odd),
                  "tree-missing-record": sorted(cids[cid] for cid in bad)}
        assert [sorted(f["key"] for f in found if f["code"] == code) for code in codes] == \
            [wanted[code] for code in codes] and len(found) == sum(len(wanted[code]) for code in codes), found
    # Another key and another account are two faults more; a section of an unknown kind does not end it.
    key = "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme"
    strange = car + b"\x25\x01\x71\x13\x20" + bytes(33) + parts[bad[0]][:-1] + b"\0"
    found = [f["code"] for f in all_faults(strange, "--key", key, "--did", "did:plc:aaaa")]
    assert found == ["car-cid", "car-hash", "commit-did-mismatch", "sig-wrong"], found
    assert [f["code"] for f in all_faults(car[:-1])][:1] == ["car-section-length"]
    assert [f["code"] for f in all_faults(b"")] == ["car-empty"]
    # Under any limit and from a file as from a pipe; where the input is not all there, only why.
    path = fr.scratch("spoiled.car")
    path.write_bytes(spoiled)
    told = repo("check", "--all", path, expect=1).text
    for limit in ("16M", "30K", "1K"):
        piped = repo("check", "--all", "--mem", limit, "-", stdin=bytes(spoiled), expect=1)
        assert piped.text == told.replace(str(path), "-"), (limit, piped)
    for limits in (["--mem", "20K", "--on-limit", "refuse"], ["--limit", "blocks=5"]):
        told = repo("check", "--all", *limits, "-", stdin=car, expect=3).text.splitlines()
        assert len(told) == 1 and ": limit-" in told[0], told
        found = json.loads(repo("check", "--all", "--json", *limits, "-", stdin=car, expect=3).text)
        (fault,) = found["faults"]
        assert found["fault_count"] == 1 and fault["code"] == found["code"] and fault["offset"] == found["offset"]
    for words in (["check", "--all"], ["check", "--all", "--json"], ["refresh", "--from", "http://127.0.0.1:1"]):
        silent = subprocess.Popen([fr.FRESHET, "repo", *words, "--seconds", "1", "-"], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        silent.stdin.write(car[:-1])
        silent.stdin.flush()
        assert silent.wait(fr.PATIENCE_S) == 3 and b"limit-time" in silent.stdout.read(), words
        silent.stdin.close()
        silent.stdout.close()
    # More than are told.
    found = json.loads(repo("check", "--all", "--json", "-", expect=1,
                            stdin=car[:59] + (b"\x25\x01\x71\x13\x20" + bytes(33)) * 1500).text)
    assert found["fault_count"] == 1501 and len(found["faults"]) == 1000


def test_a_refused_pipe_is_told_as_its_file():
    """Member by member, however little memory there is; what is not read to its end for a limit says so, and tells
    nothing that it cannot know."""
    dice = random.Random(fr.seed())
    made = {key: {**record, "n": n} for n, (key, record) in enumerate(records(dice, 1200).items())}
    car = pack(lines(made), "--order", dice.choice(["pds", "streamable", "cid-sorted"]))
    path = fr.scratch("spoiled.car")
    starts, at = [], 59
    for part in sections(car).values():
        starts.append(at)
        at += len(part)
    for kind in ["flip"] * 6 + ["cut"] * 2 + ["drop"] * 2 + ["twice", "header", "tail"]:
        where, spoiled = dice.randrange(100, len(car)), bytearray(car)
        if kind == "flip":
            spoiled[where] ^= 1 << dice.randrange(8)
        elif kind == "cut":
            del spoiled[where:]
        elif kind == "drop":
            i = dice.randrange(len(starts) - 1)
            del spoiled[starts[i]:starts[i + 1]]
        elif kind == "twice":
            spoiled += spoiled[starts[-1]:]
        elif kind == "header":
            spoiled[dice.randrange(59)] ^= 0x10
        else:
            spoiled += b"\x05tail"
        path.write_bytes(spoiled)
        whole = json.loads(repo("check", "--json", path, expect=None).text)
        assert whole["bytes"] == len(spoiled) and "whole" not in whole
        for limit in ("16M", "300K", "1K"):
            piped = repo("check", "--json", "--mem", limit, "-", stdin=bytes(spoiled), expect=None)
            found = json.loads(piped.text)
            assert {**found, "file": str(path)} == whole, (kind, where, limit, found, whole)
        for limits in (["--mem", "100K", "--on-limit", "refuse"], ["--mem", "40K", "--disk", "100K"]):
            found = json.loads(repo("check", "--json", *limits, "-", stdin=bytes(spoiled), expect=None).text)
            if found.get("whole", True):
                assert {**found, "file": str(path)} == whole
                continue
            assert found["whole"] is False and found["strict"] == "reject" and "blocks" not in found, found
            assert found["offset"] <= found["bytes"] <= len(spoiled), found
            assert found["blocks_read"] == len(sections(bytes(spoiled[:found["offset"]]))), (kind, where, found)
            assert found["verdict"] == "limit" or found["offset"] == whole["offset"], (found, whole)
    # A refused pipe that stays open is read on, but not longer than --seconds.
    silent = subprocess.Popen([fr.FRESHET, "repo", "check", "--json", "--seconds", "1", "-"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
    silent.stdin.write(b"\0nonsense")
    silent.stdin.flush()
    assert silent.wait(fr.PATIENCE_S) == 1
    found = json.loads(silent.stdout.read())
    assert (found["code"][:4], found["bytes"], found["whole"], found["blocks_read"]) == ("car-", 9, False, 0), found
    silent.stdin.close()
    silent.stdout.close()


# ---- what reaches a terminal -----------------------------------------------------------------------------------------

def test_nothing_raw_reaches_a_terminal():
    keys = ["a\x1b[2J", "b\x07\x08", "c\u202eevil", "d\u0085", "e\x7f", "f\r\n"]
    data = b"".join(json.dumps({"uri": key, "value": {}}).encode() + b"\n" for key in keys)
    car = pack(data, "--any-key")
    for verb in ("ls", "stat", "check", "explain"):
        words = [keys[0], "-"] if verb == "explain" else ["-"]
        result = repo(verb, "--any-key", "--bare", *words, stdin=car)
        assert all(byte in b"\t\n" or 32 <= byte < 127 for byte in result.out + result.err), (verb, result.out)
        if verb not in ("ls",):
            result = repo(verb, "--any-key", "--bare", "--json", *words, stdin=car)
            json.loads(result.text)
            assert all(c == "\n" or not unicodedata.category(c) == "Cc" for c in result.text), (verb, result.out)
    told = {"text": "\x1b]0;\x07\x7f\u0085\u009b2J\u200e\u2028\u202e\u2066\u20ac"}
    of_record = pack(line("a.b.c/d", told))
    for words in (["get", "a.b.c/d", "-"], ["unpack", "--ndjson", "-"]):
        result = repo(*words, stdin=of_record)
        assert not any(c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Zl") for c in result.text), result.out
        assert told in (json.loads(result.text), json.loads(result.text).get("value"))
    refused = repo("check", "--bare", "-", stdin=car, expect=1)
    assert all(byte in b"\t\n" or 32 <= byte < 127 for byte in refused.out + refused.err), refused.out


def test_no_name_of_a_file_reaches_a_terminal_raw():
    """Names and values of options are made safe as keys are, so that an error stays on its line."""
    def safe(*words, expect, lines=1):
        result = repo(*words, expect=expect)
        text = result.out + result.err
        assert all(byte == 10 or 32 <= byte < 127 for byte in text) and text.count(b"\n") == lines, (words, result)
        assert b"\\x1b[31m" in text, (words, result)

    name, folder = "\x1b[31mx\ny\u202e\\.car", fr.scratch("names")
    folder.mkdir()
    (folder / name).write_bytes(pack(line("a.b.c/d", {}), "--sign-key", SECRET))
    (folder / ("bad" + name)).write_bytes(b"\0bad")
    safe("check", folder / name, expect=0)
    safe("get", "a.b.c/none", folder / name, expect=1)
    for words in (["check"], ["check", "--all"], ["ls"], ["get", "a.b.c/d"], ["pack"], ["stat"]):
        safe(*words, folder / ("bad" + name), expect=1)
        safe(*words, folder / ("no" + name), expect=4)
    safe("frames", folder / ("bad" + name), expect=1)
    safe("pack", "--out", folder / "no\x1b[31m" / "x", folder / name, expect=4)
    unpacked = fr.scratch("unpacked\x1b[31m")
    repo("unpack", folder / name, unpacked)
    safe("unpack", folder / name, unpacked, expect=2)
    (unpacked / "a.b.c" / "x.json").write_text("[")
    safe("pack", unpacked, expect=1)
    assert json.loads(repo("check", "--json", folder / name).text)["file"] == str(folder / name)
    bad = "\x1b[31m\n"
    for option in ("level", "key", "did", "mem", "on-limit", "seconds", "limit", "now"):
        safe("check", f"--{option}={bad}", folder / name, expect=2, lines=3)  # and where the help is
    for option in ("rev", "order"):
        safe("pack", f"--{option}={bad}", folder / name, expect=2, lines=3)


def test_a_fault_names_its_key():
    """The key that is wrong, made safe, and the block it is in: by every verb alike, of a pipe and of a file."""
    bad = "app.bsky.feed.post/b \x1b[2J\\"
    keys = ["app.bsky.feed.post/a", bad, "app.bsky.feed.post/c"]
    path = fr.scratch("bad.car")
    path.write_bytes(pack(b"".join(line(key, {"n": n}) for n, key in enumerate(keys)), "--any-key", "--did", DID))
    node = json.loads(repo("explain", "--json", "--any-key", bad, str(path)).text)["path"][-1]
    end = f"(app.bsky.feed.post/b\\x20\\x1b[2J\\x5c, {node['cid']})"
    for words in (["ls"], ["ls", "--reverse"], ["check"], ["check", "--all"], ["stat"]):
        for name in (str(path), "-"):
            result = repo(*words, name, stdin=path.read_bytes(), expect=1)
            told = (result.out + result.err).decode().splitlines()[-1]
            assert ": key-syntax: " in told and told.endswith(end), (words, told)
    # Of a record, the same: absent, and of no use.
    record = next(row for row in listing(pack(line(keys[0], {"n": 1}))) if row[0] == keys[0])
    car = pack(line(keys[0], {"n": 1}))
    without = b"".join(part for cid, part in sections(car).items() if cid != record[1])
    path.write_bytes(car[:59] + without)
    (told,) = {tuple(re.findall(r": offset (\d+): (.*) \((.*)\)$", (result.out + result.err).decode().rstrip("\n"))[0])
               for words in (["check"], ["ls"], ["ls", "--reverse"], ["ls", "--count"], ["ls", "--keys", "--reverse"],
                             ["ls", "--collection", "app.bsky.feed.post"], ["unpack", "--ndjson"], ["stat"], ["order"],
                             ["pack"], ["pack", "--order", "pds"], ["get", keys[0]])
               for name in (str(path), "-") for result in [repo(*words, name, stdin=path.read_bytes(), expect=1)]}
    assert told[1].startswith("tree-missing-record: ") and told[2].startswith(f"{keys[0]}, bafyrei"), told
    # Of a node: the key that the link to it stands behind, or before at the start of a node.
    whole = pack(lines(records(random.Random(fr.seed()), 150)), "--order", "streamable")
    parts, cids = sections(whole), {row[1] for row in listing(whole)}
    links = [cid for cid in parts if cid not in cids][2:]
    for gone in random.Random(fr.seed()).sample(links, 4):
        path.write_bytes(whole[:59] + b"".join(part for cid, part in parts.items() if cid != gone))
        places = {tuple(re.findall(r": offset (\d+): tree-missing-node: .* \((.*)\)$", result.errors.rstrip("\n"))[0])
                  for words in (["ls"], ["ls", "--reverse"], ["ls", "--count"], ["unpack", "--ndjson"], ["stat"],
                                ["order"], ["pack"], ["pack", "--order", "pds"])
                  for result in [repo(*words, path, expect=1)]}
        above = next(part for part in parts.values() if atproto.cid_bytes(gone) in part)
        key = "" if b"\xa2\x61e\x80" in above else r"app\.bsky\.\S+, "  # a node may have no entries, but its link
        assert len(places) == 1 and re.fullmatch(rf"{key}bafyrei\w+", places.copy().pop()[1]), places
    path.write_bytes(car[:59] + without)
    for words in (["ls", "--count"], ["ls", "--keys", "--reverse"]):  # that look for no record
        assert repo(*words, "--level", "lazy", path).text == ("1\n" if "--count" in words else f"{keys[0]}\n")
    told = repo("check", "-", stdin=pack(line(keys[0], {"$bytes": "AA"})), expect=5).text
    assert ": record-" in told and f"({keys[0]}, bafyrei" in told, told


def test_a_block_that_is_cut_is_named_itself():
    """The place of such a fault is the block's end, where the next section begins."""
    for cut in (b"", b"\xa1", b"\xa1\x61n\x18"):
        rows = [line("a.b.c/k1", {"n": 1}), line("a.b.c/k2", {"$bytes": base64.b64encode(cut).decode()}),
                line("a.b.c/k3", {"n": 3})]
        car = pack(b"".join(rows), "--order", "streamable")
        path = fr.scratch("cut.car")
        path.write_bytes(car)
        cids = {key: cid for key, cid, _ in listing(car)}
        assert list(sections(car))[-2:] == [cids["a.b.c/k2"], cids["a.b.c/k3"]], cut
        for name in (path, "-"):
            for words in (["get", "a.b.c/k2"], ["check"], ["check", "--all"]):
                told = repo(*words, name, stdin=car, expect=5)
                text = told.errors if words[0] == "get" else told.text
                assert ": record-cbor: " in text and text.endswith(f"(a.b.c/k2, {cids['a.b.c/k2']})\n"), (words, told)
    # Nor is a raw block, under foreign keys, though its bytes be CBOR.
    for body in (b"hello raw", b"\xa0"):
        cid = atproto.cid_text(b"\x01\x55\x12\x20" + hashlib.sha256(body).digest())
        row = {"uri": "a.b.c/k", "cid": cid, "value": {"$bytes": base64.b64encode(body).decode()}}
        told = repo("get", "--any-key", "--bare", "a.b.c/k", "-", stdin=pack(json.dumps(row).encode(), "--any-key"))
        assert json.loads(told.text) == {"$bytes": base64.b64encode(body).decode().rstrip("=")}, told
    # A body with a JSON form of another body, or of none that a record may have, is not printed as one.
    for body in (b"\xa2\x61a\x01\x61a\x02", b"\xa2\x61b\x01\x61a\x02", b"\x83\x01\x02\x03"):
        car = pack(line("a.b.c/k", {"$bytes": base64.b64encode(body).decode()}))
        for words in (["get", "a.b.c/k"], ["check"]):
            told = repo(*words, "-", stdin=car, expect=5)
            assert b": record-" in told.out + told.err, told
        assert repo("get", "--raw", "a.b.c/k", "-", stdin=car).out == body
    # A node and a commit in the same way: the hash is of what is there.
    for cut, code in ((b"", "commit-shape"), (b"\xa5", "commit-shape")):
        root = b"\x01\x71\x12\x20" + hashlib.sha256(cut).digest()
        header = b"\xa2\x65roots\x81\xd8\x2a\x58\x25\x00" + root + b"\x67version\x01"
        other = next(iter(sections(car).values()))
        made = bytes([len(header)]) + header + bytes([len(root) + len(cut)]) + root + cut + other
        told = repo("commit", "-", stdin=made, expect=1).errors
        assert f": {code}: " in told and told.endswith(f"({next(iter(sections(made)))})\n"), told


def test_a_fault_on_the_way_to_a_key_names_it():
    """What get, prove, explain and verify-proof look for, and the block in which the way ends; of a pipe and of a file
    the same, within a limit as well."""
    dice = random.Random(fr.seed())
    made = {key: {**record, "n": n} for n, (key, record) in enumerate(records(dice, 300).items())}
    car = pack(lines(made), "--sign-key", SECRET)
    key, cid, _ = dice.choice(listing(car))
    proof = repo("prove", key, "-", stdin=car).out
    path = json.loads(repo("explain", "--json", key, "-", stdin=car).text)["path"]
    commit = facts(car)["commit_cid"]
    named = [commit] + [node["cid"] for node in path]  # each by the one before
    for i, gone in [(len(named), cid)] + list(enumerate(named))[1:]:
        kind = "record" if gone == cid else "node"
        without = proof[:59] + b"".join(part for name, part in sections(proof).items() if name != gone)
        file = fr.scratch("proof.car")
        file.write_bytes(without)
        for verb in ("verify-proof", "get", "prove", "explain")[:3 if gone == cid else 4]:
            told = repo(verb, key, file, expect=1).errors
            assert f": tree-missing-{kind}: " in told and told.endswith(f"({key}, {named[i - 1]})\n"), (verb, told)
            piped = repo(verb, "--mem", "1K", key, "-", stdin=without, expect=1).errors
            assert piped == told.replace(str(file), "-", 1), (piped, told)
    spoiled = bytearray(proof)
    spoiled[-1] ^= 1
    told = repo("verify-proof", key, "-", stdin=bytes(spoiled), expect=1).errors
    assert ": car-hash: " in told and told.endswith(f"({list(sections(proof))[-1]})\n"), told
    # It takes the limits of all verbs, and a pipe that stays open is no reason to wait for ever.
    assert "limit-memory" in repo("verify-proof", "--mem", "1K", "--on-limit", "refuse", key, "-", stdin=proof,
                                  expect=3).errors
    silent = subprocess.Popen([fr.FRESHET, "repo", "verify-proof", "--seconds", "1", key, "-"], stdin=subprocess.PIPE,
                              stderr=subprocess.PIPE)
    silent.stdin.write(proof[:-1])
    silent.stdin.flush()
    assert silent.wait(fr.PATIENCE_S) == 3 and b"limit-time" in silent.stderr.read()
    silent.stdin.close()
    silent.stderr.close()
    repo("verify-proof", key, "/nowhere.car", expect=4)
    repo("verify-proof", key, "-", expect=1)


# ---- what cannot be read ---------------------------------------------------------------------------------------------

def test_a_file_that_cannot_be_read():
    """Every verb tells it in the shape of other faults, with the code io and exit 4; check in its line or object."""
    path, out = fr.scratch("in.car"), fr.scratch("out")
    path.write_bytes(pack(line("a.b.c/d", {}), "--sign-key", SECRET))
    for at, why in (("/nowhere.car", "open: No such file or directory"), (path.parent, "Is a directory"),
                    (path / "x", "open: Not a directory")):
        for words in (["ls"], ["ls", "--reverse"], ["commit"], ["get", "a.b.c/d"], ["prove", "a.b.c/d"], ["stat"],
                      ["verify-proof", "a.b.c/d"], ["order"], ["explain", "a.b.c/d"], ["diff", path], ["frames"],
                      ["unpack", "--ndjson"], ["pack"], ["refresh", "--from", "http://127.0.0.1:1"], ["check"],
                      ["check", "--all"], ["ls", "--json"], ["commit", "--json"]):
            if words == ["pack"] and at == path.parent:
                continue  # a folder
            told = repo(*words, at, expect=4)
            text = told.text if words[0] == "check" else told.errors
            assert text.startswith(f"{at}: offset 0: io: os: ") and text.endswith(f"{why}\n"), (words, told)
            assert text.count("\n") == 1 and len(told.out + told.err) == len(text), (words, told)
        for words in (["check", "--json"], ["check", "--json", "--all"]):
            first, found, last = map(json.loads, repo(*words, path, at, path, expect=4).text.splitlines())
            assert first == last and first["verdict"] == "ok", first
            (reason,) = found.pop("reasons")
            assert reason.endswith(why), reason
            for fault in found.pop("faults", []):
                assert fault["code"] == "io" and found.pop("fault_count") == 1, fault
            assert found == {"file": str(at), "bytes": 0, "whole": False, "blocks_read": 0, "strict": "reject",
                             "verdict": "reject", "code": "io", "offset": 0, "level": "full",
                             "signature": "unchecked"}, found
    told = repo("pack", "--out", out, "/nowhere.car", expect=4).errors
    assert told.startswith("/nowhere.car: offset 0: io: ") and not out.exists(), told
    told = repo("diff", "/nowhere.car", path, expect=4).errors
    assert told.startswith("/nowhere.car: offset 0: io: "), told


if __name__ == "__main__":
    fr.need_command()
    fr.main(sys.modules[__name__])

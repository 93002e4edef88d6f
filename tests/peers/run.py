#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Generated repositories and edits, built by three implementations and judged by all three (README.md).

    run.py [--count N] [--seed S] [--first I] [--ours PROGRAM] [--keep FILE] [--sample FILE]

Peers are installed into $FR_PEERS (default: a folder in the user's cache) with npm and pip; where one of them cannot
be, the run says SKIPPED and exits 77. Exit 1: a disagreement that is not in the list of known leniencies."""
import argparse
import base64
import collections
import hashlib
import json
import os
import queue
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
NPM = ["@atproto/repo@0.10.14", "@atproto/crypto@0.4.5", "@atproto/sync@0.1.40", "@atproto/lex-cbor",
       "@atproto/lex-json", "@atproto/lex-data"]
PIP = ["atproto==0.0.73", "libipld"]
TID_ALPHABET = "234567abcdefghijklmnopqrstuvwxyz"
COLLECTIONS = ["app.bsky.feed.like", "app.bsky.feed.post", "app.bsky.feed.post.x", "app.bsky.graph.follow", "a.b.c",
               "com.example.fooBar", "app.bsky.actor.profile"]


# ---- peers -----------------------------------------------------------------------------------------------------------

def skip(why):
    print(f"SKIPPED: {why}")
    sys.exit(77)


def install():
    """The folder with node_modules and py/; what is there already is kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    folder = Path(os.environ.get("FR_PEERS", cache / "freshet-peers"))
    folder.mkdir(parents=True, exist_ok=True)
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            skip(f"{tool} is not installed")
    wanted = folder / "installed.json"
    stamp = json.dumps([NPM, PIP])
    if wanted.exists() and wanted.read_text() == stamp:
        return folder
    log = folder / "install.log"
    with open(log, "wb") as out:
        for command in (["npm", "init", "-y"], ["npm", "install", "--no-audit", "--no-fund", *NPM],
                        [sys.executable, "-m", "venv", "py"], ["py/bin/pip", "install", *PIP]):
            if subprocess.run(command, cwd=folder, stdout=out, stderr=out, check=False).returncode != 0:
                skip(f"{' '.join(command)} failed, see {log}")
    wanted.write_text(stamp)
    return folder


class Peer:
    """A process that answers a line with a line. A thread writes, so that both pipes may fill."""

    def __init__(self, name, command, folder):
        self.name = name
        self.process = subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.requests = queue.SimpleQueue()
        self.writer = threading.Thread(target=self.write, daemon=True)
        self.writer.start()

    def write(self):
        for line in iter(self.requests.get, None):
            self.process.stdin.write(line)
            self.process.stdin.flush()

    def send(self, request):
        self.requests.put(json.dumps(request).encode() + b"\n")

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with {self.process.wait()}")
        return json.loads(line)

    def close(self):
        self.requests.put(None)
        self.writer.join()
        self.process.stdin.close()
        self.process.wait()


def ask_all(peers, request):
    for peer in peers:
        peer.send(request)
    return {peer.name: peer.answer() for peer in peers}


# ---- cases -----------------------------------------------------------------------------------------------------------

def tid(rng):
    value = rng.randrange(1_400_000_000_000_000, 1_700_000_000_000_000) << 10 | rng.randrange(1024)
    return "".join(TID_ALPHABET[value >> shift & 31] for shift in range(60, -1, -5))


def rev(index):
    value = (1_700_000_000_000_000 + index) << 10
    return "".join(TID_ALPHABET[value >> shift & 31] for shift in range(60, -1, -5))


def path(rng, near):
    collection = rng.choice(COLLECTIONS)
    kind = rng.randrange(10)
    if kind < 6:
        return f"{collection}/{tid(rng)}"
    if kind < 7 and near:
        stem = rng.choice(near)
        return (stem + rng.choice("a0-_~:.zZ"))[:300]
    if kind < 8:
        return f"{collection}/" + "".join(rng.choice("aAzZ09.-_:~") for _ in range(rng.randint(1, 12))) + "x"
    if kind < 9:
        return f"{collection}/self"
    return f"{collection}/k{rng.randrange(100)}" + "x" * rng.choice([0, 1, 100, 400])


def value(rng, depth=0):
    kind = rng.randrange(11 if depth < 3 else 8)
    if kind == 0:
        return rng.choice([0, 1, -1, 23, 24, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**53 - 1, -2**53 + 1, -24, -25])
    if kind == 1:
        return rng.randrange(-10**6, 10**6)
    if kind == 2:
        return rng.choice([True, False, None])
    if kind in (3, 4):
        letters = "abc ÄöÜß…漢字🦋\u0301\u202e\n\"\\\x00\x7f"
        return "".join(rng.choice(letters) for _ in range(rng.randrange(30)))
    if kind == 5:
        return {"$bytes": base64.b64encode(rng.randbytes(rng.randrange(40))).decode().rstrip("=")}
    if kind == 6:
        cid = b"\x01" + rng.choice([b"\x71", b"\x55"]) + b"\x12\x20" + rng.randbytes(32)
        return {"$link": "b" + base64.b32encode(cid).decode().lower().rstrip("=")}
    if kind == 7:
        return ""
    if kind < 10:
        return {rng.choice(["a", "b", "aa", "ab", "é", "createdAt", "subject", "text"]): value(rng, depth + 1)
                for _ in range(rng.randrange(5))}
    return [value(rng, depth + 1) for _ in range(rng.randrange(5))]


def record(rng, where, number=-1):
    """Keys share records, within a repository and a commit; an update is always one."""
    made = {"$type": where.split("/")[0], "n": rng.randrange(40), "commit": number}
    if rng.random() < 0.7:
        made.update({f"m{i}": value(rng) for i in range(rng.randrange(5))})
    return made


def make_case(seed, index):
    rng = random.Random(f"{seed}/{index}")
    size = rng.choice([0, 1, 2, 3, 5, 8, 13, 20, 30, 45]) if rng.random() < 0.99 else rng.randrange(60, 300)
    live = []
    while len(live) < size:
        fresh = path(rng, live)
        if fresh not in live:
            live.append(fresh)
    initial = [{"path": p, "record": record(rng, p)} for p in live]
    commits = []
    for number in range(rng.choice([1, 1, 2, 3])):
        ops, used = [], set()
        for _ in range(rng.choice([1, 1, 1, 2, 3, 5, 10])):
            known = [p for p in live if p not in used]
            if known and rng.random() < 0.5:
                p = rng.choice(known)
                action = rng.choice(["update", "delete", "delete"])
            else:
                p, action = path(rng, live), "create"
                if p in live or p in used:
                    continue
            used.add(p)
            fresh = {"record": record(rng, p, number)} if action != "delete" else {}
            ops.append({"action": action, "path": p, **fresh})
        for op in ops:
            if op["action"] == "delete":
                live.remove(op["path"])
            elif op["action"] == "create":
                live.append(op["path"])
        if ops:
            commits.append({"rev": rev(number + 1), "ops": ops})
    ask = [rng.choice(live)] if live else []
    while len(ask) < 2:
        absent = path(rng, live)
        if absent not in live:
            ask.append(absent)
    curve = rng.choice(["k256", "p256"])
    did = "did:plc:" + "".join(rng.choice("abcdefghij234567") for _ in range(24))
    secret = (b"\x01" + rng.randbytes(31)).hex()
    return {"do": "build", "did": did, "curve": curve, "secret": secret, "rev": rev(0), "initial": initial,
            "commits": commits, "ask": ask}


# ---- comparing -------------------------------------------------------------------------------------------------------

class Tally:
    def __init__(self, keep):
        self.counts = collections.Counter()
        self.disagreements = 0
        self.keep = open(keep, "a", encoding="utf-8") if keep else None

    def disagree(self, **what):
        self.disagreements += 1
        line = json.dumps(what)
        if self.disagreements <= 20:
            print("DISAGREEMENT", line[:1000], flush=True)
        if self.keep:
            print(line, file=self.keep, flush=True)

    def same(self, index, what, answers):
        self.counts[f"compared: {what}"] += 1
        texts = {name: json.dumps(answer, sort_keys=True) for name, answer in answers.items()}
        if len(set(texts.values())) != 1:
            self.disagree(case=index, what=what, answers=answers)

    def expect(self, index, what, name, answer, ok):
        """A sound artefact must be taken by all; a false one by nobody. Others' leniency is counted by name."""
        self.counts[f"{'sound' if ok else 'false'}: {what}"] += 1
        if answer["ok"] == ok:
            return
        if not ok and name != "ours":
            self.counts[f"lenient: {name} takes {what}"] += 1
        else:
            self.disagree(case=index, what=what, judge=name, answer=answer)


def sorted_diff(diff):
    """Each lists nodes in an order of its own."""
    return diff and {**diff, "created": sorted(diff["created"]), "deleted": sorted(diff["deleted"])}


def compare_builds(tally, index, built):
    tally.same(index, "diff of a builder", {name: sorted_diff(answer["diff"]) for name, answer in built.items()})
    tally.same(index, "presence", {n: [p["present"] for p in a["proofs"]] for n, a in built.items()})


def drop_frames_without_record(tally, judged):
    """@atproto/repo leaves a record out of a frame when the same commit took the same bytes from another key, and
    then refuses its own frame. (Ours gives that operation a code of its own.)"""
    peer = judged["@atproto/repo"]["frames"]
    for at in [at for at, frame in enumerate(peer) if "block not found" in frame.get("error", "")][::-1]:
        tally.counts["@atproto/repo refuses its own frame for want of a record"] += 1
        for answer in judged.values():
            del answer["frames"][at]


LINK = rb"\xd8\x2aX%\x00"
TOP_WITHOUT_KEY = re.compile(rb"\x01\x71\x12\x20(.{32})(\xa2ae\x80al" + LINK + rb".{36})", re.S)


def link(name, digest):
    return bytes([0x60 + len(name)]) + name + b"\xd8\x2aX%\x00\x01\x71\x12\x20" + digest


def tops_without_key(data):
    """Digests of nodes in a frame or CAR that have no key, one subtree, and stand at the top of its commit's tree."""
    return {digest for digest, node in TOP_WITHOUT_KEY.findall(data)
            if hashlib.sha256(node).digest() == digest and link(b"data", digest) in data}


def commits_that_empty(case):
    """Numbers of the commits that take away the last key and then create one."""
    live, found = {entry["path"] for entry in case["initial"]}, set()
    for number, commit in enumerate(case["commits"]):
        emptied = False
        for op in commit["ops"]:
            if op["action"] == "create" and emptied and not live:
                found.add(number)
            (live.discard if op["action"] == "delete" else live.add)(op["path"])
            emptied = emptied or not live
    return found


def drop_frames_without_top_key(tally, case, built, judged):
    """@atproto/repo's tree remembers its layer when a commit takes away the last key: a key of a lower layer that the
    same commit creates hangs below a top node without keys then, which the protocol does not know (one set of keys, one
    root). Ours refuses that frame for it; the frame after it, whose prevData is that root, is refused by all three."""
    wrong, drop = set(), []
    emptied = commits_that_empty(case)
    for at, frame in enumerate(map(unb64, built["frames"])):
        tops = tops_without_key(frame) if at in emptied else set()
        verdicts = {name: answer["frames"][at] for name, answer in judged.items()}
        if tops and verdicts["ours"].get("error", "").startswith("node-top@"):
            tally.counts["@atproto/repo leaves a top node without a key, which ours refuses"] += 1
            drop.append(at)
        elif (any(link(b"prevData", digest) in frame for digest in wrong)
              and not any(verdict["ok"] for verdict in verdicts.values())):
            tally.counts["@atproto/repo goes on from a top node without a key, which nobody takes"] += 1
            drop.append(at)
        wrong |= tops
    for at in drop[::-1]:
        for answer in judged.values():
            del answer["frames"][at]


def compare_judgements(tally, index, builder, case, built, judged):
    if builder == "@atproto/repo":
        drop_frames_without_top_key(tally, case, built, judged)
        drop_frames_without_record(tally, judged)
    for name, answer in judged.items():
        for car in answer["cars"]:
            tally.expect(index, f"CAR of {builder}", name, car, True)
        for frame in answer["frames"]:
            tally.expect(index, f"frame of {builder}", name, frame, True)
        for proof in answer["proofs"]:
            tally.expect(index, f"proof of {builder}", name, proof, True)
        presence = [p.get("present") for p in answer["proofs"]]
        if presence != [p["present"] for p in built["proofs"]]:
            tally.disagree(case=index, what="presence", judge=name, answer=answer["proofs"])
    for what in ("cars", "frames", "proofs"):
        tally.same(index, f"{what} of {builder} as read", {name: answer[what] for name, answer in judged.items()})
    diffs = {name: sorted_diff(answer["diff"]) for name, answer in judged.items()}
    tally.same(index, f"diff of {builder}'s CARs", diffs)


# ---- false ones ------------------------------------------------------------------------------------------------------

def b64(data):
    return base64.b64encode(data).decode().rstrip("=")


def unb64(text):
    return base64.b64decode(text + "=" * (-len(text) % 4))


def flip(rng, data, start, end):
    at = rng.randrange(start, end)
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1:]


def false_ones(rng, case, built):
    """Requests with one artefact each that nobody should take: (what, request)."""
    sound = {"do": "judge", "did": case["did"], "key": case["key"], "cars": [], "frames": [], "proofs": []}
    car, frame, proofs = unb64(built["cars"][1]), unb64(rng.choice(built["frames"])), built["proofs"]
    blocks = frame.index(b"\x3a\xa2eroots")
    tail = frame.rindex(b"fcommit\xd8\x2a")  # flags that nothing binds come behind it
    yield "a CAR with a bit flipped", {**sound, "cars": [b64(flip(rng, car, 0, len(car)))]}
    yield "a CAR that is cut", {**sound, "cars": [b64(car[:rng.randrange(len(car))])]}
    yield "a CAR of another DID", {**sound, "cars": [b64(car)], "did": case["did"][:-1] + "x"}
    yield "a CAR of another key", {**sound, "cars": [b64(car)], "key": case["other_key"]}
    inside = flip(rng, frame, blocks, tail)
    yield "a frame with a bit of its blocks flipped", {**sound, "frames": [b64(inside)]}
    before = flip(rng, frame, len(frame) - 32, len(frame))
    yield "a frame with another prevData", {**sound, "frames": [b64(before)]}
    proof = rng.choice(proofs)
    data = unb64(proof["car"])
    yield "a proof with a bit flipped", {**sound, "proofs": [{**proof, "car": b64(flip(rng, data, 0, len(data)))}]}
    yield "a proof of another key", {**sound, "proofs": [proof], "key": case["other_key"]}


def record_sample(path, case, built, judged):
    """For tests/peers_sample_test.py, which has no peer: what @atproto/repo built and said, of small cases."""
    line = json.dumps({"case": case, "built": built, "judged": judged}, separators=(",", ":"))
    if len(line) < 16000:
        with open(path, "a", encoding="utf-8") as out:
            print(line, file=out)


def run_case(tally, peers, seed, index, keys, sample):
    case = make_case(seed, index)
    built = ask_all(peers, case)
    if tops_without_key(unb64(built["@atproto/repo"]["cars"][1])):
        tally.counts["@atproto/repo ends with a top node without a key"] += 1
        del built["@atproto/repo"]
    compare_builds(tally, index, built)
    case["key"], case["other_key"] = keys(case), keys({**case, "secret": "01" * 32})
    asked = [(builder, None, {"do": "judge", "did": case["did"], "key": case["key"], "cars": answer["cars"],
                              "frames": answer["frames"], "proofs": answer["proofs"]})
             for builder, answer in built.items()]
    builder = list(built)[index % len(built)]
    if built[builder]["frames"]:
        rng = random.Random(f"false/{seed}/{index}")
        every = list(false_ones(rng, case, built[builder]))
        asked += [(builder, what, request) for what, request in rng.sample(every, 2)]
    for peer in peers:
        for _, _, request in asked:
            peer.send(request)
    for builder, what, _ in asked:
        judged = {peer.name: peer.answer() for peer in peers}
        if what is None:
            compare_judgements(tally, index, builder, case, built[builder], judged)
            if sample and builder == "@atproto/repo":
                record_sample(sample, case, built[builder], judged[builder])
            continue
        for name, verdict in judged.items():
            tally.expect(index, what, name, (verdict["cars"] + verdict["frames"] + verdict["proofs"])[0], False)


def key_source(folder):
    """did:key of a secret, by the cryptography package."""
    script = """
import sys, json
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
for line in sys.stdin:
    curve, secret = line.split()
    group, codec = (ec.SECP256K1(), b"\\xe7\\x01") if curve == "k256" else (ec.SECP256R1(), b"\\x80\\x24")
    key = ec.derive_private_key(int(secret, 16), group).public_key()
    number = int.from_bytes(codec + key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint), "big")
    text = ""
    while number:
        number, digit = divmod(number, 58)
        text = ALPHABET[digit] + text
    print("did:key:z" + text, flush=True)
"""
    process = subprocess.Popen([folder / "py/bin/python", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True)

    known = {}

    def key(case):
        if (case["curve"], case["secret"]) in known:
            return known[case["curve"], case["secret"]]
        process.stdin.write(f"{case['curve']} {case['secret']}\n")
        process.stdin.flush()
        known[case["curve"], case["secret"]] = process.stdout.readline().strip()
        return known[case["curve"], case["secret"]]
    return key


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=500)
    options.add_argument("--seed", default="20260704")
    options.add_argument("--first", type=int, default=0)
    options.add_argument("--ours", default=os.environ.get("FR_PEER_OURS", "build/peer_ours"))
    options.add_argument("--keep", help="append disagreements to this file, a JSON object a line")
    options.add_argument("--sample", help="append small cases to this file (peers_sample_test.py)")
    asked = options.parse_args()
    folder = install()
    peers = [Peer("ours", [Path(asked.ours).resolve()], folder),
             Peer("@atproto/repo", ["node", HERE / "atproto_repo.mjs"], folder),
             Peer("python", [folder / "py/bin/python", "-B", HERE / "naive.py"], folder)]
    keys, tally, start = key_source(folder), Tally(asked.keep), time.monotonic()
    print(f"seed {asked.seed}, cases {asked.first} .. {asked.first + asked.count - 1}", flush=True)
    for index in range(asked.first, asked.first + asked.count):
        run_case(tally, peers, asked.seed, index, keys, asked.sample)
        if (index + 1) % 500 == 0:
            print(f"{index + 1} cases, {tally.disagreements} disagreements, {time.monotonic() - start:.0f} s",
                  flush=True)
    for peer in peers:
        peer.close()
    for what, count in sorted(tally.counts.items()):
        print(f"{count:8} {what}")
    print(f"{asked.count} cases in {time.monotonic() - start:.0f} s, {tally.disagreements} disagreements")
    return 1 if tally.disagreements else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""`freshet repo` under limits of memory: resident memory of whole processes over a repository that is larger than the
limit, from a file and from a pipe; the same listing and the same errors either way; nothing left behind by an end, an
error or kill -9; two at once in one folder. FR_REPO_CAR names a larger file to do it with."""
import hashlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FRESHET = os.environ["FRESHET"]
MIB = 1 << 20


# A process starts with the peak of the one that it is made from, so a small one makes it.
SMALL = """import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
os.write(2, b"\\npeak %d\\n" % usage.ru_maxrss)
os._exit(os.waitstatus_to_exitcode(status))"""


def run(*arguments, stdin=None, expect=0):
    """(standard output, standard error, peak resident bytes) of `freshet repo`; `stdin`: a file, given as a pipe."""
    command = [sys.executable, "-SE", "-c", SMALL, FRESHET, "repo", *map(str, arguments)]
    feed = subprocess.Popen(["cat", stdin], stdout=subprocess.PIPE) if stdin else None
    done = subprocess.run(command, stdin=feed.stdout if feed else subprocess.DEVNULL, capture_output=True)
    if feed:
        feed.stdout.close()
        feed.wait()
    err, _, peak = done.stderr.rpartition(b"\npeak ")
    assert done.returncode == expect, f"{arguments}: exit {done.returncode}, expected {expect}: {err!r}"
    return done.stdout, err, int(peak) * 1024


def main():
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        spill = top / "spill"
        spill.mkdir()
        car = os.environ.get("FR_REPO_CAR")
        if car is None:
            subprocess.run([FRESHET, "simulate", "--format", "car", "--accounts", "1", "--events", "150000", "--out",
                            top / "cars"], check=True, capture_output=True)
            car = max(top.glob("cars/**/*.car"), key=lambda p: p.stat().st_size)
        size = Path(car).stat().st_size
        base = run("ls", "--count", "--mem", "8M", "--help")[2]
        whole, _, _ = run("ls", "--mem", "4G", car)
        want = hashlib.sha256(whole).hexdigest()
        print(f"{size} bytes, {len(whole.splitlines())} records; a process that does nothing has {base >> 10} KiB")
        sanitized = bool(os.environ.get("FR_SANITIZE"))
        for limit in [8, 10, 16]:
            for source in ["file", "pipe"]:
                word, stdin = (car, None) if source == "file" else ("-", car)
                options = ["ls", "--mem", f"{limit}M", "--spill-dir", spill]
                start = time.monotonic()
                out, _, resident = run(*options, word, stdin=stdin)
                took = time.monotonic() - start
                assert hashlib.sha256(out).hexdigest() == want, f"{source}, {limit}M: another listing"
                print(f"{source}, {limit} MiB: {resident >> 10} KiB resident, {took:.2f} s")
                room = (limit + 8) * MIB
                assert sanitized or resident <= room, f"{source}, {limit}M: {resident} bytes resident"
                assert not list(spill.iterdir()), "something was left"
        # In streamable order no pipe needs a file; check is judged as it comes, too.
        ordered = top / "ordered.car"
        run("pack", "--mem", "4G", car, "--out", ordered)
        for limit in [8, 16]:
            for verb in [["ls"], ["check"], ["ls", "--count"], ["ls", "--collection", "app.bsky.feed.like"]]:
                out, _, resident = run(*verb, "--mem", f"{limit}M", "--on-limit", "refuse", "-", stdin=ordered)
                plain = run(*verb, "--mem", "4G", ordered)[0]
                assert out.split(b": ", 1)[-1] == plain.split(b": ", 1)[-1], f"{verb}, {limit}M: another answer"
                print(f"{' '.join(verb)} of a stream, {limit} MiB: {resident >> 10} KiB resident")
                assert sanitized or resident <= (limit + 8) * MIB, f"{verb}, {limit}M: {resident} bytes resident"
        # Written again, from either: block by block.
        again = top / "again.car"
        for limit in [8, 16]:
            for word, stdin in [(car, None), ("-", car)]:
                options = ["--mem", f"{limit}M", "--spill-dir", spill, "--out", again]
                _, _, resident = run("pack", *options, word, stdin=stdin)
                assert again.read_bytes() == ordered.read_bytes(), f"pack, {limit}M: other bytes"
                print(f"pack of {word}, {limit} MiB: {resident >> 10} KiB resident")
                assert sanitized or resident <= (limit + 8) * MIB, f"pack, {limit}M: {resident} bytes resident"
        # Sorted: the same bytes, whatever was sorted on disk and read out of turn.
        sorted_whole = top / "sorted.car"
        for order in ["pds", "cid-sorted"]:
            run("pack", "--mem", "4G", "--order", order, car, "--out", sorted_whole)
            for limit in [16, 1]:
                options = ["--mem", f"{limit}M", "--order", order, "--spill-dir", spill, "--out", again]
                _, _, resident = run("pack", *options, car)
                assert again.read_bytes() == sorted_whole.read_bytes(), f"pack {order}, {limit}M: other bytes"
                print(f"pack --order {order}, {limit} MiB: {resident >> 10} KiB resident")
                assert sanitized or resident <= 24 * MIB, f"pack {order}, {limit}M: {resident} bytes resident"
                assert not list(spill.iterdir()), "something was left"
        # How the blocks lie, in three orders: for the third the times of all records are sorted.
        newest = top / "newest.car"
        run("pack", "--mem", "4G", "--order", "pds", car, "--out", newest)
        classes = set()
        for of in [car, ordered, newest]:
            want, _, _ = run("order", "--json", "--mem", "4G", of)
            want = {**json.loads(want), "file": None}
            classes.add(want["order"])
            for limit in [8, 16]:
                for word, stdin in [(of, None), ("-", of)]:
                    options = ["--mem", f"{limit}M", "--spill-dir", spill]
                    out, _, resident = run("order", "--json", *options, word, stdin=stdin)
                    assert {**json.loads(out), "file": None} == want, f"order, {limit}M: another answer: {out}"
                    print(f"order of {word} ({want['order']}), {limit} MiB: {resident >> 10} KiB resident")
                    assert sanitized or resident <= (limit + 8) * MIB, f"order, {limit}M: {resident} bytes resident"
                    assert not list(spill.iterdir()), "something was left"
        assert {"streamable", "pds-like"} <= classes, classes
        # And from its records, in any order.
        records = top / "records.ndjson"
        lines = run("unpack", "--ndjson", "--mem", "4G", car)[0].splitlines(keepends=True)
        random.Random(1).shuffle(lines)
        records.write_bytes(b"".join(lines))
        for limit in [8, 16]:
            for word, stdin in [(records, None), ("-", records)]:
                options = ["--mem", f"{limit}M", "--spill-dir", spill, "--out", again]
                _, _, resident = run("pack", *options, word, stdin=stdin)
                assert again.read_bytes() == ordered.read_bytes(), f"pack of records, {limit}M: other bytes"
                print(f"pack of records, {limit} MiB: {resident >> 10} KiB resident")
                assert sanitized or resident <= (limit + 8) * MIB, f"pack, {limit}M: {resident} bytes resident"
        _, err, _ = run("pack", "--mem", "1M", "--on-limit", "refuse", records, expect=3)
        assert b"limit-memory" in err, err
        # As many collections as records, with more bytes of names than may be held: they are printed as they are found.
        names = [f"a{'b' * 60}.c{'d' * 60}.e{'f' * 50}.g{i:06d}" for i in range(100000)]
        records.write_text("".join(f'{{"uri":"at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/{name}/a","value":{{"n":{i}}}}}\n'
                                   for i, name in enumerate(names)))
        many, empty = top / "many.car", top / "empty.car"
        run("pack", "--did", "did:plc:ewvi7nxzyoun6zhxrhs64oiz", "--mem", "4G", records, "--out", many)
        records.write_text("")
        run("pack", "--did", "did:plc:ewvi7nxzyoun6zhxrhs64oiz", records, "--out", empty)
        said, _, resident = run("stat", "--json", "--mem", "8M", many)
        assert sorted(json.loads(said)["collections"]) == names
        assert sanitized or resident <= 16 * MIB, f"stat, 8M: {resident} bytes resident"
        said, _, resident = run("diff", "--json", "--mem", "8M", empty, many)
        assert [op["rpath"] for op in json.loads(said)["record_ops"]] == [f"{name}/a" for name in names]
        assert sanitized or resident <= 16 * MIB, f"diff, 8M: {resident} bytes resident"
        print("stat and diff of 100,000 collections, 8 MiB")
        # Errors: the same line but for the name, and the exit code of limits.
        cut = top / "cut.car"
        cut.write_bytes(Path(car).read_bytes()[:size // 2])
        options = ["ls", "--count", "--mem", "8M", "--spill-dir", spill]
        said = [run(*options, word, stdin=stdin, expect=1)[1].split(b": ", 1)[1]
                for word, stdin in [(cut, None), ("-", cut)]]
        assert said[0] == said[1] and b"offset" in said[0], said
        # What is refused, or not judged in full, is described within the limit; its blocks are remembered beside it.
        early, late = top / "early.car", top / "late.car"
        for bad, place in ((early, 150), (late, size - 1)):  # in the commit, or whatever comes first; in the last block
            spoiled = bytearray(Path(car).read_bytes())
            spoiled[place] ^= 1
            bad.write_bytes(spoiled)
        said = {}
        for bad, stdin in ((early, None), (late, None), ("-", early), ("-", late)):
            out, _, resident = run("check", "--json", "--mem", "8M", "--spill-dir", spill, bad, stdin=stdin, expect=1)
            found = json.loads(out)
            said.setdefault(stdin or bad, []).append({**found, "file": None})
            blocks = found["blocks"]
            assert sanitized or resident <= 16 * MIB + 48 * blocks, f"check --json {bad}: {resident} bytes resident"
            _, _, resident = run("check", "--all", "--mem", "8M", "--spill-dir", spill, bad, stdin=stdin, expect=1)
            print(f"check --all {bad}, 8 MiB: {resident >> 10} KiB resident, {blocks} blocks")
            assert sanitized or resident <= 16 * MIB + 51 * blocks, f"check --all {bad}: {resident} bytes resident"
        assert all(of_file == of_pipe for of_file, of_pipe in said.values()), said
        for words in (["check"], ["ls", "--count"], ["verify-proof", "a.b.c/d"]):  # to name the block is a look, too
            _, _, resident = run(*words, "--mem", "8M", late, expect=1)
            print(f"{words[0]} of a bad file, 8 MiB: {resident >> 10} KiB resident")
            assert sanitized or resident <= 16 * MIB, f"{words} of a bad file: {resident} bytes resident"
        out, _, resident = run("check", "--json", "--mem", "8M", "--level", "lazy", car)
        assert sanitized or resident <= 16 * MIB + 48 * json.loads(out)["blocks"], f"lazy: {resident} bytes resident"
        options = ["ls", "--count", "--mem", "1M", "--spill-dir", spill]
        _, err, _ = run(*options, "--on-limit", "refuse", "-", stdin=car, expect=3)
        assert b"limit-memory" in err
        _, err, _ = run(*options, "--disk", "1M", "-", stdin=car, expect=3)
        assert b"limit-disk" in err
        # Two in one folder, killed while they hold it.
        children = [subprocess.Popen([FRESHET, "repo", "ls", "--count", "--mem", "1M", "--spill-dir", spill, "-"],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
        for child in children:
            child.stdin.write(Path(car).read_bytes()[:size // 2])
            child.stdin.flush()
        held = [[os.readlink(fd) for fd in Path(f"/proc/{child.pid}/fd").iterdir()] for child in children]
        assert all(any(str(spill) in name for name in names) for names in held), held
        for child in children:
            child.send_signal(signal.SIGKILL)
            child.wait()
            child.stdout.close()
            try:
                child.stdin.close()
            except BrokenPipeError:
                pass
        assert not list(spill.iterdir()), "kill -9 left something"
    print("ok")
    return 0


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.exit(main())

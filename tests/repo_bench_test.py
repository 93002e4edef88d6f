#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The bench of repositories holds what it measures to what is known: every way to read sees the same records, and a
file that is not what it is taken for is exit 1."""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))
import freshet as fr  # noqa: E402

READER = str(Path(fr.FRESHET).resolve().parent / "bench" / "repo_reading_bench")


def generated(order):
    out = fr.scratch(f"{order}.car")
    made = subprocess.run([sys.executable, "-B", str(fr.SOURCE / "bench" / "repo_gen.py"), "3000", "--order", order,
                           "--out", str(out), "--freshet", fr.FRESHET], stdout=subprocess.PIPE, text=True, check=True)
    return out, tuple(map(int, made.stdout.split()))


def read(*words, expect=0):
    done = subprocess.run([READER, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == expect, (words, done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_way_to_read_sees_the_same():
    for order in ("pds", "streamable", "random"):
        path, known = generated(order)
        for way in ("memory", "path", "pipe"):
            for take in ("walk", "chunk", "arrival", "forget"):
                for level in ("trusted", "lazy", "full"):
                    row, = read("once", way, take, level, 16, path)
                    assert (row["records"], row["record_bytes"]) == known, (order, row)
                    assert row["bytes"] == path.stat().st_size and row["runs"] == 1, row
                    assert (row["way"], row["take"], row["level"]) == (way, take, level), row
    assert read("pipe", "chunk", "full", 16, path)[0]["runs"] >= 3


def test_what_cannot_be_read_fails():
    path, _ = generated("pds")
    cut = fr.scratch("cut.car")
    cut.write_bytes(path.read_bytes()[:-100])
    for way in ("memory", "path", "pipe"):
        assert len(read("once", way, "chunk", "full", 16, path, cut, path, expect=1)) == 2
    for words in (["nowhere", "walk", "full", 16, path], ["path", "walk", "full", 16],
                  ["path", "walk", "none", 16, path]):
        assert subprocess.run([READER, *map(str, words)], capture_output=True).returncode == 2, words


def bench(corpus):
    """What the memory part prints over a corpus that has one file, and its exit."""
    words = ["memory", "--records", "0", "--no-peers", "--freshet", fr.FRESHET]
    done = subprocess.run([sys.executable, "-B", str(fr.SOURCE / "bench" / "repo_bench.py"), *words],
                          env={**os.environ, "FR_CORPUS": str(corpus), "HUGE_CAR": ""}, capture_output=True, text=True)
    return done.stdout, done.returncode


def test_the_bench_knows_its_files():
    fr.need_corpus()
    for source, exit_code, wrong in (("empty.car", 0, 0), ("tiny.car", 1, 8)):
        corpus = fr.scratch("corpus")
        (corpus / "car" / "repo-stream").mkdir(parents=True)
        shutil.copy(fr.CORPUS / "car" / "repo-stream" / source, corpus / "car" / "repo-stream" / "empty.car")
        out, code = bench(corpus)
        assert (code, out.count("WRONG: ")) == (exit_code, wrong), (source, code, out)
        assert "HUGE_CAR is not set" in out and out.count("best") == 8, out


if __name__ == "__main__":
    fr.main(sys.modules[__name__])

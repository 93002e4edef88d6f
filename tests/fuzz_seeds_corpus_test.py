#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The corpora as seeds: tools/fuzz_seeds.py finds for every target that it knows what there is for it, a second run
adds nothing, and each target, in whatever build this is, takes all of it."""
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))
import freshet as fr  # noqa: E402

SCRIPT = fr.SOURCE / "tools" / "fuzz_seeds.py"
TARGETS = Path(os.environ.get("FR_BUILD", fr.SOURCE / "build")) / "fuzz"
# 33 CARs, 76 hostile ones and 128 trees, but the 10 of over 64 KiB; 60 frames, and the 62 lines that became of them.
EXACTLY = {"repo_car_fuzz": 227, "repo_faults_fuzz": 227, "repo_frame_fuzz": 60, "log_event_json_fuzz": 62}
AT_LEAST = {"repo_load_fuzz": 200, "repo_node_fuzz": 900, "repo_commit_fuzz": 100, "codec_cbor_fuzz": 1000,
            "codec_json_fuzz": 20, "atproto_syntax_fuzz": 400}


def make(out):
    done = subprocess.run([sys.executable, "-B", SCRIPT, fr.CORPUS, out], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done
    return {folder.name: sorted(folder.iterdir()) for folder in out.iterdir()}


def test_every_target_takes_what_is_there_for_it():
    out = fr.scratch()
    seeds = make(out)
    assert set(seeds) == {*EXACTLY, *AT_LEAST}, sorted(seeds)
    for target, files in seeds.items():
        exact = EXACTLY.get(target, len(files))
        assert len(files) == exact >= AT_LEAST.get(target, 0), (target, len(files))
        done = subprocess.run([TARGETS / target, *files], capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, (target, done.stdout[-2000:], done.stderr[-4000:])
    times = {file: file.stat().st_mtime_ns for files in seeds.values() for file in files}
    assert make(out) == seeds
    assert all(file.stat().st_mtime_ns == then for file, then in times.items())


def test_without_corpora_there_is_nothing():
    empty, out = fr.scratch(), fr.scratch()
    empty.mkdir()
    done = subprocess.run([sys.executable, "-B", SCRIPT, empty, out], capture_output=True, timeout=60)
    assert done.returncode == 0 and not out.exists(), done


if __name__ == "__main__":
    fr.need_corpus()
    fr.main(sys.modules[__name__])

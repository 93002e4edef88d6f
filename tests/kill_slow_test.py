#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""kill -9 at random moments, 200 times (FR_KILLS): of `ingest`, and of `serve` with a source. Afterwards nothing that
was acknowledged is missing, and the story told to its end leaves the log and the digests of an undisturbed run."""
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))
import freshet as fr  # noqa: E402

EVENTS = 3000
CHECKPOINT = ["--checkpoint-events", "150"]  # many: kills must meet them
KILLS = int(os.environ.get("FR_KILLS", 200))
INGEST_KILLS = KILLS * 7 // 10
SERVE_KILLS = KILLS - INGEST_KILLS
KILLS_A_LIFE = 10  # then the story is told to its end, and the next begins with an empty folder


class Story:
    def __init__(self, rng):
        path = fr.simulate(60, EVENTS, rng.randrange(1 << 30))
        self.lines = path.read_bytes().splitlines(keepends=True)
        data = fr.scratch()
        fr.ingest(data, path)
        self.dump = fr.run("log", "dump", "--data", data).out
        self.events = self.dump.splitlines(keepends=True)
        self.digests = fr.digests(data)

    def check_prefix(self, data, acknowledged):
        """What lies in the log is a prefix of the story, not shorter than what was promised."""
        dump = fr.run("log", "dump", "--data", data, expect=None)
        if dump.code and not (data / "log").exists():
            assert acknowledged == 0  # killed before there was a log
            return 0
        assert dump.code == 0, dump
        count = dump.out.count(b"\n")
        assert dump.out == b"".join(self.events[:count]), f"the log is no prefix of the story: {count} events"
        assert count >= acknowledged, f"{acknowledged} were acknowledged, {count} are there"
        return count

    def check_end(self, data):
        fr.ingest(data, "-", stdin=b"".join(self.lines), extra=CHECKPOINT)
        assert fr.run("log", "dump", "--data", data).out == self.dump
        assert fr.digests(data) == self.digests


def pour(pipe, lines, rng, pauses):
    """Feeds a process that may die at any time; now and then it waits, so that commits are small."""
    try:
        at = 0
        while at < len(lines):
            step = rng.choice((1, 7, 60, 400))
            pipe.write(b"".join(lines[at:at + step]))
            pipe.flush()
            at += step
            if rng.random() < pauses:
                time.sleep(rng.random() * 0.02)
        pipe.close()
    except (BrokenPipeError, ValueError, OSError):
        pass


def start_pouring(process, lines, rng, pauses):
    own = random.Random(rng.random())
    thread = threading.Thread(target=pour, args=(process.stdin, lines, own, pauses), daemon=True)
    thread.start()
    return thread


def finish(process, thread):
    process.kill()
    process.wait()
    thread.join()
    try:
        process.stdin.close()
    except OSError:
        pass


def check_views_beside(data, rng):
    """Saved state that a kill left behind is sound as it lies there, or is not there."""
    if (data / "log").exists() and rng.random() < 0.2:
        fr.digests(data)


def test_ingest():
    rng = random.Random(fr.seed())
    story = Story(rng)
    data, deepest, killed = fr.scratch(), 0, 0
    while killed < INGEST_KILLS:
        if killed and killed % KILLS_A_LIFE == 0:
            story.check_end(data)
            data = fr.scratch()
        args = [fr.FRESHET, "ingest", "--data", str(data), "--from", "jetstream", *CHECKPOINT, "-"]
        process = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        thread = start_pouring(process, story.lines, rng, rng.choice((0, 0.1, 0.5)))
        time.sleep(rng.random() ** 2 * rng.choice((0.1, 0.6)))
        finish(process, thread)
        process.stderr.close()
        killed += process.returncode == -9  # it may have come to its end before
        deepest = max(deepest, story.check_prefix(data, 0))
        check_views_beside(data, rng)
    story.check_end(data)
    assert deepest > EVENTS // 10, f"no kill came late enough to matter: {deepest}"
    print(f"{killed} kills of ingest, up to {deepest} events deep")


def test_serve():
    """What the header freshet-seq said before the kill is there after it, and the answers are those of the prefix."""
    rng = random.Random(fr.seed())
    story = Story(rng)
    data, deepest, killed, acknowledged = fr.scratch(), 0, 0, 0
    while killed < SERVE_KILLS:
        if killed and killed % KILLS_A_LIFE == 0:
            story.check_end(data)
            data, acknowledged = fr.scratch(), 0
        daemon = fr.Daemon(data, "--source", "jetstream:-", *CHECKPOINT, stdin=subprocess.PIPE)
        seq = daemon.get("/links/count?target=x&collection=y&path=z").seq
        assert seq >= acknowledged, f"{acknowledged} were acknowledged, {seq} after the restart"
        again = max(0, acknowledged - rng.randrange(200))  # at least once
        thread = start_pouring(daemon.process, story.lines[again:], rng, rng.choice((0.1, 0.5, 0.9)))
        end = time.monotonic() + rng.random() ** 2 * 0.5
        while time.monotonic() < end:
            acknowledged = max(acknowledged, daemon.get("/health").json["indexed_through"]["seq"],
                               daemon.get("/links/count?target=x&collection=y&path=z").seq)
        daemon.close_connection()
        finish(daemon.process, thread)
        daemon.process.stdout.close()
        killed += 1
        deepest = max(deepest, story.check_prefix(data, acknowledged))
        check_views_beside(data, rng)
    story.check_end(data)
    assert deepest > EVENTS // 10, f"no kill came late enough to matter: {deepest}"
    print(f"{killed} kills of serve, up to {deepest} events deep")


if __name__ == "__main__":
    fr.main(sys.modules[__name__])

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Writes or syncs of the log that fail under a daemon, for a while: writing pauses under a name, reads go on, and then
writing goes on alone, with nothing missing and nothing twice; so it does after a kill -9 on the bad disk."""
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))
import freshet as fr  # noqa: E402

EVENTS = 6000


def preload():
    """The library that makes the disk bad."""
    compiler = shutil.which("cc")
    if compiler is None or fr.SANITIZED:
        fr.skip("no compiler, or a sanitizer, which wants to be loaded first")
    library = fr.scratch("bad_disk.so")
    source = fr.SOURCE / "tests" / "support" / "bad_disk.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


class Disk:
    def __init__(self, library):
        self.library = library
        self.file = fr.scratch("bad")

    def daemon(self, data, *args):
        os.environ.update(LD_PRELOAD=str(self.library), BAD_DISK=str(self.file))
        try:
            return fr.Daemon(data, "--source", "jetstream:-", *args, stdin=subprocess.PIPE)
        finally:
            del os.environ["LD_PRELOAD"], os.environ["BAD_DISK"]

    def fails(self, what):
        self.file.write_text(what)

    def is_well(self):
        self.file.unlink()


class Story:
    """The same events, told to a log on a good day."""

    def __init__(self):
        path = fr.simulate(100, EVENTS, 78)
        lines = path.read_bytes().splitlines(keepends=True)
        self.first, self.rest = b"".join(lines[:EVENTS // 2]), b"".join(lines[EVENTS // 2:])
        data = fr.scratch()
        fr.ingest(data, path)
        self.dump = fr.run("log", "dump", "--data", data).out
        self.digests = fr.digests(data)
        self.count = self.dump.count(b"\n")


def tell(daemon, text):
    """In a thread: a daemon that takes nothing holds its source back."""
    def pour():
        try:
            daemon.process.stdin.write(text)
            daemon.process.stdin.flush()
        except OSError:
            pass  # it was killed
    thread = threading.Thread(target=pour, daemon=True)
    thread.start()
    return thread


def begin(story, daemon):
    """The first half; what is shown of it."""
    tell(daemon, story.first).join()
    daemon.wait_until(lambda: daemon.ok("/health")["indexed_through"]["seq"] > EVENTS // 3, "the first half")
    return daemon.ok("/health")["indexed_through"]["seq"]


def see_bad_disk(daemon, shown):
    daemon.wait_until(lambda: daemon.get("/health").json["state"] == "disk-error", "the disk to be bad")
    daemon.wait_until(lambda: daemon.get("/health").json.get("attempts", 0) > 1, "more than one attempt")
    health = daemon.get("/health")
    assert health.status == 503 and health.json["status"] == "read-only", health
    assert health.json["resumes"] == "by itself" and "ingest" in health.json["pauses"], health
    assert health.json["since"] and health.json["reason"], health
    assert health.json["indexed_through"]["seq"] >= shown, health
    assert daemon.ok("/newest")["feed"], "reads go on"
    assert "freshet_poisoned 1\n" in daemon.get("/metrics").body.decode()
    assert "engine.writing" in daemon.log() and "disk-error" in daemon.log()
    return health.json["indexed_through"]["seq"]


def check_all(story, data):
    assert fr.run("log", "dump", "--data", data).out == story.dump
    assert fr.digests(data) == story.digests


def heals(story, disk, what):
    data = fr.scratch()
    with disk.daemon(data) as daemon:
        shown = begin(story, daemon)
        disk.fails(what)
        thread = tell(daemon, story.rest)
        see_bad_disk(daemon, shown)
        disk.is_well()
        daemon.wait_seq(story.count)
        thread.join()
        daemon.wait_until(lambda: daemon.ok("/health")["state"] == "ok", "writing to go on")
        metrics = daemon.get("/metrics").body.decode()
        assert "freshet_log_mended_total 1\n" in metrics and "freshet_poisoned 0\n" in metrics
        daemon.process.stdin.close()
    check_all(story, data)


def dies(story, disk, what):
    data = fr.scratch()
    daemon = disk.daemon(data)
    shown = begin(story, daemon)
    disk.fails(what)
    tell(daemon, story.rest)
    shown = see_bad_disk(daemon, shown)
    daemon.kill()
    disk.is_well()
    dump = fr.run("log", "dump", "--data", data).out
    assert story.dump.startswith(dump) and dump.count(b"\n") >= shown
    with fr.Daemon(data, "--source", "jetstream:-", stdin=subprocess.PIPE) as again:
        tell(again, story.first + story.rest).join()
        again.wait_seq(story.count)
        again.process.stdin.close()
    check_all(story, data)


def test_checkpoints_that_fail_hold_sources_back():
    """What they would save stays in memory, up to its bound."""
    disk, data = Disk(preload()), fr.scratch()
    path = fr.simulate(2000, 150000, 79)
    with disk.daemon(data, "--mem", "24M", "--checkpoint-events", "20000") as daemon:
        disk.fails("write /views/identity")
        thread = tell(daemon, path.read_bytes())
        daemon.wait_until(lambda: daemon.get("/health").json["state"] == "checkpoints-fail", "memory to be full")
        health = daemon.get("/health")
        assert health.status == 503 and health.json["resumes"] == "by itself", health
        assert "Input/output error" in health.json["reason"] and health.json["indexed_through"]["seq"] < 140000, health
        assert daemon.ok("/newest")["feed"], "reads go on"
        disk.is_well()
        daemon.wait_until(lambda: not thread.is_alive(), "all to be taken")
        daemon.wait_until(lambda: daemon.ok("/health")["state"] == "ok", "writing to go on")
        daemon.process.stdin.close()
    fr.digests(data)


def test_it_heals_or_dies():
    story, disk = Story(), Disk(preload())
    for what in ("sync .frlog", "write .frlog"):
        heals(story, disk, what)
        dies(story, disk, what)


if __name__ == "__main__":
    fr.main(sys.modules[__name__])

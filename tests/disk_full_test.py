#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""A disk that fills while a daemon follows a source, and is freed: writing pauses under a name, reads go on, writing
goes on alone, and nothing is missing or twice. Full is a limit on file sizes, or (for root) a small tmpfs."""
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))
import freshet as fr  # noqa: E402

EVENTS = 40000  # some 12 MB of log
MEBIBYTE = 1 << 20


class Story:
    """The same events, told to a daemon on a good day."""

    def __init__(self):
        path = fr.simulate(200, EVENTS, 77)
        self.path = path
        self.text = path.read_bytes()
        data = fr.scratch()
        fr.ingest(data, path)
        self.dump = fr.run("log", "dump", "--data", data).out
        self.digests = fr.digests(data)


def tell(daemon, text):
    """In a thread: a daemon that takes nothing holds its source back."""
    def pour():
        daemon.process.stdin.write(text)
        daemon.process.stdin.flush()
    thread = threading.Thread(target=pour, daemon=True)
    thread.start()
    return thread


def live_through(story, data, fill, free):
    with fr.Daemon(data, "--source", "jetstream:-", stdin=subprocess.PIPE) as daemon:
        assert daemon.ok("/health")["state"] == "ok"
        fill(daemon)
        thread = tell(daemon, story.text)
        daemon.wait_until(lambda: daemon.get("/health").json["state"] == "disk-full", "the disk to be full")
        answer = daemon.get("/health")
        health = answer.json
        assert answer.status == 503 and health["pauses"] == ["ingest"] and health["resumes"] == "by itself", health
        assert health["since"] and health["reason"], health
        assert health["status"] == "read-only", health
        assert daemon.ok("/ready")["ready"] is True, "answers are as good as before"
        seq = health["indexed_through"]["seq"]
        assert 0 < seq < EVENTS, health
        assert daemon.ok("/newest")["feed"], "reads go on"
        dump = fr.run("log", "dump", "--data", data).out
        assert story.dump.startswith(dump) and dump.count(b"\n") >= seq
        free(daemon)
        daemon.wait_seq(story.dump.count(b"\n"))
        thread.join()
        daemon.wait_until(lambda: daemon.ok("/health")["state"] == "ok", "writing to go on")
        daemon.process.stdin.close()
    assert fr.run("log", "dump", "--data", data).out == story.dump
    assert fr.digests(data) == story.digests


def test_a_limit_on_file_sizes():
    def limit(daemon, size):
        resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    live_through(Story(), fr.scratch(), lambda d: limit(d, 8 * MEBIBYTE), lambda d: limit(d, resource.RLIM_INFINITY))


class Ingest:
    """One that has met a limit on file sizes, and said so."""

    def __init__(self, data, path):
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (8 * MEBIBYTE, resource.RLIM_INFINITY))
        self.process = subprocess.Popen([fr.FRESHET, "ingest", "--data", data, "--from", "jetstream", path],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=limit)
        self.said = b""
        while b"writing waits: disk-full: " not in self.said:
            line = self.process.stderr.readline()
            assert line, (self.process.wait(), self.said)
            self.said += line

    def end(self):
        out, err = self.process.communicate(timeout=fr.PATIENCE_S * 4)
        self.said += err
        return json.loads(out), self.process.returncode


def test_ingest_waits_aloud():
    """It goes on when there is room, and ends when it is told to: nothing of what it says was appended is lost."""
    story, data = Story(), fr.scratch()
    ingest = Ingest(data, story.path)
    ingest.process.send_signal(signal.SIGTERM)
    report, code = ingest.end()
    assert code == 4 and 0 < report["appended"] < EVENTS, (code, report, ingest.said)
    dump = fr.run("log", "dump", "--data", data).out
    assert story.dump.startswith(dump) and dump.count(b"\n") >= report["appended"]
    ingest = Ingest(data, story.path)
    resource.prlimit(ingest.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    report, code = ingest.end()
    assert code == 0 and b"writing goes on" in ingest.said, (code, report, ingest.said)
    assert fr.run("log", "dump", "--data", data).out == story.dump
    assert fr.digests(data) == story.digests


def test_a_small_disk():
    mount = fr.scratch("disk")
    mount.mkdir()
    story = Story()
    command = ["mount", "-t", "tmpfs", "-o", "size=96m", "freshet-test", mount]
    if subprocess.run(command, capture_output=True).returncode:
        print("skipped: only root mounts a tmpfs")
        return
    ballast = mount / "ballast"

    def fill(but):
        with open(ballast, "wb") as file:
            left = os.statvfs(mount)
            os.posix_fallocate(file.fileno(), 0, left.f_bavail * left.f_frsize - but)
    try:
        live_through(story, mount / "data", lambda d: fill(5 * MEBIBYTE), lambda d: ballast.unlink())
        fill(4096)  # the lock's file; no database can be opened
        refused = fr.run("ingest", "--data", mount / "data", "--from", "jetstream", "-", stdin=b"", expect=4).err
        assert b"No space left on device" in refused, refused
        assert fr.run("log", "dump", "--data", mount / "data").out == story.dump
        ballast.unlink()
        fr.ingest(mount / "data", "-", stdin=b"")
        assert fr.digests(mount / "data") == story.digests
    finally:
        subprocess.run(["umount", mount], check=True)


if __name__ == "__main__":
    fr.main(sys.modules[__name__])

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""What a daemon does with full segments: they go to the archive and then from here, and everything is still answered;
where the archive is no good, /health and `log stat` say why. And a directory of a newer format is left alone."""
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))
import freshet as fr  # noqa: E402


def sealed_log():
    data = fr.scratch()
    fr.ingest(data, fr.simulate(60, 3000, 5))
    fr.run("log", "seal", "--data", data)
    return data


def segments(folder):
    return sorted(path.name for path in folder.glob("*.frseal"))


def test_full_segments_go_to_the_archive():
    data, archive = sealed_log(), fr.scratch("archive")
    dump, digests = fr.run("log", "dump", "--data", data).out, fr.digests(data)
    sealed = segments(data / "log")[0]
    with fr.Daemon(data, "--archive", archive, "--log-keep", "1") as daemon:
        newest = daemon.ok("/newest", limit=100)
        daemon.wait_until(lambda: sealed in segments(archive), "the segment in the archive")
        daemon.wait_until(lambda: sealed not in segments(data / "log"), "the segment to go from here")
        assert daemon.ok("/health")["upkeep"] is None
        assert daemon.ok("/newest", limit=100) == newest, "texts are read in the archive"
    assert fr.run("log", "dump", "--data", data).out == dump
    assert fr.digests(data) == digests
    assert fr.stat(data)["upkeep"] is None


def test_what_an_archive_that_is_away_takes_along_is_told():
    """Every item is there, and the answer says that some have no text."""
    data, archive, away = sealed_log(), fr.scratch("archive"), fr.scratch("away")
    sealed = segments(data / "log")
    with fr.Daemon(data, "--archive", archive, "--log-keep", "1") as daemon:
        daemon.wait_until(lambda: not segments(data / "log"), "the segments to go from here")
        whole = daemon.ok("/newest", limit=100)
    assert whole["complete"] is True and sealed == segments(archive)
    archive.rename(away)
    with fr.Daemon(data) as daemon:
        answer = daemon.get("/newest", limit=100)
        page = answer.json
        assert answer.headers["freshet-incomplete"] == "records" and page["complete"] is False, answer
        assert [item["uri"] for item in page["feed"]] == [item["uri"] for item in whole["feed"]]
        assert any("text" in item for item in whole["feed"]) and not any("text" in item for item in page["feed"])
        assert page["cursor"] == whole["cursor"]
        assert "freshet-incomplete" not in daemon.get("/links/top").headers, "which reads no records"
        first = daemon.ok("/health")["first_seq"]
        warned = [line for line in daemon.log().splitlines() if "log.beginning" in line]
        assert first > 1 and len(warned) == 1 and f"first_seq={first} " in warned[0], (first, warned)
        assert warned[0].split()[1].lower() == "warn", warned
    result = fr.run("ingest", "--data", data, "--from", "jetstream", "-")
    assert result.errors.count(f"the log begins with event {first}: ") == 1, result
    away.rename(archive)
    with fr.Daemon(data) as daemon:
        answer = daemon.get("/newest", limit=100)
        assert answer.json == whole and "freshet-incomplete" not in answer.headers, answer
        assert daemon.ok("/health")["first_seq"] == 1 and "log.beginning" not in daemon.log()
    assert "begins" not in fr.run("ingest", "--data", data, "--from", "jetstream", "-").errors


def test_an_archive_that_was_moved_is_found():
    data, archive, place, other = sealed_log(), fr.scratch("archive"), fr.scratch("place"), fr.scratch("other")
    dump = fr.run("log", "dump", "--data", data).out
    with fr.Daemon(data, "--archive", archive, "--log-keep", "1") as daemon:
        daemon.wait_until(lambda: not segments(data / "log"), "the segments to go from here")
    archive.rename(place)
    fr.run("log", "seal", "--data", data)
    with fr.Daemon(data, "--archive", other, "--log-keep", "1") as daemon:  # a new one, and the old one is away
        assert daemon.ok("/health")["first_seq"] > 1
    fr.run("log", "dump", "--data", data, expect=4)
    with fr.Daemon(data, "--archive", place, "--log-keep", "1") as daemon:
        assert daemon.ok("/health")["first_seq"] == 1
    assert fr.run("log", "dump", "--data", data).out == dump


def test_what_a_view_has_not_saved_stays():
    """A view that was built from the log a moment ago would need it again."""
    data, archive = sealed_log(), fr.scratch("archive")
    sealed, digests = segments(data / "log")[0], fr.digests(data)
    shutil.rmtree(data / "views" / "links")
    with fr.Daemon(data, "--archive", archive, "--log-keep", "1", "--checkpoint-events", "1000000000") as daemon:
        daemon.wait_until(lambda: sealed in segments(archive), "the segment in the archive")
        time.sleep(2.5)  # longer than upkeep takes to look again
        assert sealed in segments(data / "log")
    with fr.Daemon(data, "--archive", archive, "--log-keep", "1") as daemon:
        daemon.wait_until(lambda: sealed not in segments(data / "log"), "the segment to go from here")
    assert fr.digests(data) == digests


def test_an_archive_that_is_no_good_is_told():
    data, file = sealed_log(), fr.scratch("file")
    file.write_text("in the way")
    before = segments(data / "log")
    with fr.Daemon(data, "--archive", file / "archive", "--log-keep", "1") as daemon:
        upkeep = daemon.wait_until(lambda: daemon.ok("/health")["upkeep"], "the failure to be told")
        assert upkeep["step"] == "archive" and upkeep["since"] and "File exists" in upkeep["reason"], upkeep
        assert daemon.wait_until(lambda: fr.stat(data)["upkeep"], "the same from outside") == upkeep
        assert "freshet_log_upkeep_failures_total 1\n" in daemon.get("/metrics").body.decode()
    assert segments(data / "log") == before, "nothing goes that no archive holds"
    (data / "UPKEEP").write_text('{"step":"drop","since')
    assert fr.stat(data)["upkeep"]["reason"] == "DIR/UPKEEP cannot be read"
    with fr.Daemon(data, "--archive", fr.scratch("archive")) as daemon:
        assert fr.stat(data)["upkeep"] is None and daemon.ok("/health")["upkeep"] is None


def test_a_newer_directory_is_left_alone():
    data = sealed_log()
    (data / "VERSION").write_text("freshet 99\nstarted_us 1\n")
    for verb in ("stat", "dump", "verify", "export", "seal", "compact", "cut", "restore"):
        result = fr.run("log", verb, "--data", data, expect=None)
        assert result.code != 0 and "newer freshet" in result.errors and not result.out, result
    for verbs in (("verify",), ("backfill", "status"), ("backfill", "retry"), ("view", "list")):
        assert "newer freshet" in fr.run(*verbs, "--data", data, expect=2).errors, verbs
    (data / "VERSION").write_text("something else\n")
    assert fr.run("log", "stat", "--data", data, expect=1).errors.count("VERSION") == 1


def test_sigterm_ends_a_daemon_in_order():
    """What was taken before the signal is there, saved: the next opening has nothing to replay."""
    for number, code in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
        data = fr.scratch()
        text = fr.simulate(60, 3000, 6).read_bytes()
        with fr.Daemon(data, "--source", "jetstream:-", stdin=subprocess.PIPE) as daemon:
            daemon.process.stdin.write(text)
            daemon.process.stdin.flush()
            daemon.wait_seq(1000)
            daemon.stop(number, expect=code)
        assert "serve.stop" in daemon.log()
        last = fr.stat(data)["last_seq"]
        views = fr.run("view", "list", "--data", data).out.decode()
        assert last >= 1000 and fr.stat(data)["torn_bytes"] == 0
        with fr.Daemon(data) as daemon:
            health = daemon.ok("/health")
            assert health["indexed_through"]["seq"] == last == health["checkpoint_seq"], (health, views)


if __name__ == "__main__":
    fr.main(sys.modules[__name__])

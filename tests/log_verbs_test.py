#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""freshet log by hand: sealed, compacted, archived, damaged, cut, restored; the events stay the same."""
import datetime
import json
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))
import freshet as fr  # noqa: E402

EVENTS = 4000


def filled():
    data = fr.scratch()
    fr.ingest(data, fr.simulate(50, EVENTS, 7))
    return data


def log(verb, data, *args, expect=0):
    return fr.run("log", verb, "--data", data, *args, expect=expect)


def text_of(data, *args, verb="dump"):
    return log(verb, data, *args).out


def revs(lines):
    return sorted(json.loads(line)["commit"]["rev"] for line in lines.splitlines() if b'"commit"' in line)


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10
    path.write_bytes(bytes(content))


def test_sealing_keeps_events_and_takes_less_room():
    data = filled()
    before, raw = text_of(data), fr.stat(data)
    digests = fr.digests(data)
    sealed = json.loads(log("seal", data, "--json").out)
    assert sealed["newly_sealed"] == sealed["sealed"] == 1 and sealed["events"] == raw["events"], sealed
    assert sealed["bytes"] * 2 < raw["bytes"] <= sealed["raw_bytes"], (raw, sealed)
    assert text_of(data) == before
    log("compact", data, "--level", "15")
    assert text_of(data) == before
    assert json.loads(log("verify", data, "--json").out)["ok"]
    assert fr.digests(data) == digests
    shutil.rmtree(data / "views"), shutil.rmtree(data / "resolver")  # all is rebuilt from sealed segments
    fr.ingest(data, "-", stdin=b"")
    assert fr.digests(data) == digests


def test_export_takes_a_stretch():
    data = filled()
    log("seal", data)
    lines = text_of(data).splitlines(keepends=True)
    assert text_of(data, "--from", 100, "--count", 7, verb="export") == b"".join(lines[99:106])
    times = [json.loads(line)["time_us"] for line in lines]
    middle = sorted(times)[len(times) // 2] // 1000000 * 1000000
    since = f"{datetime.datetime.fromtimestamp(middle / 1e6, datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
    wanted = [line for line, time in zip(lines, times) if time >= middle]
    assert text_of(data, "--since", since, verb="export") == b"".join(wanted)
    assert text_of(data, "--until", since, verb="export") == b"".join(
        line for line, time in zip(lines, times) if time < middle)
    packed = fr.scratch("events.ndjson.zst")
    log("export", data, "--out", packed)
    assert packed.stat().st_size * 3 < sum(map(len, lines))
    again = fr.scratch()
    fr.ingest(again, packed)  # what export compresses, ingest reads
    assert fr.digests(again) == fr.digests(data)


def test_damage_is_named_and_cut():
    data = filled()
    whole = text_of(data)
    log("seal", data)
    path = data / "log" / "0000000001.frseal"
    flip(path, path.stat().st_size * 2 // 3)
    damaged = path.read_bytes()
    for verb in ("verify", "dump", "dump"):
        result = log(verb, data, expect=1)
        assert f"{path}: offset ".encode() in result.err, result
    assert whole.startswith(result.out) and 0 < len(result.out) < len(whole)
    assert json.loads(log("verify", data, "--json", expect=1).out)["place"].startswith(f"{path}: offset ")
    told = log("cut", data, expect=1).out
    assert b"--yes" in told and path.read_bytes() == damaged
    log("cut", data, "--yes")
    assert text_of(data) == result.out
    first = result.out.count(b"\n") + 1
    assert (data / "log" / f"cut-{first}" / path.name).read_bytes() == damaged
    log("verify", data)
    assert b"nothing to cut" in log("cut", data, "--yes").out
    fr.ingest(data, fr.simulate(50, EVENTS, 7))  # what was lost comes again, and only that
    assert revs(text_of(data)) == revs(whole)


def test_an_archive_brings_a_log_back():
    data, archive = filled(), fr.scratch("archive")
    whole, digests = text_of(data), fr.digests(data)
    log("seal", data, "--archive", archive)
    assert [entry.name for entry in archive.iterdir()] == ["0000000001.frseal"]
    shutil.rmtree(data)
    assert json.loads(log("restore", data, "--archive", archive, "--json").out)["restored"] == 1
    assert text_of(data) == whole
    fr.ingest(data, "-", stdin=b"")
    assert fr.digests(data) == digests
    log("restore", fr.scratch(), expect=2)
    log("restore", fr.scratch(), "--archive", fr.scratch(), expect=4)


def test_verbs_that_change_wait_for_nobody():
    data = filled()
    with fr.Daemon(data):
        for verb in ("seal", "compact", "cut"):
            assert b"another process" in log(verb, data, expect=4).err
        log("verify", data)


def test_words_that_do_not_fit():
    data = filled()
    for words in (["compact", "--level", "20"], ["cut", "--at", "0"], ["export", "--since", "yesterday"], ["burn"]):
        log(words[0], data, *words[1:], expect=2)
    for keep in ("0", "30x", "d", "-1"):
        fr.run("serve", "--data", data, "--log-keep", keep, expect=2)


if __name__ == "__main__":
    fr.main(sys.modules[__name__])

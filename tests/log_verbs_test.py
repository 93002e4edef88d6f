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


def token():
    path = fr.scratch("token")
    path.write_text("sesame\n")
    return path


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


def test_what_was_cut_is_kept():
    data = filled()
    whole = text_of(data)
    kept = []
    for _ in range(2):
        told = json.loads(log("cut", data, "--at", EVENTS, "--json", expect=1).out)
        first = told["first_seq"]
        assert first <= EVENTS and told == {"cut": False, "first_seq": first, "events": EVENTS - first + 1,
                                            "segments": 1}, told
        before = (data / "log" / "0000000001.frlog").read_bytes()
        assert json.loads(log("cut", data, "--at", EVENTS, "--json", "--yes").out) == {**told, "cut": True}
        kept.append(before)
        fr.ingest(data, fr.simulate(50, EVENTS, 7))
    assert revs(text_of(data)) == revs(whole)
    folders = [data / "log" / name for name in (f"cut-{first}", f"cut-{first}.2")]
    assert [(folder / "0000000001.frlog").read_bytes() for folder in folders] == kept


def test_a_beginning_that_is_away_is_told():
    """The log goes on without its archive, and says that it is not all there is."""
    data, archive = filled(), fr.scratch("archive")
    first = fr.stat(data)["last_seq"] + 1
    log("seal", data, "--archive", archive)
    fr.ingest(data, fr.simulate(50, EVENTS + 500, 8))
    whole = text_of(data)
    (data / "log" / "0000000001.frseal").unlink()
    (data / "log" / "ARCHIVE").write_text(f"{archive}.away\n")
    rest = whole[whole.index(b'"seq":%d}' % (first - 1)):].split(b"\n", 1)[1]
    for verb in ("dump", "export"):
        result = log(verb, data, expect=4)
        assert result.out == rest and b"its beginning is not here" in result.err, result.err
    assert text_of(data, "--from", first) == rest, "what was asked for is there"
    assert not log("dump", data, "--from", 1, expect=4).out
    assert json.loads(log("verify", data, "--json", expect=4).out)["ok"] is False
    flip(data / "log" / "0000000002.frlog", 200)
    assert b": offset " in log("verify", data, expect=1).err, "damage goes first"
    flip(data / "log" / "0000000002.frlog", 200)
    assert b"its beginning is not here" in fr.run("view", "reset", "posts", "--data", data, expect=4).err
    with fr.Daemon(data, "--admin-token-file", token()) as daemon:
        fr.run("view", "reset", "posts", "--data", data, "--admin-token-file", token())
        daemon.wait_until(lambda: b"its beginning is not here" in daemon.get("/health").body, "the reset to fail")
    with fr.Daemon(data) as daemon:
        assert daemon.get("/newest").status == 200, "what was saved is still there"
    (data / "log" / "ARCHIVE").write_text(f"{archive}\n")
    assert text_of(data) == whole
    log("verify", data)


def test_a_segment_that_is_missing_is_damage():
    """Named by its number: in the middle, and at the beginning where no archive was ever named."""
    data = filled()
    for seed in (8, 9):
        log("seal", data)
        fr.ingest(data, fr.simulate(50, EVENTS, seed))
    whole = text_of(data)
    for number, before in ((1, 0), (2, EVENTS)):
        path = data / "log" / f"{number:010}.frseal"
        kept = path.read_bytes()
        path.unlink()
        place = f"{data}/log/{number:010}"
        assert json.loads(log("verify", data, "--json", expect=1).out)["place"] == place
        for verb, *args in (("verify",), ("dump",), ("dump",), ("export",), ("dump", "--from", before + 1)):
            result = log(verb, data, *args, expect=1)
            assert f"{place}: log: a segment file is missing".encode() in result.err, result
        result = log("dump", data, expect=1)
        assert whole.startswith(result.out) and result.out.count(b"\n") == before, result.out
        path.write_bytes(kept)
    assert text_of(data) == whole
    log("verify", data)


def test_whatever_meets_damage_names_the_segment():
    data, archive = filled(), fr.scratch("archive")
    log("seal", data, "--archive", archive)
    fr.ingest(data, fr.simulate(50, EVENTS, 8))
    log("seal", data, "--archive", archive)
    fr.ingest(data, fr.simulate(50, EVENTS, 9))
    path = data / "log" / "0000000002.frseal"
    named = b"(segment file 0000000002, offset "
    flip(path, 2000)
    assert f"{path}: offset ".encode() in log("dump", data, "--since", "2100-01-01T00:00:00Z", expect=1).err
    for words in (["verify"], ["log", "compact"], ["view", "reset", "posts"]):
        assert named in fr.run(*words, "--data", data, expect=1).err, words
    flip(path, 2000)
    flip(path, 20)  # its header: met by who opens
    for words in (["log", "seal"], ["ingest", "--from", "jetstream", "-"]):
        assert named in fr.run(*words, "--data", data, expect=1, stdin=b"").err, words
    path.unlink()
    for words in (["log", "stat"], ["log", "seal"], ["ingest", "--from", "jetstream", "-"]):
        assert named in fr.run(*words, "--data", data, expect=1, stdin=b"").err, words
    flip(archive / path.name, 2000)
    told = log("restore", data, "--archive", archive, expect=1).err
    assert named in told and str(archive).encode() in told, told
    flip(archive / path.name, 2000)
    log("restore", data, "--archive", archive)
    log("verify", data)


def test_what_was_durable_and_is_gone_is_told():
    """A tail that was cut off looks torn; what was saved of the views knows better."""
    data = filled()
    path = data / "log" / "0000000001.frlog"
    path.write_bytes(path.read_bytes()[:path.stat().st_size * 2 // 3])
    result = log("verify", data, "--json")
    last = json.loads(result.out)["last_seq"]
    assert 0 < last < EVENTS and b"torn tail" in result.err and b"promised" not in result.err, result
    told = fr.run("ingest", "--data", data, "--from", "jetstream", "-").err
    wanted = f"resolver: saved state is ahead of the log, which had event {EVENTS} and ends with {last}: "
    assert wanted.encode() in told, told
    assert b"ahead" not in fr.run("ingest", "--data", data, "--from", "jetstream", "-").err, "once"


def test_damage_costs_no_view_what_is_saved_of_it():
    """A flip in an older segment: nothing is dropped that the log could not give back, and what stands goes on."""
    data = filled()
    for seed in (8, 9):
        log("seal", data)
        fr.ingest(data, fr.simulate(50, EVENTS, seed))
    digests = fr.digests(data)
    flip(data / "log" / "0000000002.frseal", 2000)
    kept = sorted(path.name for path in (data / "views").rglob("*"))
    for view in ("links", "posts"):
        assert b"damaged" in fr.run("view", "reset", view, "--data", data, expect=1).err
    assert sorted(path.name for path in (data / "views").rglob("*")) == kept
    with fr.Daemon(data, "--admin-token-file", token()) as daemon:
        fr.run("view", "reset", "links", "--data", data, "--admin-token-file", token())
        daemon.wait_until(lambda: b"damaged" in daemon.get("/health").body, "the reset to fail")
        assert daemon.get("/newest").status == 200, "the others answer"

        def live():
            return all(view["state"] == "live" for view in daemon.get("/health").json["views"])
        daemon.wait_until(live, "what is saved of it is taken again")
    shutil.rmtree(data / "views" / "links")
    result = fr.run("ingest", "--data", data, "--from", "jetstream", "-", expect=1)
    assert b"links was left out and not built, for the log is damaged (log: " in result.err, result
    assert b"posts" not in result.err, result
    with fr.Daemon(data) as daemon:  # it cannot be built; the rest is there
        states = {view["name"]: view["state"] for view in daemon.get("/health").json["views"]}
        assert states.pop("links") == "failed" and set(states.values()) == {"live"}, states
        assert "engine.left-out" in daemon.log(), daemon.log()
        assert daemon.get("/newest").status == 200
    flip(data / "log" / "0000000002.frseal", 2000)
    fr.ingest(data, "-", stdin=b"")
    assert fr.digests(data) == digests, "the log is whole again: all is built"


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
    nothing, nowhere = fr.scratch(), fr.scratch("nowhere")
    assert str(nowhere).encode() in log("restore", nothing, "--archive", nowhere, expect=4).err
    assert not nothing.exists()
    nowhere.mkdir()
    assert b"holds no segment" in log("restore", nothing, "--archive", nowhere, expect=4).err


def test_an_archive_mends_what_is_damaged_in_the_middle():
    data, archive, lines = fr.scratch(), fr.scratch("archive"), fr.simulate(50, EVENTS, 7).read_bytes().splitlines(True)
    for part in range(4):  # as many segments
        fr.ingest(data, "-", stdin=b"".join(lines[part * EVENTS // 4:(part + 1) * EVENTS // 4]))
        log("seal", data, "--archive", archive)
    whole, digests = text_of(data), fr.digests(data)
    damaged = data / "log" / "0000000002.frseal"
    flip(damaged, 2000)
    assert str(damaged).encode() in log("verify", data, expect=1).err
    assert json.loads(log("restore", data, "--archive", archive, "--json").out)["restored"] == 0
    damaged.rename(data / "damaged")
    log("verify", data, expect=1)
    assert json.loads(log("restore", data, "--archive", archive, "--json").out)["restored"] == 1
    log("verify", data)
    assert text_of(data) == whole and fr.digests(data) == digests
    for number in 2, 3:
        damaged.with_name(f"{number:010}.frseal").unlink()
    (archive / "0000000003.frseal").rename(archive / "0000000009.frseal")
    log("restore", data, "--archive", archive, expect=1)  # an archive with a gap
    (archive / "0000000009.frseal").rename(archive / "0000000003.frseal")
    log("restore", data, "--archive", archive)
    assert text_of(data) == whole


def test_verbs_that_change_wait_for_nobody():
    data = filled()
    with fr.Daemon(data) as daemon:
        owner = b"(pid %d)" % daemon.process.pid
        for verb in (["seal"], ["compact"], ["cut"], ["restore", "--archive", data / "log"]):
            assert owner in log(verb[0], data, *verb[1:], expect=4).err
        log("verify", data)


def test_an_older_directory_becomes_ours_before_it_is_changed():
    """The program of the format before would read past what it does not know: sealed segments."""
    data = filled()
    (data / "VERSION").write_text("freshet 1\nstarted_us 5\n")
    log("verify", data)
    assert (data / "VERSION").read_text() == "freshet 1\nstarted_us 5\n"
    log("seal", data)
    assert (data / "VERSION").read_text() == "freshet 2\nstarted_us 5\n"


def test_verbs_take_their_own_options_alone():
    """What the manual names with a verb, and nothing else: an option that does nothing is a mistake."""
    options = {"--from": [1], "--count": [1], "--since": ["2020-01-01T00:00:00Z"], "--until": ["2020-01-01T00:00:00Z"],
               "--out": ["-"], "--at": [EVENTS], "--yes": [], "--level": [3], "--archive": [fr.scratch()], "--json": []}
    stretch = {"--from", "--count", "--since", "--until", "--out"}
    own = {"verify": {"--json"}, "stat": {"--json"}, "dump": stretch, "export": stretch,
           "seal": {"--archive", "--json"}, "compact": {"--level", "--json"}, "cut": {"--at", "--yes", "--json"},
           "restore": {"--archive", "--json"}}
    data = filled()
    before = log("dump", data).out
    for verb, taken in own.items():
        for option, value in options.items():
            if option not in taken:
                result = log(verb, data, option, *value, expect=2)
                assert option in result.errors and f"log {verb}" in result.errors and not result.out, result
    assert log("dump", data).out == before
    for verb, taken in own.items():
        words = [word for option in sorted(taken) for word in (option, *options[option])]
        assert log(verb, data, *words, expect=None).code != 2, (verb, words)


def test_words_that_do_not_fit():
    data = filled()
    for words in (["compact", "--level", "20"], ["cut", "--at", "0"], ["export", "--since", "yesterday"], ["burn"],
                  ["dump", "--count", "0"]):
        log(words[0], data, *words[1:], expect=2)
    for keep in ("0", "30x", "d", "-1"):
        fr.run("serve", "--data", data, "--log-keep", keep, expect=2)
    for verb in (["serve"], ["ingest", "--from", "jetstream", "-"]):
        assert "needs --archive" in fr.run(*verb, "--data", data, "--log-keep", "30d", expect=2).errors, verb


if __name__ == "__main__":
    fr.main(sys.modules[__name__])

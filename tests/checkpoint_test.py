#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Saved state that is deleted, damaged, cut or of another log: the part falls back to the checkpoint before or to the
log, says so, and every digest is that of an undisturbed directory. A view that is reset, with and without a daemon."""
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))
import freshet as fr  # noqa: E402

VIEWS = ("identity", "graph", "posts", "links")
PARTS = [f"views/{name}" for name in VIEWS] + ["resolver"]
EVENTS = 6000
ROUNDS = int(os.environ.get("FR_ROUNDS", 12))


class Story:
    """Two checkpoints, and events after the second that only the log has."""

    def __init__(self, seed):
        self.seed = seed
        self.path = fr.simulate(80, EVENTS, seed)
        lines = self.path.read_bytes().splitlines(keepends=True)
        self.data = fr.scratch("story")
        for piece in (lines[:EVENTS // 3], lines[EVENTS // 3:EVENTS * 2 // 3], lines[EVENTS * 2 // 3:]):
            fr.ingest(self.data, "-", stdin=b"".join(piece))
        self.digests = fr.digests(self.data)
        self.events = fr.stat(self.data)["events"]

    def copy(self):
        data = fr.scratch()
        shutil.copytree(self.data, data)
        return data


def reopen(data):
    """Opens for writing, which repairs, and says what fell back."""
    result = fr.run("ingest", "--data", data, "--from", "jetstream", "-", stdin=b"")
    return [line for line in result.err.decode().splitlines() if "built again from" in line]


def check(story, data, told):
    assert fr.digests(data) == story.digests, told
    fr.ingest(data, story.path)
    assert fr.stat(data)["events"] == story.events, "the resolver took repetitions for news"


def files_of(folder):
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in ("LOCK", "LOG", "LOG.old"))


def damage(rng, path):
    kind = rng.choice(("flip", "cut", "delete", "zeros"))
    bytes_ = bytearray(path.read_bytes())
    path.unlink()  # a file may have a second name in previous/: that one stays as it is
    if kind == "flip" and bytes_:
        at = rng.randrange(len(bytes_))
        bytes_[at] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del bytes_[rng.randrange(len(bytes_) + 1):]
    elif kind == "zeros":
        at = rng.randrange(len(bytes_) + 1)
        bytes_[at:at + 512] = bytes(len(bytes_[at:at + 512]))
    if kind != "delete":
        path.write_bytes(bytes_)
    return f"{kind} {path}"


def test_each_part_deleted():
    for parts in [[part] for part in PARTS] + [PARTS[:4]]:
        data = story.copy()
        for part in parts:
            shutil.rmtree(data / part)
        told = reopen(data)
        assert {line.split(": ")[1] for line in told} == {Path(part).name for part in parts}, told
        check(story, data, told)


def test_the_checkpoint_before_serves():
    for name in ("identity", "graph", "posts"):
        data = story.copy()
        state = data / "views" / name / "state"
        bytes_ = bytearray(state.read_bytes())
        bytes_[len(bytes_) // 2] ^= 4
        state.write_bytes(bytes_)
        told = reopen(data)
        assert len(told) == 1 and name in told[0] and "checkpoint before" in told[0], told
        check(story, data, told)


def heal(data):
    """A bad block in a store is met when it is read. The resolver's is built again while the events wait; that of links
    is found by verify, and a reset makes it good."""
    fr.ingest(data, story.path)
    rows = fr.run("verify", "--data", data, expect=None).lines()
    broken = [row["view"] for row in rows if not row["ok"]]
    assert broken in ([], ["links"]), rows
    for name in broken:
        fr.run("view", "reset", name, "--data", data)
        reopen(data)


def flip_blocks(folder):
    """In the files of a store, in place, once each: checkpoints share them. Their ends, which say where all else is,
    stay."""
    for path in {path.stat().st_ino: path for path in folder.rglob("*.sst")}.values():
        with open(path, "r+b") as file:
            size = file.seek(0, 2)
            for at in range(40, size - 4096, 512):
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ 1]))


def links_of(daemon):
    """What the daemon says of the most linked targets, and the statuses it says that with."""
    answers = [daemon.get("/links/all/count", target=target) for target in TARGETS]
    return [answer.json if answer.status == 200 else None for answer in answers], {a.status for a in answers}


def test_nothing_new_writes_nothing():
    """An opening and a close, and a checkpoint that is asked for, leave what is saved as it is."""
    data = story.copy()
    reopen(data)

    def saved():
        files = [p for part in PARTS for p in (data / part).rglob("*") if p.name in ("state", "checkpoints")]
        return {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in files}
    before = saved()
    assert len(before) >= len(PARTS) + 3, before
    reopen(data)
    fr.ingest(data, story.path)  # repetitions alone
    assert saved() == before
    check(story, data, "nothing new")


def test_damage_met_by_a_read():
    """Rows of links that rot while a daemon runs: that view alone falls back, by itself; the answers are the same."""
    global TARGETS
    data = story.copy()
    follows = [e["commit"]["record"]["subject"] for e in fr.dump(data)
               if e["kind"] == "commit" and e["commit"].get("collection") == "app.bsky.graph.follow"
               and e["commit"]["operation"] != "delete"]
    TARGETS = sorted(set(follows))[:60]
    with fr.Daemon(data) as daemon:
        def links():
            return daemon.get("/health").json["views"][3]
        assert links()["name"] == "links"
        with fr.Daemon(story.copy()) as sound:
            wanted = links_of(sound)[0]
        flip_blocks(data / "views" / "links")
        daemon.wait_until(lambda: links_of(daemon)[0] and daemon.get("/health").json["fallbacks"], "links to fall back")
        assert daemon.ok("/newest")["feed"], "other views answer"
        daemon.wait_until(lambda: links_of(daemon) == (wanted, {200}), "the same answers")
        assert links()["state"] == "live"
        assert [f["part"] for f in daemon.ok("/health")["fallbacks"]] == ["links"]
    check(story, data, "damage met by a read")


def test_damage_met_by_an_event():
    """Rows of the resolver that rot while a daemon runs: it is built again in the same process, from the log, and what
    was fed meanwhile is still a repetition. Nothing is lost, and the next open finds nothing to mend."""
    data = story.copy()
    with fr.Daemon(data, "--source", "jetstream:-", stdin=subprocess.PIPE) as daemon:
        flip_blocks(data / "resolver")
        daemon.process.stdin.write(story.path.read_bytes())
        daemon.process.stdin.close()

        def mended():
            return "freshet_resolver_mended_total 1\n" in daemon.get("/metrics").body.decode()
        daemon.wait_until(mended, "the resolver to be mended")
        assert daemon.ok("/newest")["feed"], "reads go on"
        daemon.wait_until(lambda: daemon.get("/health").json["state"] == "ok", "writing to go on")
        assert [(f["part"], f["from"]) for f in daemon.get("/health").json["fallbacks"]] == [("resolver", "log")]
        assert "engine.writing" in daemon.log() and "damaged" in daemon.log()
    assert reopen(data) == []
    check(story, data, "damage met by an event")


def test_damage_anywhere():
    for _ in range(ROUNDS):
        data = story.copy()
        done = []
        for _ in range(rng.choice((1, 1, 2, 3))):
            part = data / rng.choice(PARTS)
            done.append(damage(rng, rng.choice(files_of(part))))
        print(done, flush=True)
        told = reopen(data)
        heal(data)
        check(story, data, (done, told))


def test_state_of_another_log_is_refused():
    other = fr.scratch()
    fr.ingest(other, fr.simulate(80, EVENTS, story.seed + 1))
    digests = fr.digests(other)
    for part in PARTS:
        shutil.rmtree(other / part)
        shutil.copytree(story.data / part, other / part)
    told = reopen(other)
    assert len(told) >= 5 and all("another log" in line or "ahead" in line for line in told), told
    assert fr.digests(other) == digests


def listed(data):
    lines = fr.run("view", "list", "--data", data, "--json").out.decode().splitlines()
    return {row["view"]: row for row in map(json.loads, lines)}


def test_list_and_reset():
    data = story.copy()
    reopen(data)
    before = listed(data)
    assert [row["state"] for row in before.values()] == ["saved"] * 4, before
    assert {name: row["digest"] for name, row in before.items()} == fr.digests(data)
    for name in VIEWS:
        fr.run("view", "reset", name, "--data", data)
        assert listed(data)[name]["state"] == "absent"
        check(story, data, reopen(data))
    assert fr.run("view", "reset", "nonsense", "--data", data, expect=None).code == 2
    nowhere = fr.scratch("nowhere")
    for words in (["reset", "posts"], ["list"]):
        result = fr.run("view", *words, "--data", nowhere, expect=4)
        assert str(nowhere) in result.errors and not result.out, result
    after = listed(data)
    assert {name: row["digest"] for name, row in after.items()} == {name: row["digest"] for name, row in before.items()}


def test_reset_in_place():
    data = story.copy()
    token = fr.scratch("token")
    token.write_text("s3cret\n")
    wrong = fr.scratch("wrong")
    wrong.write_text("s3creT\n")
    with fr.Daemon(data, "--admin-token-file", token) as daemon:
        for name in VIEWS:
            answer = fr.run("view", "reset", name, "--data", data, "--admin-token-file", token)
            assert json.loads(answer.out)["state"] == "rebuilding"

            def live():
                health = daemon.get("/health").json
                return all(view["state"] == "live" and view["lag"] == 0 for view in health["views"])
            daemon.wait_until(live, f"{name} is rebuilt")
        assert fr.run("view", "reset", "posts", "--data", data, "--admin-token-file", wrong, expect=None).code == 4
        assert fr.run("view", "reset", "posts", "--data", data, expect=None).code == 4
        assert daemon.get("/admin/view/reset", method="POST", name="posts").status == 403
    check(story, data, "in place")
    with fr.Daemon(data) as daemon:
        assert daemon.get("/admin/view/reset", method="POST", name="posts").status == 404


def test_a_reset_that_was_accepted_outlives_a_kill():
    """What was saved goes, whenever the daemon is killed after it said yes; a file in its folder goes along."""
    token = fr.scratch("token")
    token.write_text("s3cret\n")
    for name in VIEWS:
        data = story.copy()
        reopen(data)
        stain, note = data / "views" / name / "stain", data / "views" / f"{name}.reset"
        with fr.Daemon(data, "--admin-token-file", token) as daemon:
            stain.write_text("x")
            bearer = {"Authorization": "Bearer s3cret"}
            answer = daemon.get("/admin/view/reset", method="POST", headers=bearer, name=name)
            daemon.kill()
            assert answer.status == 200 and answer.json["state"] == "rebuilding", answer
        assert note.exists() or not stain.exists()
        with fr.Daemon(data) as daemon:
            daemon.wait_until(lambda: daemon.ok("/health")["status"] == "ok", f"{name} is built again")
            assert not note.exists() and not stain.exists(), name
        check(story, data, name)


if __name__ == "__main__":
    fr.need_command()
    rng = random.Random(fr.seed())
    story = Story(rng.randrange(1 << 30))
    sys.exit(fr.main(sys.modules[__name__]))

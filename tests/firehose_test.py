# SPDX-License-Identifier: MIT OR Apache-2.0
"""A live firehose that misbehaves, and a daemon that is killed: in the end every record that the hosts give is there,
nothing is there twice, and what did not follow was noticed, said and mended."""
import collections
import copy
import json
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "support"))
import freshet  # noqa: E402
from firehose import Frame, Host, car_blocks, encode, make_car, read_frames  # noqa: E402
from freshet import Daemon, dump, main, scratch, simulate  # noqa: E402

_networks = {}


def network(accounts=25, events=700, of_seed=3):
    """Frames and documents of a story in which nobody leaves."""
    key = accounts, events, of_seed
    if key not in _networks:
        path = simulate(accounts, events, of_seed, kind="frames")
        _networks[key] = read_frames(path), json.loads(Path(str(path) + ".did-docs.json").read_text())
    frames, documents = _networks[key]
    frames = [f for f in frames if f.did.startswith("did:plc:")]
    left = {f.did for f in frames if f.type == "#account" and not f.body["active"]}
    return [f for f in frames if f.did not in left], copy.deepcopy(documents)


def records(events):
    """(did, collection, rkey) -> cid after all of them; nothing may come twice."""
    live, seen = {}, set()
    for event in events:
        if event["kind"] != "commit":
            continue
        commit = event["commit"]
        key = event["did"], commit["collection"], commit["rkey"]
        once = (*key, commit["rev"], commit["operation"])
        assert once not in seen, f"twice: {once}"
        seen.add(once)
        if commit["operation"] == "delete":
            live.pop(key, None)  # its put may be what was lost
        else:
            live[key] = commit["cid"]
    return live


def truth(frames):
    """What is live after a file of these frames."""
    path, data = scratch("frames"), scratch()
    path.write_bytes(b"".join(len(f.raw).to_bytes(4, "little") + f.raw for f in frames))
    freshet.ingest(data, path, kind="frames")
    return records(dump(data))


def follow(data, host, *more, cursor="?cursor=0"):
    return Daemon(data, "--source", host.source + cursor, "--plc", host.url, *more)


def source_of(daemon):
    return daemon.get("/health").json["sources"][0]


def wait_for(daemon, what, true):
    return daemon.wait_until(lambda: true(source_of(daemon)), what)


def settle_at(daemon, seq):
    """The stream is read so far and nobody is out of step."""
    wait_for(daemon, f"cursor {seq}", lambda s: s["cursor"] >= seq and s["desynchronised"] == 0)


def settle(daemon, host):
    settle_at(daemon, host.frames[host.released - 1].seq)


def later_commits(frames):
    """Indexes of commits that another commit of the account follows; not its first, for what comes before an account is
    first seen cannot be missed."""
    last, out = {}, []
    for i, frame in enumerate(frames):
        if frame.type == "#commit":
            if last.get(frame.did) is not None:
                out.append(last[frame.did])
            last[frame.did] = i if frame.did in last else None
    return out


# ---- one thing at a time


def test_a_stream_as_it_should_be():
    frames, documents = network()
    with Host(frames, documents) as host, follow(data := scratch(), host) as daemon:
        host.release(len(frames))
        settle(daemon, host)
        source = source_of(daemon)
        commits = sum(f.type == "#commit" for f in frames)
        assert source["verified"] == commits and source["unverified"] == 0 and source["rejected"] == 0, source
        assert source["repaired"] == 0 and host.loaded == [], source
        renamed = [f.did for f in frames if f.type == "#identity"]
        for did in set(host.resolved):
            assert host.resolved.count(did) <= 1 + renamed.count(did), "a document was asked for twice"
        metrics = daemon.get("/metrics").body.decode()
        assert "freshet_source_verified_total{" in metrics and "freshet_source_desynchronised{" in metrics
        daemon.stop()
        assert records(dump(data)) == truth(frames)
        with follow(data, host) as again:  # nothing new
            wait_for(again, "the stream", lambda s: s["state"] == "streaming")
            settle(again, host)
            assert source_of(again)["rejected"] == 0
            again.stop()
        assert host.cursors[-1] >= frames[-1].seq - 1, "it resumed far back"
        assert records(dump(data)) == truth(frames)


def with_trouble(change, code, repaired=1, rejected=1):
    """One frame is changed on the wire: its account is noticed, named and mended."""
    frames, documents = network()
    with Host(frames, documents) as host, follow(data := scratch(), host) as daemon:
        at = change(host, frames)
        host.release(len(frames))
        wait_for(daemon, "a repair", lambda s: s["repaired"] >= repaired)
        settle(daemon, host)
        source = source_of(daemon)
        assert rejected is None or source["rejected"] == rejected, source
        assert source["repaired"] == repaired, source
        assert set(host.loaded) == {frames[at].did}, host.loaded
        log = daemon.log()
        assert code in log and "desynchronised" in log and "repaired" in log, log[-2000:]
        daemon.stop()
        assert records(dump(data)) == truth(frames)


def test_a_lost_commit():
    def lose(host, frames):
        at = later_commits(frames)[40]
        host.wire[at] = None
        return at
    with_trouble(lose, "desynchronised", rejected=0)


def change_blocks(frame, where):
    """Flips a bit of the signature, or of a block."""
    raw = bytearray(frame.raw)
    longest = max((block for _, block in car_blocks(frame.body["blocks"])[0]), key=len)
    at = raw.rfind(b"csig\x58\x40") + 20 if where == "signature" else raw.find(longest) + len(longest) // 2
    raw[at] ^= 1
    return bytes(raw)


def test_a_damaged_block():
    def damage(host, frames):
        at = later_commits(frames)[30]
        host.wire[at] = change_blocks(frames[at], "block")
        return at
    with_trouble(damage, "car-hash")


def test_the_last_commit_of_an_account_is_damaged():
    """Nothing follows that would show the hole."""
    def damage(host, frames):
        at = max(i for i, f in enumerate(frames) if f.type == "#commit")
        host.wire[at] = change_blocks(frames[at], "block")
        return at
    with_trouble(damage, "car-hash")


def test_the_last_commit_of_an_account_is_no_frame():
    """As the server has it: the connection is dropped once, then it is left out, and its account loaded."""
    def append(host, frames):
        at = max(i for i, f in enumerate(frames[:-1]) if f.type == "#commit"
                 and f.did not in [g.did for g in frames[i + 1:]])
        host.wire[at] = frames[at].raw + b"\x00"
        return at
    with_trouble(append, "frame-cbor")


def test_a_commit_too_big():
    def empty(host, frames):
        at = later_commits(frames)[20]
        host.wire[at] = frames[at].rebuilt(blocks=b"", tooBig=True, ops=[])
        return at
    with_trouble(empty, "frame-blocks")


def test_operations_that_are_not_in_the_tree():
    def lie(host, frames):
        at = next(i for i in later_commits(frames) if frames[i].body["ops"])
        ops = copy.deepcopy(frames[at].body["ops"])
        ops[0]["path"] = ops[0]["path"][:-1] + ("2" if ops[0]["path"][-1] != "2" else "3")
        host.wire[at] = frames[at].rebuilt(ops=ops)
        return at
    with_trouble(lie, "inv-", rejected=None)


def test_an_account_that_was_deleted_and_is_back():
    """With the repository that it had: of that nothing is in our answers any more, and its next commit, which follows
    on the last one, does not bring it."""
    story, documents = network()
    of_did = collections.Counter(f.did for f in story if f.type == "#commit")
    did = of_did.most_common(1)[0][0]
    own = [i for i, f in enumerate(story) if f.did == did and f.type == "#commit"]
    at = own[len(own) // 2]
    gone = {"did": did, "time": story[at].body["time"], "seq": 0, "active": False, "status": "deleted"}
    back = {"did": did, "time": story[at].body["time"], "seq": 0, "active": True}
    said = [Frame(encode({"op": 1, "t": "#account"}) + encode(body)) for body in (gone, back)]
    frames = story[:at + 1] + said + story[at + 1:]
    frames = [Frame(f.rebuilt(seq=i + 1)) for i, f in enumerate(frames)]
    with Host(frames, documents) as host, follow(data := scratch(), host) as daemon:
        host.release(at + 1)
        blocks, root = dict(host.blocks[did]), host.roots[did]
        host.release(1)
        settle(daemon, host)
        host.blocks[did], host.roots[did] = blocks, root
        host.release(len(frames))
        wait_for(daemon, "a repair", lambda s: s["repaired"] == 1)
        settle(daemon, host)
        daemon.stop()
        assert host.loaded == [did], host.loaded
        events = dump(data)
        deleted = next(i for i, e in enumerate(events) if e["kind"] == "account" and e["did"] == did
                       and e["account"].get("status") == "deleted")
        now = {key: cid for key, cid in records(events[deleted:]).items() if key[0] == did}
        assert now == {key: cid for key, cid in truth(story).items() if key[0] == did}


def test_a_host_that_rests_holds_nobody_up():
    """It wants to be left alone for an hour, and more of its accounts wait than there are threads: those of others are
    mended meanwhile, and it is asked once."""
    frames, documents = network()
    with Host(frames, documents) as host, Host([], {}) as busy:
        def rest(request, did):
            busy.loaded.append(did)
            return busy.send(request, 429, b"{}", [("Retry-After", "3600")])
        busy.get_repo = rest
        lost = {frames[at].did: at for at in later_commits(frames)}
        sick = sorted(lost, key=lost.get)[:5]
        for did in sick:
            host.wire[lost[did]] = None
        for did in sick[:4]:
            documents[did]["service"][0]["serviceEndpoint"] = busy.url
        with follow(scratch(), host) as daemon:
            host.release(len(frames))
            wait_for(daemon, "the repair of the last", lambda s: s["repaired"] == 1 and s["desynchronised"] == 4)
            assert host.loaded == sick[4:] and len(busy.loaded) == 1, (host.loaded, busy.loaded)
            assert "repo-busy" in daemon.log()
            daemon.stop()


def moved(stays):
    """Nobody said so: the host that its document named has the account no longer, or as it was, and the document is
    read again."""
    frames, documents = network()
    with Host(frames, documents) as host, Host([], {}) as old:
        said = {f.did: i for i, f in enumerate(frames) if f.type == "#identity"}
        at = [i for i in later_commits(frames) if said.get(frames[i].did, -1) < i][-1]
        did = frames[at].did
        service = documents[did]["service"][0]
        service["serviceEndpoint"] = old.url
        host.wire[at] = None
        for frame in frames[:at] if stays else []:
            if frame.did == did:
                old.take(frame)
        with follow(data := scratch(), host) as daemon:
            host.release(at)
            settle(daemon, host)
            assert did in host.resolved
            service["serviceEndpoint"] = host.url
            host.release(len(frames))
            wait_for(daemon, "the repair", lambda s: s["repaired"] == 1)
            assert old.loaded == [did] and host.loaded == [did], (old.loaded, host.loaded)
            daemon.stop()
        assert records(dump(data)) == truth(frames)


def test_a_repair_of_an_account_that_has_moved():
    moved(stays=False)


def test_a_repair_of_an_account_whose_old_host_goes_on():
    moved(stays=True)


def test_a_sync_in_place_of_commits():
    """The account moved on without commits, and says so."""
    def sync(host, frames):
        at = [i for i in later_commits(frames) if frames[i].body["ops"]][25]
        body = frames[at].body
        commit = next(block for cid, block in car_blocks(body["blocks"])[0] if cid == bytes(body["commit"]))
        car = make_car(bytes(body["commit"]), [(bytes(body["commit"]), commit)])
        host.wire[at] = encode({"op": 1, "t": "#sync"}) + encode(
            {"seq": body["seq"], "did": body["repo"], "rev": body["rev"], "blocks": car, "time": body["time"]})
        return at
    with_trouble(sync, "chain", rejected=0)


def test_a_key_that_turned():
    """The directory knew another key at first: it is asked again, once, and the commit stands."""
    frames, documents = network()
    with Host(frames, documents) as host, follow(data := scratch(), host) as daemon:
        dids = [f.did for f in frames if f.type == "#commit"]
        did, other = dids[0], next(d for d in dids if d != dids[0])
        right = host.documents[did]
        host.documents[did] = {**copy.deepcopy(right), "verificationMethod": [
            {**host.documents[other]["verificationMethod"][0], "id": did + "#atproto", "controller": did}]}
        first = next(i for i, f in enumerate(frames) if f.did == did and f.type == "#commit") + 1
        host.release(first)
        wait_for(daemon, "the refusal", lambda s: s["rejected"] == 1)
        assert "sig-wrong" in daemon.log()
        host.documents[did] = right
        host.release(len(frames))
        settle(daemon, host)
        assert host.resolved.count(did) <= 6, host.resolved.count(did)
        daemon.stop()
        assert records(dump(data)) == truth(frames)


def test_signatures_without_a_directory():
    """Nothing is asked; commits count as unverified."""
    frames, documents = network()
    with Host(frames, documents) as host:
        with Daemon(data := scratch(), "--source", host.source + "?cursor=0") as daemon:
            host.release(len(frames))
            settle(daemon, host)
            source = source_of(daemon)
            assert source["verified"] == 0 and source["unverified"] == sum(f.type == "#commit" for f in frames), source
            assert host.resolved == []
            daemon.stop()
        assert records(dump(data)) == truth(frames)


def test_missed_events_are_listed_again():
    """What the server no longer has, of accounts that are silent ever after: only a new listing finds it. A kill right
    after the news forgets nothing."""
    frames, documents = network()
    with Host(frames, documents) as host:
        done = lambda daemon: daemon.ok("/health")["backfills"][0]["phase"] == "done"  # noqa: E731
        options = ["--backfill", host.url]
        with follow(data := scratch(), host, *options) as daemon:
            host.release(len(frames) // 2)
            daemon.wait_until(lambda: done(daemon), "the first listing")
            settle(daemon, host)
            daemon.kill()
        host.release(len(frames))
        host.oldest, host.lists = frames[-2].seq, False
        with follow(data, host, *options) as daemon:
            wait_for(daemon, "OutdatedCursor", lambda s: s["outdated"] == 1)
            settle(daemon, host)  # our cursor is beyond what was missed
            daemon.kill()
        host.lists = True
        with follow(data, host, *options) as daemon:
            daemon.wait_until(lambda: done(daemon) and records(dump(data)) == truth(frames), "the second listing")
            assert source_of(daemon)["outdated"] == 0
            daemon.stop()
        freshet.verify(data)


def test_cursors_out_of_range():
    frames, documents = network()
    half = len(frames) // 2
    with Host(frames, documents) as host, follow(data := scratch(), host) as daemon:
        host.release(half)
        settle(daemon, host)
        daemon.kill()
        host.oldest = frames[half + 20].seq
        host.release(len(frames))
        with follow(data, host) as daemon:
            wait_for(daemon, "OutdatedCursor", lambda s: s["outdated"] == 1)
            settle(daemon, host)
            assert "OutdatedCursor" in daemon.log()
            daemon.stop()
    # another server, its numbers begin anew
    with Host(frames, documents, port=host.port) as host, follow(data, host) as daemon:
        host.release(3)
        # the state stays "streaming" for the moment between the error and the end of its connection
        wait_for(daemon, "FutureCursor", lambda s: s["outdated"] >= 1 and host.cursors[-1] is None)
        assert "FutureCursor" in daemon.log(), host.cursors
        host.release(len(frames))
        settle(daemon, host)


def test_a_directory_far_away():
    """80 ms away: new accounts one after the other would be 12 a second. They are asked for many at once, each once,
    and a kill -9 among them neither loses nor doubles anything."""
    frames, documents = network(accounts=20000, events=20000)
    first = {}
    for frame in frames:
        if frame.type == "#commit":
            first.setdefault(frame.did, frame)
    frames = list(first.values())
    assert len(frames) > 2000, len(frames)
    with Host(frames, documents) as host:
        host.latency_s = 0.08
        data = scratch()
        host.release(len(frames))
        for _ in range(2):
            daemon = follow(data, host)
            resolved = len(host.resolved)
            daemon.wait_until(lambda: len(host.resolved) > resolved + 300, "some accounts")
            daemon.kill()
        while host.at_once != 0:  # requests of who was killed
            time.sleep(0.1)
        host.resolved.clear()
        with follow(data, host) as daemon:
            settle(daemon, host)
            source = source_of(daemon)
            assert source["rejected"] == source["unverified"] == source["repaired"] == 0, source
            assert max(collections.Counter(host.resolved).values()) == 1, "a document was asked for twice"
            assert 16 <= host.at_once_most <= 32, host.at_once_most
            print(f"{len(frames)} accounts, {host.at_once_most} requests at once")
            daemon.stop()
        assert records(dump(data)) == truth(frames)
        freshet.verify(data)


def test_a_directory_that_is_busy_then_gone():
    """Busy for a moment: the stream waits, and nobody falls out of step. Gone for long: who is known goes on, who is
    not falls out of step, and is mended when it is back."""
    frames, documents = network(accounts=60, events=900)
    third = len(frames) // 3
    with Host(frames, documents) as host, follow(data := scratch(), host) as daemon:
        host.directory_status = 429
        host.release(third)
        daemon.wait_until(lambda: host.refused >= 2, "requests that are refused")
        host.directory_status = 200
        settle(daemon, host)
        source = source_of(daemon)
        assert source["rejected"] == source["repaired"] == 0, source
        host.directory_status, host.retry_after_s = 503, 600
        known = {f.did for f in frames[:third] if f.type == "#commit"}
        late = {f.did for f in frames[third:] if f.type == "#commit"} - known
        assert late, "everybody was seen before"
        refused = host.refused
        host.release(len(frames))
        wait_for(daemon, "the end of the stream", lambda s: s["cursor"] >= frames[-1].seq)
        source = source_of(daemon)
        assert source["desynchronised"] == len(late), (source, len(late))
        assert source["unverified"] == 0 and host.refused <= refused + 30, (source, host.refused)
        daemon.stop()
        host.directory_status = 200
        with follow(data, host) as again:  # who rests 600 s would not ask before
            wait_for(again, "the repairs", lambda s: s["repaired"] == len(late) and s["desynchronised"] == 0)
            again.stop()
        assert records(dump(data)) == truth(frames)


def test_frames_of_a_file_with_a_directory():
    frames, documents = network()
    path = scratch("frames")
    path.write_bytes(b"".join(len(f.raw).to_bytes(4, "little") + f.raw for f in frames))
    with Host(frames, documents) as host:
        report = freshet.ingest(scratch(), path, kind="frames", extra=["--plc", host.url]).report
        assert report["rejected"] == report["unverified"] == 0 and report["appended"] == report["read"], report
        assert sorted(host.resolved) == sorted({f.did for f in frames if f.type == "#commit"}), host.resolved
        away = freshet.ingest(scratch(), path, kind="frames", extra=["--plc", "http://localhost:1"])
        assert away.report["rejected"] > 0 and "did-unreachable" in away.errors, away
        freshet.ingest(scratch(), path, kind="frames", extra=["--plc", "nonsense"], expect=2)


# ---- everything at once


def test_troubles_and_kills():
    rng = random.Random(freshet.seed())
    frames, documents = network(accounts=40, events=2500, of_seed=rng.randrange(1 << 30))
    expected = truth(frames)
    with Host(frames, documents, rng) as host:
        host.troubles = 0.1
        for at in rng.sample(later_commits(frames), 25):
            host.wire[at] = rng.choice((None, change_blocks(frames[at], "signature"),
                                        change_blocks(frames[at], "block"), frames[at].raw[:-9],
                                        frames[at].rebuilt(blocks=b"", ops=[])))
        for at in rng.sample(range(len(frames) - 1), 25):  # out of order
            host.wire[at], host.wire[at + 1] = host.wire[at + 1], host.wire[at]
        data, kills = scratch(), 0
        while host.released < len(frames):
            daemon = follow(data, host)
            until = time.monotonic() + rng.uniform(0.1, 2)
            while time.monotonic() < until:
                host.release(rng.randrange(60))
                time.sleep(rng.uniform(0, 0.1))
            daemon.kill()
            kills += 1
        host.troubles = 0
        with follow(data, host) as daemon:
            settle(daemon, host)
            print(f"{kills} kills, {len(host.cursors)} connections, {len(host.loaded)} loads")
            daemon.stop()
        assert records(dump(data)) == expected
        freshet.verify(data)


if __name__ == "__main__":
    sys.exit(main(sys.modules[__name__]))

# SPDX-License-Identifier: MIT OR Apache-2.0
"""Backfills of a network on loopback that misbehaves: what is sound is complete, the rest is counted by reason, hosts
are not asked too often, and kill -9 at any moment costs nothing."""
import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "support"))
import atproto  # noqa: E402
import freshet  # noqa: E402
from atnet import Net, closed_port  # noqa: E402
from freshet import Daemon, dump, live_records, main, run, scratch, simulate  # noqa: E402

_cars = {}


def network(accounts=60, events=600, hosts=4, page=1000):
    if (accounts, events) not in _cars:
        _cars[accounts, events] = simulate(accounts, events, 5, kind="car")
    return Net(_cars[accounts, events], hosts, page)


def fast(net, *more):
    """Options for a network that is ours alone."""
    return ["--backfill", net.relay.url, "--plc", net.plc.url, "--backfill-rate", 500, "--plc-rate", 2000, *more]


def status_of(data):
    return run("backfill", "status", "--data", data, "--json").report


def backfill(data, options, expect=0):
    run("ingest", "--data", data, *options, expect=expect)
    return status_of(data)


def expected_records(net, dids):
    folder = scratch("expected")
    folder.mkdir()
    for did in dids:
        (folder / f"{did.replace(':', '_')}.car").write_bytes(net.accounts[did].car)
    data = scratch()
    freshet.ingest(data, folder, kind="car")
    return live_records(dump(data))[0]


def check_complete(net, data, dids):
    """Exactly these accounts, each record once."""
    events = dump(data)
    live, synced = live_records(events)
    assert set(synced) == set(dids), (len(synced), len(dids))
    assert set(synced.values()) <= {1}, "an account was loaded twice into the log"
    assert live == expected_records(net, dids)
    puts = [(e["did"], e["commit"]["collection"], e["commit"]["rkey"]) for e in events if e["kind"] == "commit"]
    assert len(puts) == len(set(puts)), "a record came twice"


def test_whole_network():
    with network(page=25) as net:
        data = scratch()
        status = backfill(data, fast(net))
        assert status["listing_complete"] and status["phase"] == "done", status
        assert status["listed"] == status["done"] == len(net.accounts), status
        assert status["pending"] == status["failed"] == 0 and status["host_count"] == 4, status
        assert status["bytes"] == sum(len(a.car) for a in net.list())
        assert len(net.of("getRepo")) == len(net.accounts)
        assert len(net.of("listRepos")) == -(-len(net.accounts) // 25)
        check_complete(net, data, net.accounts)
        freshet.verify(data)


def test_a_pds_answers_for_itself():
    with network(hosts=2) as net:
        data = scratch()
        own = [a.did for a in net.list() if a.host == "pds1"]
        report = run("ingest", "--data", data, "--backfill", net.hosts["pds1"].url + "/", "--backfill-rate", 500).report
        assert report["unverified"] == len(own), report  # nobody tells a key
        check_complete(net, data, own)
        assert not net.of("document") and not net.of("getRepo", "pds0")


def test_documents_from_a_file():
    with network() as net:
        data, documents = scratch(), scratch("docs.json")
        documents.write_text(json.dumps({a.did: a.document for a in net.list()}))
        run("ingest", "--data", data, "--backfill", net.relay.url, "--did-docs", documents, "--backfill-rate", 500)
        check_complete(net, data, net.accounts)
        assert not net.of("document")


def test_every_fault():
    with network() as net:
        accounts = net.list()
        temporary = [429, 500, 503, "cut", "damaged", "hang"]
        final = {"RepoTakendown": "takendown", "RepoSuspended": "suspended", "RepoDeactivated": "deactivated",
                 "RepoNotFound": "not-found", "MethodNotImplemented": "refused", "cut": "damaged",
                 "damaged": "damaged", 502: "unreachable"}
        for account, fault in zip(accounts, temporary):
            account.faults = [fault]
        broken = accounts[10:]
        reasons = {}

        def breaks(reason):
            account = broken.pop(0)
            reasons[account.did] = reason
            return account
        for always, reason in final.items():
            breaks(reason).always = always
        breaks("no-document").document = None
        wrong_key = breaks("signature")
        wrong_key.document["verificationMethod"] = [
            {**m, "publicKeyMultibase": n["publicKeyMultibase"]} for m, n in
            zip(wrong_key.document["verificationMethod"], accounts[0].document["verificationMethod"])]
        breaks("wrong-did").car = accounts[0].car
        for status in ("takendown", "suspended", "deactivated", "deleted"):
            account = breaks(status)
            account.listed_as = {"active": False, "status": status}
            account.always = "InvalidRequest"  # nobody may ask
        breaks("unreachable").document["service"][0]["serviceEndpoint"] = f"http://127.0.0.1:{closed_port()}"
        broken.pop(0).listed_as = {"active": False, "status": "desynchronized"}  # says nothing of the host's copy
        net.plc_faults, net.list_faults = [500, 429, 500], [429, 500]
        data = scratch()
        status = backfill(data, fast(net, "--backfill-patience", 6))
        wanted = {}
        for reason in reasons.values():
            wanted[reason] = wanted.get(reason, 0) + 1
        assert {k: v for k, v in status["failed_by_reason"].items() if v} == wanted, status
        assert status["done"] == len(accounts) - len(reasons), status
        check_complete(net, data, [a.did for a in accounts if a.did not in reasons])
        asked = {r.did for r in net.of("getRepo")}
        assert not any(a.listed_as.get("status") in ("takendown", "deleted") and a.did in asked for a in accounts)
        tries = sum(r.did == a.did for r in net.of("getRepo") for a in accounts if a.always == "damaged")
        assert tries == 5, tries


def test_accounts_that_move_meanwhile():
    """The document that located one is from before its move, and the host that it names has it no longer."""
    with network(hosts=2) as net:
        movers = net.list()[::7]
        for account in movers:
            account.leaves_for = "pds1" if account.host == "pds0" else "pds0"
        data = scratch()
        status = backfill(data, fast(net))
        assert status["done"] == len(net.accounts), status
        check_complete(net, data, net.accounts)
        for account in movers:
            assert len({r.host for r in net.of("getRepo") if r.did == account.did}) == 2
        assert len(net.of("document")) == len(net.accounts) + len(movers)


def test_a_host_that_is_away_for_a_while():
    """A small one, whose proxy answers for it: its account is not given up after five tries."""
    with network(accounts=8, events=60, hosts=2) as net:
        lone = net.list()[0]
        for account in net.list()[1:]:
            net.move(account, "pds1")
        net.move(lone, "pds0")
        lone.faults = [502] * 5
        status = backfill(scratch(), fast(net))
        assert status["done"] == len(net.accounts), status
        times = [r.at for r in net.of("getRepo", "pds0")]
        assert len(times) == 6 and times[5] - times[4] > 6, times


def test_the_directory_is_away_at_a_new_start():
    """Accounts whose host was known before a kill wait for the directory like those whose host was not."""
    with network(hosts=2) as net:
        data, gate = scratch(), threading.Event()
        for account in net.list():
            account.gate = gate
        daemon = Daemon(data, *fast(net))
        daemon.wait_until(lambda: len(net.of("document")) == len(net.accounts), "the documents")
        time.sleep(0.3)
        daemon.kill()
        net.plc_faults = [503] * 1000000
        gate.set()
        with Daemon(data, *fast(net)) as daemon:
            asked = len(net.of("document"))
            time.sleep(3)
            status = status_of(data)
            assert status["failed"] == 0 and status["pending"] == len(net.accounts), status
            assert len(net.of("document")) - asked < 40, "the directory is hammered"
            net.plc_faults = []
            daemon.wait_until(lambda: daemon.ok("/health")["backfills"][0]["phase"] == "done", "the backfill")
            daemon.stop()
        check_complete(net, data, net.accounts)


def gone(first, count):
    return [{"did": f"did:plc:gone{i}", "active": False, "status": "deleted"} for i in range(first, first + count)]


def listing(pages, expect=0, headers=()):
    """A backfill of a relay that lists so; the requests it took, and what came of it."""
    with network(hosts=1) as net:
        net.pages, net.list_headers = pages, headers
        data = scratch()
        result = run("ingest", "--data", data, *fast(net), expect=expect, timeout=60)
        return net.of("listRepos"), status_of(data), result


def test_more_than_a_page_and_then_nonsense():
    asked, status, _ = listing(lambda cursor: {"repos": [*gone(0, 1000), {"did": "nonsense"}]})
    assert len(asked) == 1 and status["listed"] == 1000 and status["listing_complete"], (len(asked), status)


def test_the_last_page_has_a_cursor():
    asked, status, _ = listing(lambda cursor: {"repos": [] if cursor else gone(0, 5), "cursor": "5"})
    assert len(asked) == 2 and status["listed"] == 5 and status["listing_complete"], (len(asked), status)


def test_a_listing_that_goes_round():
    after = {None: "a", "a": "b", "b": "c", "c": "d", "d": "b"}
    asked, status, result = listing(lambda cursor: {"repos": gone(0, 1), "cursor": after[cursor]}, expect=None)
    assert result.code == 1 and "listRepos" in result.errors, result
    assert len(asked) < 20 and not status["listing_complete"], (len(asked), status)


def test_empty_pages_are_asked_for_slowly():
    def pages(cursor):
        at = int(cursor or 0)
        return {"repos": gone(0, 1)} if at == 3 else {"repos": [], "cursor": str(at + 1)}
    asked, status, _ = listing(pages)
    gaps = [b.at - a.at for a, b in zip(asked, asked[1:])]
    assert status["listed"] == 1 and len(asked) == 4 and min(gaps) > 0.4, gaps


def test_a_listing_that_cannot_be_had_is_told():
    with network(hosts=1) as net:
        net.list_faults = [500, 500]
        with Daemon(scratch(), *fast(net)) as daemon:
            daemon.wait_until(lambda: daemon.ok("/health")["backfills"][0]["phase"] == "done", "the backfill")
            assert daemon.log().count("listRepos: refused") == 2, daemon.log()
            daemon.stop()


def test_a_listing_that_is_rationed():
    asked, status, _ = listing(lambda cursor: {"repos": gone(0, 1)} if cursor else {"repos": gone(1, 1), "cursor": "1"},
                               headers=[("RateLimit-Remaining", "0"), ("RateLimit-Reset", "2")])
    assert status["listed"] == 2 and asked[1].at - asked[0].at > 1.5, asked


def test_polite():
    """10 a second, 4 at once, and silence after a Retry-After."""
    with network(accounts=30, events=60, hosts=1) as net:
        data = scratch()
        net.list()[12].faults = [429]
        run("ingest", "--data", data, "--backfill", net.relay.url, "--plc", net.plc.url)
        times = [r.at for r in net.of("getRepo", "pds0")]
        assert len(times) == len(net.accounts) + 1
        assert net.busiest_second("pds0") <= 12, net.busiest_second("pds0")  # 10, and what a busy machine held up
        assert net.hosts["pds0"].busiest <= 4
        gaps = [b - a for a, b in zip(times, times[1:])]
        assert max(gaps) > 1.5, max(gaps)
        check_complete(net, data, net.accounts)


def test_kill_and_resume():
    """The daemon is killed at random moments: in the end all is there, and nothing twice."""
    rng = random.Random(freshet.seed())
    with network(accounts=120, events=2400, page=20) as net:
        for account in net.list():
            if rng.random() < 0.2:
                account.faults = [rng.choice([500, "cut", "hang", "damaged"])]
        data = scratch()
        progress, kills, options = [], 0, fast(net, "--backfill-rate", 8)
        while True:
            daemon = Daemon(data, *options)
            if kills == 8:
                break
            time.sleep(rng.random() * 0.8)
            daemon.kill()
            kills += 1
            status = status_of(data) if list((data / "backfill").glob("*.journal")) else None
            if status is not None:
                progress.append(status["pending"])
                assert status["done"] + status["held"] + status["pending"] + status["failed"] == status["listed"]
        daemon.wait_until(lambda: daemon.ok("/health")["backfills"][0]["phase"] == "done", "the backfill")
        daemon.stop()
        status = status_of(data)
        assert status["done"] + status["held"] == status["listed"] == len(net.accounts), status
        check_complete(net, data, net.accounts)
        freshet.verify(data)
        # only what was in flight at a kill is asked for again: at most every worker's download
        again = sum(a.served - 1 for a in net.list())
        assert again <= kills * 16, again
        for host in net.hosts:
            assert net.busiest_second(host) <= 8 + 8 + 2, net.busiest_second(host)  # a new start within the second
    print(f"     {kills} kills, with {progress} accounts to come; {again} repositories asked for again")


def test_what_is_held_is_not_loaded():
    with network() as net:
        data = scratch()
        backfill(data, fast(net))
        first = len(net.of("getRepo"))
        assert backfill(data, fast(net))["done"] == len(net.accounts)  # a finished backfill is finished
        assert len(net.of("listRepos")) == 1 and len(net.of("getRepo")) == first
        assert run("backfill", "retry", "--data", data, "--all").report == {"retried": len(net.accounts)}
        status = backfill(data, fast(net))
        assert status["held"] == len(net.accounts) and status["done"] == 0, status
        assert len(net.of("listRepos")) == 2 and len(net.of("getRepo")) == first
        check_complete(net, data, net.accounts)


def test_retry():
    with network() as net:
        data = scratch()
        sick, lost = net.list()[:2]
        sick.always, lost.document, document = "RepoDeactivated", None, lost.document
        assert backfill(data, fast(net))["failed"] == 2
        sick.always = None
        assert run("backfill", "retry", "--data", data).report == {"retried": 2}
        status = backfill(data, fast(net))  # without a daemon: the next start
        assert status["failed_by_reason"]["no-document"] == 1 == status["failed"], status
        lost.document = document
        with Daemon(data, *fast(net)) as daemon:
            daemon.wait_until(lambda: daemon.ok("/health")["backfills"][0]["phase"] == "done", "the backfill")
            assert daemon.ok("/ready") == {"ready": True, "seq": daemon.ok("/ready")["seq"]}
            run("backfill", "retry", "--data", data)  # beside one: within a second
            daemon.wait_until(lambda: daemon.ok("/health")["backfills"][0]["failed"] == 0, "the retry")
            daemon.wait_until(lambda: daemon.ok("/health")["backfills"][0]["phase"] == "done", "the end")
        check_complete(net, data, net.accounts)


def test_a_new_listing_is_not_taken_back():
    with network(accounts=6, events=30) as net:
        data = scratch()
        net.list()[0].always = "RepoDeactivated"
        assert backfill(data, fast(net))["failed"] == 1
        for more in (["--all"], []):
            run("backfill", "retry", "--data", data, *more)
        backfill(data, fast(net))
        assert len(net.of("listRepos")) == 2


def test_a_kill_forgets_no_request():
    """A new listing is asked for while downloads hang: it begins when they are over, or after a kill."""
    with network(hosts=1) as net:
        data, gate = scratch(), threading.Event()
        for account in net.list():
            account.gate = gate
        with Daemon(data, *fast(net)) as daemon:
            daemon.wait_until(lambda: net.of("getRepo"), "a download")
            run("backfill", "retry", "--data", data, "--all")
            time.sleep(1.5)  # it was seen
            daemon.kill()
        gate.set()
        with Daemon(data, *fast(net)) as daemon:
            daemon.wait_until(lambda: daemon.ok("/health")["backfills"][0]["phase"] == "done", "the backfill")
            daemon.stop()
        assert len(net.of("listRepos")) == 2, len(net.of("listRepos"))
        assert not list((data / "backfill").glob("*.retry"))
        check_complete(net, data, net.accounts)


def commit(did, rev, operation, collection, rkey, record=None, at=0):
    value = {"rev": rev, "operation": operation, "collection": collection, "rkey": rkey}
    if record is not None:
        value |= {"record": record, "cid": atproto.cid_of(record)}
    return {"did": did, "time_us": at or 1700000000000000, "kind": "commit", "commit": value}


def test_what_a_cut_took_is_loaded_again():
    with network(accounts=20) as net:
        data = scratch()
        backfill(data, fast(net))
        whole = len(dump(data))
        half = run("log", "cut", "--data", data, "--at", whole // 2, "--yes")
        assert b"listed again" in half.err, half.err
        assert len(dump(data)) < whole
        before = len(net.of("getRepo"))
        status = backfill(data, fast(net))
        assert status["phase"] == "done" and status["done"] + status["held"] == len(net.accounts), status
        assert 0 < len(net.of("getRepo")) - before < len(net.accounts), "what the cut left is held"
        check_complete(net, data, net.accounts)


def test_live_events_before_the_repository():
    """Live events arrive while getRepo still waits, and so before an older CAR: deletes stay deleted, updates stay
    updated, what is new stays, and the rest comes with the CAR."""
    with network(hosts=1) as net:
        data, gate = scratch(), threading.Event()
        loaded = expected_records(net, net.accounts)
        owner = max(net.accounts, key=lambda did: sum(1 for k in loaded if k[0] == did))
        keys = sorted(k for k in loaded if k[0] == owner)
        assert len(keys) >= 4, "too small a network"
        net.accounts[owner].gate = gate
        newer = atproto.tid(int(time.time() * 1e6))
        gone, changed = keys[0], keys[1]
        post = {"$type": "app.bsky.feed.post", "text": "newer", "createdAt": "2026-01-01T00:00:00.000Z"}
        fresh = (owner, "app.bsky.feed.post", newer)
        lines = [commit(owner, newer, "delete", gone[1], gone[2]),
                 commit(owner, newer, "update", changed[1], changed[2], post),
                 commit(owner, newer, "create", fresh[1], fresh[2], post)]
        daemon = Daemon(data, "--source", "jetstream:-", *fast(net), stdin=subprocess.PIPE)
        daemon.wait_until(lambda: daemon.ok("/health")["backfills"][0]["pending"] == 1, "all but one")
        assert daemon.ok("/ready")["incomplete"] == "backfill"
        assert daemon.get("/links/count", target="at://x", collection="a.b.c", path=".x").headers[
            "freshet-incomplete"] == "backfill"
        seq = daemon.ok("/health")["indexed_through"]["seq"]
        daemon.process.stdin.write("".join(json.dumps(line) + "\n" for line in lines).encode())
        daemon.process.stdin.flush()
        daemon.wait_seq(seq + 3)
        gate.set()
        daemon.wait_until(lambda: daemon.ok("/health")["backfills"][0]["phase"] == "done", "the backfill")
        assert "incomplete" not in daemon.ok("/ready")
        assert "freshet-incomplete" not in daemon.get("/health").headers
        daemon.stop()
        daemon.process.stdin.close()
        live, synced = live_records(dump(data))
        expected = {**loaded, changed: atproto.cid_of(post), fresh: atproto.cid_of(post)}
        del expected[gone]
        assert live == expected
        assert set(synced) == set(net.accounts)
        freshet.verify(data)


def test_a_newer_repository_is_its_differences():
    """M81: of a second CAR exactly the difference to the first is appended, and what it lacks is deleted."""
    old, new = simulate(40, 400, 5, kind="car"), simulate(40, 800, 5, kind="car")
    data = scratch()
    freshet.ingest(data, old, kind="car")
    before, _ = live_records(dump(data))
    first = len(dump(data))
    freshet.ingest(data, new, kind="car")
    events = dump(data)
    after, _ = live_records(events)
    fresh = scratch()
    freshet.ingest(fresh, new, kind="car")
    expected, _ = live_records(dump(fresh))
    kept = {k[0] for k in before if not (new / f"{k[0].replace(':', '_')}.car").exists()}  # deleted since: no new CAR
    expected |= {k: v for k, v in before.items() if k[0] in kept}
    assert after == expected
    wanted = {(k, "delete") for k in before if k not in expected}
    wanted |= {(k, "put") for k, cid in expected.items() if before.get(k) != cid}
    got = [((e["did"], e["commit"]["collection"], e["commit"]["rkey"]),
            "delete" if e["commit"]["operation"] == "delete" else "put")
           for e in events[first:] if e["kind"] == "commit"]
    assert len(got) == len(set(got)) and set(got) == wanted, (len(got), len(wanted))
    assert any(what == "delete" for _, what in got) and any(what == "put" for _, what in got)
    again = freshet.ingest(data, new, kind="car").report
    assert again["appended"] == 0, again


def test_journal_and_options():
    data = scratch()
    assert run("backfill", "status", "--data", data, expect=4).errors
    run("ingest", "--data", data, "--backfill", "ftp://x", expect=2)
    run("backfill", "look", "--data", data, expect=2)
    run("ingest", "--data", data, expect=2)
    with network(hosts=1) as net:
        net.list_faults = [500] * 100
        result = run("ingest", "--data", data, "--backfill", net.relay.url, "--backfill-patience", 1, expect=None)
        assert result.code == 4 and "listRepos" in result.errors, result
        assert status_of(data)["listing_complete"] is False


if __name__ == "__main__":
    main(sys.modules[__name__])

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""/subscribe against `log dump`: replays that go on to follow, filters, both protocols, peers that misbehave."""
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))
import freshet as fr  # noqa: E402
import websocket as ws  # noqa: E402

EVENTS = 3000
DATA = None
DAEMON = None
DUMP = []  # lines of the log, as bytes


def daemon():
    """One over a network that does not grow."""
    global DATA, DAEMON
    if DAEMON is None:
        DATA = fr.scratch()
        fr.ingest(DATA, fr.simulate(40, EVENTS, 7))
        DUMP.extend(fr.run("log", "dump", "--data", DATA).out.splitlines())
        DAEMON = fr.Daemon(DATA)
    return DAEMON


def subscribe(target="", **how):
    client = ws.Client(daemon().port, "/subscribe" + target, timeout=fr.PATIENCE_S, **how)
    assert client.status == 101, (client.status, client.body)
    return client


def refused(target, status, **how):
    client = ws.Client(daemon().port, "/subscribe" + target, **how)
    assert client.status == status, (target, client.status, client.body)
    answer = json.loads(client.body)
    assert answer["error"] and answer["message"], answer
    client.close()
    return answer


def drain(client, last_seq):
    """Messages up to the event of that sequence."""
    out = []
    while True:
        out.append(client.read_message())
        if json.loads(out[-1])["seq"] >= last_seq:
            return out


class Events:
    """Server-sent events from a socket."""

    def __init__(self, port, target, headers=(), receive_buffer=None):
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(fr.PATIENCE_S)
        self.sock.connect(("127.0.0.1", port))
        lines = "".join(f"{k}: {v}\r\n" for k, v in [("Host", "x"), *headers])
        self.sock.sendall(f"GET /subscribe{target} HTTP/1.1\r\n{lines}\r\n".encode())
        self.file = self.sock.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.headers = {}
        while (line := self.file.readline().strip()):
            name, _, value = line.decode().partition(":")
            self.headers[name.lower()] = value.strip()

    def next(self):
        """{"event","id","data"}; None at the end."""
        out = {}
        while True:
            line = self.file.readline()
            if not line:
                return None
            line = line.rstrip(b"\n")
            if not line and "data" in out:
                return out
            if not line:
                out = {}
            elif not line.startswith(b":"):
                name, _, value = line.partition(b": ")
                out[name.decode()] = value if name == b"data" else value.decode()

    def close(self):
        self.file.close()
        self.sock.close()


# ---- what is there ---------------------------------------------------------------------------------------------------

def test_replay_is_the_dump():
    """The same bytes, from any cursor."""
    d = daemon()
    last = len(DUMP)
    for cursor in (0, 1, last // 2, last - 1):
        client = subscribe(f"?cursor={cursor}")
        assert drain(client, last) == DUMP[cursor:], cursor
        client.close()
    assert d.ok("/health")["indexed_through"]["seq"] == last


def test_replay_as_server_sent_events():
    events = Events(daemon().port, "?cursor=10&limit=25", [("Accept", "text/event-stream")])
    assert events.status == 200 and events.headers["content-type"] == "text/event-stream", events.headers
    got = [events.next() for _ in range(25)]
    assert [e["data"] for e in got] == DUMP[10:35]
    assert [int(e["id"]) for e in got] == list(range(11, 36))
    end = events.next()
    assert end["event"] == "end" and json.loads(end["data"])["info"] == {"name": "LimitReached", "cursor": 35}, end
    assert events.next() is None
    events.close()
    resumed = Events(daemon().port, "?cursor=10&limit=1", [("Last-Event-ID", "35")])
    assert resumed.next()["data"] == DUMP[35]
    resumed.close()


def test_limit_ends_a_websocket():
    client = subscribe("?cursor=0&limit=3")
    assert [client.read_message() for _ in range(3)] == DUMP[:3]
    try:
        client.read_message()
        raise AssertionError("a fourth message")
    except ws.Gone as gone:
        assert gone.code == 1000 and gone.reason == "LimitReached cursor=3", gone


def naive(collections=(), dids=(), kinds=()):
    """Lines that pass, by the words of the manual."""
    def passes(event):
        commit = event.get("commit")
        kind = event["kind"]
        names = {kind} | ({"delete" if commit["operation"] == "delete" else "put"} if commit else set())
        of = any(commit["collection"].startswith(c[:-1]) if c.endswith(".*") else commit["collection"] == c
                 for c in collections) if commit else True
        return (not kinds or names & set(kinds)) and (not collections or of) and (not dids or event["did"] in dids)
    return [line for line in DUMP if passes(json.loads(line))]


def test_filters_against_a_naive_one():
    daemon()
    accounts = [json.loads(line)["did"] for line in DUMP[::97]][:5]
    cases = [
        {"collections": ["app.bsky.feed.like"]},
        {"collections": ["app.bsky.feed.*"]},
        {"collections": ["app.bsky.graph.follow", "app.bsky.feed.post"], "kinds": ["commit"]},
        {"dids": accounts},
        {"dids": accounts[:1], "collections": ["app.bsky.*"], "kinds": ["put"]},
        {"kinds": ["delete"]},
        {"kinds": ["identity", "account"]},
        {"kinds": ["sync"]},
        {"collections": ["com.example.none"], "kinds": ["commit"]},
        {"dids": ["did:web:nobody.example"]},
    ]
    for case in cases:
        want = naive(**case)
        query = "".join(f"&{name[:-1]}={value}" for name, values in case.items() for value in values)
        client = subscribe("?cursor=0" + query + (f"&limit={len(want)}" if want else ""))
        got = [client.read_message() for _ in want]
        assert got == want, (case, len(got), len(want))
        if want:
            try:
                client.read_message()
                raise AssertionError(case)
            except ws.Gone as gone:
                assert gone.code == 1000, gone
        client.close()
    assert naive(kinds=["delete"]) and naive(kinds=["identity", "account"]), "the network has deletions and accounts"


def test_handles_stand_for_dids():
    daemon()
    known = [json.loads(line) for line in DUMP if b'"kind":"identity"' in line]
    named = [e for e in known if e["identity"].get("handle")]
    did, handle = named[-1]["did"], named[-1]["identity"]["handle"]
    want = naive(dids=[did])
    client = subscribe(f"?cursor=0&did={handle}&limit={len(want)}")
    assert [client.read_message() for _ in want] == want
    client.close()
    assert refused("?did=nobody-has-this.example", 404)["error"] == "NotFound"


def test_a_time_is_where_to_begin():
    daemon()
    times = [json.loads(line)["time_us"] for line in DUMP]
    for at in (0, 1, len(DUMP) // 3, len(DUMP) - 1):
        first = next(i for i, t in enumerate(times) if t >= times[at])
        client = subscribe(f"?time={times[at]}")
        assert drain(client, len(DUMP)) == DUMP[first:], at
        client.close()
    seconds, micros = divmod(times[500], 1000000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{micros:06}Z"
    client = subscribe(f"?time={text}&limit=1")
    assert json.loads(client.read_message())["time_us"] >= times[500]
    client.close()


def test_a_time_to_come_is_waited_for():
    """Nothing before the first event of that time, whether it passes the filter or not; after that everything."""
    with fr.Feed() as feed:
        feed.write(identity(0), identity(1))
        at = "?time=" + str(identity(100)["time_us"])
        plain = ws.Client(feed.daemon.port, "/subscribe" + at, timeout=fr.PATIENCE_S)
        picky = ws.Client(feed.daemon.port, "/subscribe" + at + "&did=did:web:n4.example", timeout=fr.PATIENCE_S)
        events = Events(feed.daemon.port, at)
        for number in (2, 4, 3, 200, 4000, 5):
            feed.write(identity(number))
        feed.write({**identity(4), "identity": {"did": "did:web:n4.example", "handle": "again.example"}})
        dump = fr.run("log", "dump", "--data", feed.data).out.splitlines()
        assert len(dump) == 9, dump
        assert [plain.read_message() for _ in range(4)] == dump[5:]
        assert [events.next()["data"] for _ in range(4)] == dump[5:]
        assert picky.read_message() == dump[8]
        late = ws.Client(feed.daemon.port, "/subscribe" + at, timeout=fr.PATIENCE_S)
        assert [late.read_message() for _ in range(4)] == dump[5:]
        for client in (plain, picky, events, late):
            client.close()


def test_a_cursor_before_the_log_is_told():
    """The oldest segment is gone, and no archive has it: how much is missed is said, then the rest comes whole."""
    data, lines = fr.scratch(), fr.simulate(40, 2000, 8).read_bytes().splitlines(keepends=True)
    for piece in (lines[:1000], lines[1000:]):
        fr.ingest(data, "-", stdin=b"".join(piece))
        fr.run("log", "seal", "--data", data)
    dump = fr.run("log", "dump", "--data", data).out.splitlines()
    (data / "log" / "0000000001.frseal").unlink()
    first = fr.stat(data)["first_seq"]
    rest = fr.run("log", "dump", "--data", data, "--from", str(first)).out.splitlines()
    assert 1 < first and rest == dump[first - 1:]
    with fr.Daemon(data) as server:
        client = ws.Client(server.port, "/subscribe?cursor=10", timeout=fr.PATIENCE_S)
        told = json.loads(client.read_message())
        assert told["kind"] == "info" and told["info"]["name"] == "OutdatedCursor", told
        assert told["info"]["missed"] == first - 11 and told["info"]["cursor"] == first - 1, told
        assert drain(client, first + len(rest) - 1) == rest
        client.close()
        events = Events(server.port, "?cursor=10")
        told = events.next()
        assert told["event"] == "info" and b"OutdatedCursor" in told["data"], told
        assert json.loads(events.next()["data"])["seq"] == first
        events.close()
        for query, missed in (("cursor=10&did=did:web:nobody.example", first - 11), ("time=1", first - 1),
                              ("time=1&did=did:web:nobody.example", first - 1)):  # told where nothing passes, too
            client = ws.Client(server.port, f"/subscribe?{query}", timeout=fr.PATIENCE_S)
            told = json.loads(client.read_message())["info"]
            assert told["name"] == "OutdatedCursor" and told["missed"] == missed, (query, told)
            client.close()
        later = json.loads(rest[-1])["time_us"]  # what is gone was older
        client = ws.Client(server.port, f"/subscribe?time={later}", timeout=fr.PATIENCE_S)
        assert client.read_message() in rest
        client.close()


def test_wrong_requests_are_told():
    daemon()
    assert refused(f"?cursor={EVENTS * 10}", 400)["error"] == "FutureCursor"
    for target in ("?cursor=x", "?cursor=-1", "?cursor=1&cursor=2", "?cursor=1&time=5", "?time=yesterday",
                   "?time=2024-13-01T00:00:00Z", "?kind=like", "?collection=post", "?collection=*",
                   "?collection=app.bsky..*", "?did=nobody", "?limit=many", "?cursor=99999999999999999999999",
                   "?did=a%00b", "?collection="):
        assert refused(target, 400)["error"] == "InvalidRequest", target
    refused("?" + "&".join(["collection=a.b.c"] * 101), 400)
    refused("", 426, headers={"Sec-WebSocket-Version": "8"})
    refused("", 400, headers={"Sec-WebSocket-Key": "c2hvcnQ="})
    refused("", 400, headers={"Sec-WebSocket-Key": None})
    for accept, status in (("application/json", 406), ("text/html", 406), ("text/*", 200), ("*/*", 200)):
        events = Events(daemon().port, "?cursor=0&limit=1", [("Accept", accept)])
        assert events.status == status, (accept, events.status)
        events.close()
    assert daemon().get("/subscribe", method="POST").status == 405


# ---- what comes ------------------------------------------------------------------------------------------------------

def test_followers_see_the_log_and_nothing_else():
    """Some begin before, some amid the writing, from all sorts of places; a writer feeds in bursts meanwhile."""
    lines = Path(fr.simulate(60, 12000, fr.seed())).read_bytes().splitlines()
    with fr.Feed() as feed:
        port = feed.daemon.port
        feed.write(*lines[:2000])
        found, threads = {}, []

        def follow(name, target, sse):
            source = Events(port, target) if sse else ws.Client(port, "/subscribe" + target, timeout=fr.PATIENCE_S)
            assert source.status in (101, 200), (source.status, target)
            got = found[name] = []
            while not got or b"did:web:last.example" not in got[-1]:
                got.append(source.next()["data"] if sse else source.read_message())
            source.close()

        def begin(target, sse):
            name = f"{len(threads)} {target} {sse}"
            threads.append(threading.Thread(target=follow, args=(name, target, sse), daemon=True))
            threads[-1].start()

        for at in range(2000, 12000, 500):
            begin("?cursor=0", at % 1000 == 0)
            begin("", at % 1000 == 500)
            begin(f"?cursor={min(at // 2, feed.metrics()['freshet_seq'])}", at % 2000 == 0)
            feed.daemon.process.stdin.write(b"".join(line + b"\n" for line in lines[at:at + 500]))
            feed.daemon.process.stdin.flush()
            time.sleep(0.02)
        feed.lines += 10000
        time.sleep(0.3)  # the last to begin live are there
        feed.settle()
        last = feed.write({"did": "did:web:last.example", "time_us": 1, "kind": "identity",
                           "identity": {"did": "did:web:last.example", "handle": "last.example"}})
        for thread in threads:
            thread.join(fr.PATIENCE_S)
            assert not thread.is_alive(), "a follower did not see the last event"
        dump = fr.run("log", "dump", "--data", feed.data).out.splitlines()
        assert len(dump) == last, (len(dump), last)
        for name, got in found.items():
            first = json.loads(got[0])["seq"]
            assert got == dump[first - 1:], f"{name}: {len(got)} events from {first} to {last}"
            assert "cursor=0" not in name or first == 1, name


def identity(number):
    did = f"did:web:n{number}.example"
    return {"did": did, "time_us": 1700000000000000 + number, "kind": "identity",
            "identity": {"did": did, "handle": f"n{number}.example"}}


def test_live_filters_and_many_followers():
    with fr.Feed() as feed:
        port = feed.daemon.port
        feed.write(identity(0))
        all_of = [ws.Client(port, "/subscribe", timeout=fr.PATIENCE_S) for _ in range(150)]
        odd = [Events(port, "?did=did:web:n1.example&did=did:web:n3.example") for _ in range(50)]
        for number in range(1, 6):
            feed.write(identity(number))
        dump = fr.run("log", "dump", "--data", feed.data).out.splitlines()
        for client in all_of:
            assert [client.read_message() for _ in range(5)] == dump[1:6]
            client.close()
        for events in odd:
            assert [events.next()["data"] for _ in range(2)] == [dump[1], dump[3]]
            events.close()
        feed.daemon.wait_until(lambda: feed.metrics()["freshet_subscribers"] == 0, "subscribers to be gone")
        assert feed.metrics()["freshet_subscribers_total"] == 200
        assert feed.metrics()["freshet_subscriber_events_total"] == 150 * 5 + 50 * 2
        assert feed.metrics()["freshet_http_connections"] == 1
        feed.write(identity(9))  # and after all had left, one who comes sees what comes
        late = ws.Client(port, "/subscribe", timeout=fr.PATIENCE_S)
        feed.write(identity(10))
        assert json.loads(late.read_message())["did"] == "did:web:n10.example"
        late.close()


def test_the_end_of_the_daemon_is_told():
    with fr.Feed() as feed:
        feed.write(*[identity(n) for n in range(4)])
        client = ws.Client(feed.daemon.port, "/subscribe?cursor=1", timeout=fr.PATIENCE_S)
        events = Events(feed.daemon.port, "?cursor=3")
        assert [e["seq"] for e in client.events(3)] == [2, 3, 4] and events.next()["id"] == "4"
        feed.daemon.process.stdin.close()
        feed.daemon.stop()
        try:
            client.read_message()
            raise AssertionError("a message after the last")
        except ws.Gone as gone:
            assert gone.code == 1001 and gone.reason == "GoingAway cursor=4", gone
        end = events.next()
        assert end["event"] == "end" and json.loads(end["data"])["info"] == {"name": "GoingAway", "cursor": 4}, end
        assert events.next() is None


# ---- peers that misbehave --------------------------------------------------------------------------------------------

def close_code(client):
    try:
        while True:
            client.read_message()
    except ws.Gone as gone:
        return gone.code
    except ConnectionResetError:
        return "reset"


def test_broken_frames_end_only_their_connection():
    def bytes_of(*frames):
        return b"".join(frames)
    cases = {
        "unmasked": (ws.frame(ws.TEXT, b"hi"), 1002),
        "fragmented ping": (ws.frame(ws.PING, b"x", masked=True, fin=False), 1002),
        "long ping": (ws.frame(ws.PING, b"x" * 126, masked=True), 1002),
        "reserved bit": (ws.frame(ws.TEXT, b"x", masked=True, rsv=4), 1002),
        "reserved opcode": (ws.frame(3, b"x", masked=True), 1002),
        "continuation of nothing": (ws.frame(ws.CONTINUATION, b"x", masked=True), 1002),
        "text amid text": (bytes_of(ws.frame(ws.TEXT, b"x", masked=True, fin=False),
                                    ws.frame(ws.TEXT, b"x", masked=True)), 1002),
        "not UTF-8": (ws.frame(ws.TEXT, b"\xff\xfe", masked=True), 1007),
        "large message": (ws.frame(ws.BINARY, b"x" * 5000, masked=True), 1009),
        "claims to be large": (ws.frame(ws.BINARY, b"", masked=True)[:1] + b"\xff" + struct.pack(">Q", 1 << 40)
                               + b"mask" + b"and the first of it", 1009),
        "close of one byte": (ws.frame(ws.CLOSE, b"x", masked=True), None),
        "goodbye": (ws.frame(ws.CLOSE, struct.pack(">H", 1000), masked=True), 1000),
    }
    beside = subscribe("?cursor=0&limit=2000")
    for name, (raw, code) in cases.items():
        client = subscribe()
        client.sock.sendall(raw)
        got = close_code(client)
        assert got == code, (name, got)
        client.close()
    assert [beside.read_message() for _ in range(2000)] == DUMP[:2000]
    beside.close()


def test_frames_in_pieces_and_pings():
    client = subscribe("?cursor=0&limit=5")
    raw = ws.frame(ws.PING, b"are you there", masked=True) + ws.frame(ws.TEXT, b"ignored", masked=True, fin=False) \
        + ws.frame(ws.PING, b"2", masked=True) + ws.frame(ws.CONTINUATION, b" too", masked=True)
    quiet = subscribe()
    for byte in raw:
        quiet.sock.sendall(bytes([byte]))
        time.sleep(0.001)
    assert quiet.read_frame() == (True, ws.PONG, b"are you there")
    assert quiet.read_frame() == (True, ws.PONG, b"2")
    quiet.close()
    assert [client.read_message() for _ in range(5)] == DUMP[:5]
    client.close()
    flood = subscribe()
    flood.sock.settimeout(fr.PATIENCE_S)
    try:
        for _ in range(400):
            flood.sock.sendall(ws.frame(ws.TEXT, b"y" * 1000, masked=True))
        code = close_code(flood)
    except (ConnectionResetError, BrokenPipeError):
        code = "reset"
    assert code in (1008, "reset"), code
    flood.close()


def test_a_slow_reader_gets_everything_and_others_do_not_wait():
    """One that reads a little at a time through a small window; one that never reads; one beside them."""
    daemon()
    asleep = subscribe("?cursor=0", receive_buffer=4096)
    slow = subscribe(f"?cursor=0&limit={len(DUMP)}", receive_buffer=4096)
    got = []
    began = time.monotonic()
    for index in range(len(DUMP)):
        got.append(slow.read_message())
        if index % 500 == 0:
            quick = subscribe("?cursor=0&limit=1000")
            assert [quick.read_message() for _ in range(1000)] == DUMP[:1000]
            quick.close()
            assert daemon().get("/live").status == 200
    assert got == DUMP, time.monotonic() - began
    slow.close()
    asleep.close()


def test_half_requests_and_vanishing_peers():
    for _ in range(30):
        client = subscribe("?cursor=0", receive_buffer=4096)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()  # a reset, amid a replay
    daemon().wait_until(lambda: fr.metrics_of(daemon().get("/metrics").body.decode())["freshet_subscribers"] == 0,
                        "subscribers to be gone")


# ---- other people's clients ------------------------------------------------------------------------------------------

def test_the_websocket_of_node():
    """The WebSocket that Node (22 and later) brings along, or the `ws` package."""
    script = f"""
        const Socket = globalThis.WebSocket ?? require('ws');
        const socket = new Socket('ws://127.0.0.1:{daemon().port}/subscribe?cursor=0&limit=500');
        let out = '';
        socket.onmessage = e => {{ out += e.data + '\\n'; }};
        socket.onclose = e => {{ process.stdout.write(out, () => process.exit(e.code === 1000 ? 0 : 1)); }};
    """
    try:
        done = subprocess.run(["node", "-e", script], capture_output=True, timeout=fr.PATIENCE_S * 2)
    except FileNotFoundError:
        print("skipped: no node")
        return
    if b"Cannot find module 'ws'" in done.stderr:
        print("skipped: this node has no WebSocket")
        return
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == DUMP[:500]


def test_the_websockets_of_python():
    try:
        from websockets.sync.client import connect
    except ImportError:
        print("skipped: no websockets package")
        return
    with connect(f"ws://127.0.0.1:{daemon().port}/subscribe?cursor=0&limit=500", max_size=None) as client:
        assert [line.encode() for line in client] == DUMP[:500]


if __name__ == "__main__":
    fr.main(sys.modules[__name__])

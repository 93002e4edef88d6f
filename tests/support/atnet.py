# SPDX-License-Identifier: MIT OR Apache-2.0
"""A small network on loopback: PDS hosts with repositories, a relay that lists them, a PLC directory.

Repositories and documents come from `freshet simulate --format car`. Each host counts who asks what and when, and
misbehaves as told: an account's `faults` are used up one by one, its `always` stays.
"""
import http.server
import json
import socket
import threading
import time
import urllib.parse

STATUSES = {"takendown": "RepoTakendown", "suspended": "RepoSuspended", "deactivated": "RepoDeactivated"}


class Account:
    def __init__(self, did, car):
        self.did, self.car = did, car
        self.rev = rev_of(car)
        self.host = None
        self.document = None  # None: the directory does not know it
        self.faults = []  # of getRepo: 429, 500, 503, "cut", "damaged", "hang"
        self.always = None  # an XRPC error's name, a number, or one of the words above
        self.listed_as = {}  # over the entry of listRepos
        self.gate = None  # getRepo waits for this event
        self.leaves_for = None  # at its next getRepo it moves to this host, and the one that was asked has it no more
        self.served = 0  # whole repositories given out


class Request:
    def __init__(self, host, method, did):
        self.host, self.method, self.did, self.at = host, method, did, time.monotonic()


def rev_of(car):
    """The rev of the first commit in the bytes: a map's member `rev`, a text of 13 letters."""
    at = car.index(b"\x63rev\x6d") + 5
    return car[at:at + 13].decode()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, net, name):
        self.net, self.name = net, name
        self.busy, self.busiest = 0, 0
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    def handle_error(self, request, address):
        pass  # a client that was killed

    def close(self):
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def give(self, status, body, headers=(), kind="application/json"):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def json(self, status, value, headers=()):
        self.give(status, json.dumps(value).encode(), headers)

    def do_GET(self):
        server, net = self.server, self.server.net
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        method = url.path.rsplit(".", 1)[-1] if url.path.startswith("/xrpc/") else "document"
        with net.lock:
            server.busy += 1
            server.busiest = max(server.busiest, server.busy if method == "getRepo" else 0)
            net.requests.append(Request(server.name, method, query.get("did")))
        try:
            if method == "listRepos":
                self.list_repos(query)
            elif method == "getRepo":
                self.get_repo(net.accounts.get(query["did"]))
            else:
                self.document(urllib.parse.unquote(url.path[1:]))
        finally:
            with net.lock:
                server.busy -= 1

    def document(self, did):
        account = self.server.net.accounts.get(did)
        if self.server.net.plc_faults:
            self.json(self.server.net.plc_faults.pop(0), {"message": "busy"})
        elif account is None or account.document is None:
            self.json(404, {"message": f"DID not registered: {did}"})
        else:
            self.json(200, account.document)

    def list_repos(self, query):
        net = self.server.net
        if net.list_gate is not None:
            net.list_gate.wait(60)
        if net.pages is not None:
            self.json(200, net.pages(query.get("cursor")), net.list_headers)
            return
        if net.list_faults:
            fault = net.list_faults.pop(0)
            self.give(fault, b"busy", [("retry-after", "1")] if fault == 429 else [])
            return
        start = int(query.get("cursor", 0))
        limit = min(int(query["limit"]), net.page)
        known = [a for a in net.accounts.values() if self.server.name in ("relay", a.host)]
        repos = [{"did": a.did, "head": "bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454", "rev": a.rev,
                  "active": True, **a.listed_as} for a in known[start:start + limit]]
        more = start + limit < len(known)
        self.json(200, {"repos": repos, **({"cursor": str(start + limit)} if more else {})})

    def get_repo(self, account):
        if account is None:
            self.json(400, {"error": "RepoNotFound", "message": "not here"})
            return
        if account.gate is not None:
            account.gate.wait(60)
        if account.leaves_for is not None:
            self.server.net.move(account, account.leaves_for)
            account.leaves_for = None
            self.json(400, {"error": "RepoDeactivated", "message": "it has moved"})
            return
        with self.server.net.lock:
            fault = account.faults.pop(0) if account.faults else account.always
        if fault is None:
            with self.server.net.lock:
                account.served += 1
            self.give(200, account.car, kind="application/vnd.ipld.car")
        elif fault == 429:
            self.json(429, {"error": "RateLimitExceeded"}, [("retry-after", "2")])
        elif isinstance(fault, int):
            self.json(fault, {"error": "Busy"})
        elif fault == "cut":
            self.send_response(200)
            self.send_header("content-length", str(len(account.car)))
            self.end_headers()
            self.wfile.write(account.car[:len(account.car) * 2 // 3])
            self.close_connection = True
        elif fault == "damaged":
            self.give(200, account.car[:-9] + bytes([account.car[-9] ^ 1]) + account.car[-8:])
        elif fault == "hang":
            time.sleep(1)
            self.give(200, account.car)
        else:
            self.json(400, {"error": fault, "message": "no"})


class Net:
    def __init__(self, folder, hosts=4, page=1000):
        self.lock = threading.Lock()
        self.requests, self.plc_faults, self.list_faults = [], [], []
        self.list_gate = None
        self.pages, self.list_headers = None, []  # what listRepos answers instead, of a cursor
        self.page = page
        documents = json.loads(folder.with_name(folder.name + ".did-docs.json").read_text())
        self.accounts = {}
        self.plc, self.relay = Server(self, "plc"), Server(self, "relay")
        self.hosts = {f"pds{i}": Server(self, f"pds{i}") for i in range(hosts)}
        for path in sorted(folder.glob("*.car")):
            account = Account(path.stem.replace("_", ":"), path.read_bytes())
            self.accounts[account.did] = account
            account.document = documents[account.did]
            self.move(account, f"pds{len(self.accounts) % hosts}")

    def move(self, account, host):
        account.host = host
        account.document = json.loads(json.dumps(account.document))
        for service in account.document["service"]:
            service["serviceEndpoint"] = self.hosts[host].url

    def list(self):
        return list(self.accounts.values())

    def of(self, method, host=None):
        with self.lock:
            return [r for r in self.requests if r.method == method and host in (None, r.host)]

    def busiest_second(self, host):
        times = [r.at for r in self.of("getRepo", host)]
        return max((sum(1 for t in times if start <= t < start + 1) for start in times), default=0)

    def close(self):
        for server in (self.plc, self.relay, *self.hosts.values()):
            server.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


def closed_port():
    """A port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]

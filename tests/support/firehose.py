# SPDX-License-Identifier: MIT OR Apache-2.0
"""A host on loopback whose firehose misbehaves: subscribeRepos over WebSocket, getRepo, and a PLC directory beside it.

The story is a file of frames. Everything a frame brought so far is what getRepo gives of its account, so a repository
is never older than the stream, and grows with it."""
import base64
import hashlib
import http.server
import json
import random
import select
import socket
import struct
import threading
import time
import urllib.parse

from atproto import cbor

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Link(bytes):
    """A CID in its 36 bytes."""


def decode(data, at=0):
    """One DAG-CBOR item -> (value, where it ends). For bytes that are known to be sound."""
    head, at = data[at], at + 1
    major, size = head >> 5, head & 31
    if 24 <= size <= 27:
        width = 1 << size - 24
        size, at = int.from_bytes(data[at:at + width], "big"), at + width
    if major == 0:
        return size, at
    if major == 1:
        return -1 - size, at
    if major in (2, 3):
        raw = bytes(data[at:at + size])
        return (raw if major == 2 else raw.decode()), at + size
    if major == 4:
        out = []
        for _ in range(size):
            value, at = decode(data, at)
            out.append(value)
        return out, at
    if major == 5:
        out = {}
        for _ in range(size):
            key, at = decode(data, at)
            out[key], at = decode(data, at)
        return out, at
    if major == 6:
        value, at = decode(data, at)
        return Link(value[1:]), at
    return {20: False, 21: True, 22: None}[size], at


def encode(value):
    """Canonical DAG-CBOR of such values."""
    if isinstance(value, Link):
        return b"\xd8\x2a" + encode(b"\0" + bytes(value))
    if isinstance(value, bytes):
        if len(value) < 24:
            return bytes([0x40 | len(value)]) + value
        width = 1 if len(value) < 256 else 2 if len(value) < 65536 else 4
        return bytes([{1: 0x58, 2: 0x59, 4: 0x5a}[width]]) + len(value).to_bytes(width, "big") + value
    if isinstance(value, list):
        return bytes([0x80 | len(value)]) + b"".join(map(encode, value)) if len(value) < 24 else \
            b"\x98" + bytes([len(value)]) + b"".join(map(encode, value))
    if isinstance(value, dict):
        members = sorted(((k.encode(), v) for k, v in value.items()), key=lambda m: (len(m[0]), m[0]))
        return bytes([0xa0 | len(members)]) + b"".join(cbor(k.decode()) + encode(v) for k, v in members)
    return cbor(value)


def varint(value):
    out = b""
    while value >= 128:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def car_blocks(data):
    """[(cid, block)] and the root of a CAR."""
    def take(at):
        value, shift = 0, 0
        while True:
            value, shift, at = value | (data[at] & 127) << shift, shift + 7, at + 1
            if data[at - 1] < 128:
                return value, at
    size, at = take(0)
    header, _ = decode(data, at)
    at, out = at + size, []
    while at < len(data):
        size, at = take(at)
        out.append((bytes(data[at:at + 36]), bytes(data[at + 36:at + size])))
        at += size
    return out, bytes(header["roots"][0])


def make_car(root, blocks):
    header = encode({"roots": [Link(root)], "version": 1})
    out = varint(len(header)) + header
    for cid, block in blocks:
        out += varint(36 + len(block)) + cid + block
    return out


class Frame:
    def __init__(self, raw):
        self.raw = raw
        header, at = decode(raw)
        self.type = header.get("t")
        self.body, _ = decode(raw, at)
        self.seq = self.body.get("seq")
        self.did = self.body.get("repo") or self.body.get("did")

    def rebuilt(self, kind=None, **members):
        """Another body under this header (or one of another kind)."""
        body = {k: v for k, v in {**self.body, **members}.items() if v is not ...}
        return encode({"op": 1, "t": kind or self.type}) + encode(body)


def read_frames(path):
    data, at, out = path.read_bytes(), 0, []
    while at < len(data):
        size = int.from_bytes(data[at:at + 4], "little")
        out.append(Frame(data[at + 4:at + 4 + size]))
        at += 4 + size
    return out


class Host:
    """`wire[i]` is what is sent for frame i (None: it is lost). `released` frames exist so far."""

    def __init__(self, frames, documents, rng=None, port=0):
        self.frames, self.documents, self.rng = frames, documents, rng or random.Random(1)
        self.wire = [f.raw for f in frames]
        self.released = 0
        self.troubles = 0.0     # how often a request or a connection goes wrong
        self.oldest = 0         # a cursor below it is outdated
        self.lock = threading.Lock()
        self.blocks, self.roots, self.revs, self.gone = {}, {}, {}, {}
        self.loaded, self.resolved, self.cursors = [], [], []
        self.latency_s = 0.0    # of the directory
        self.lists = True       # listRepos answers
        self.directory_status, self.retry_after_s, self.refused = 200, 1, 0
        self.at_once, self.at_once_most = 0, 0
        self.stopped = False
        self.changed = threading.Condition(self.lock)
        host = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                host.answer(self)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # who is killed does not say goodbye
        self.port = self.server.server_address[1]
        self.url = f"http://localhost:{self.port}"
        self.source = f"firehose:ws://localhost:{self.port}"
        for document in documents.values():
            for service in document.get("service", []):
                service["serviceEndpoint"] = self.url
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        with self.lock:
            self.stopped = True
            self.changed.notify_all()
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.close()

    def release(self, count):
        """The next frames come to be."""
        with self.lock:
            for frame in self.frames[self.released:self.released + count]:
                self.take(frame)
            self.released = min(len(self.frames), self.released + count)
            self.changed.notify_all()

    def take(self, frame):
        if frame.type in ("#commit", "#sync"):
            blocks, root = car_blocks(frame.body["blocks"])
            self.blocks.setdefault(frame.did, {}).update(blocks)
            self.roots[frame.did] = root
            self.revs[frame.did] = frame.body["rev"]
        if frame.type == "#account":
            status = frame.body.get("status")
            self.gone[frame.did] = None if frame.body["active"] else status or "deactivated"
            if status == "deleted":
                self.blocks.pop(frame.did, None)
                self.roots.pop(frame.did, None)

    # ---- requests

    def answer(self, request):
        url = urllib.parse.urlsplit(request.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if url.path == "/xrpc/com.atproto.sync.subscribeRepos":
            request.close_connection = True
            return self.stream(request, query)
        if self.rng.random() < self.troubles:
            status = self.rng.choice((429, 500, 503))
            return self.send(request, status, b"{}", [("Retry-After", "1")] if status == 429 else [])
        if url.path == "/xrpc/com.atproto.sync.getRepo":
            return self.get_repo(request, query.get("did"))
        if url.path == "/xrpc/com.atproto.sync.listRepos":
            return self.list_repos(request)
        return self.resolve(request, urllib.parse.unquote(url.path[1:]))

    def resolve(self, request, did):
        with self.lock:
            self.at_once += 1
            self.at_once_most = max(self.at_once, self.at_once_most)
        time.sleep(self.latency_s)
        with self.lock:
            self.at_once -= 1
        if self.directory_status != 200:
            self.refused += 1
            return self.send(request, self.directory_status, b"{}", [("Retry-After", str(self.retry_after_s))])
        self.resolved.append(did)
        if did in self.documents:
            return self.send(request, 200, json.dumps(self.documents[did]).encode())
        return self.send(request, 404, b'{"message":"not registered"}')

    def send(self, request, status, body, headers=(), cut=None):
        request.send_response(status)
        for name, value in headers:
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[:cut])
        if cut is not None:
            request.close_connection = True

    def get_repo(self, request, did):
        with self.lock:
            root, blocks = self.roots.get(did), dict(self.blocks.get(did, {}))
            gone = self.gone.get(did)
            self.loaded.append(did)
        names = {"deleted": "RepoNotFound", "takendown": "RepoTakendown", "suspended": "RepoSuspended",
                 "deactivated": "RepoDeactivated"}
        if gone or root is None:
            error = {"error": names.get(gone, "RepoNotFound"), "message": "no"}
            return self.send(request, 400, json.dumps(error).encode())
        car = make_car(root, [(root, blocks.pop(root))] + list(blocks.items()))
        cut = len(car) // 2 if self.rng.random() < self.troubles else None
        return self.send(request, 200, car, [("Content-Type", "application/vnd.ipld.car")], cut)

    def list_repos(self, request):
        with self.lock:
            repos = [{"did": did, "head": "bafyrei", "rev": self.revs[did], "active": not self.gone.get(did)}
                     for did in sorted(self.roots)]
        return self.send(request, 200 if self.lists else 503, json.dumps({"repos": repos}).encode())

    # ---- the stream

    def stream(self, request, query):
        accept = base64.b64encode(hashlib.sha1(request.headers["Sec-WebSocket-Key"].encode() + MAGIC).digest())
        request.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        request.wfile.flush()
        cursor = int(query["cursor"]) if "cursor" in query else None
        self.cursors.append(cursor)
        try:
            self.talk(request.connection, cursor)
        except OSError:
            pass

    def message(self, connection, payload, cut=None):
        size = len(payload)
        head = bytes([0x82]) + (bytes([size]) if size < 126 else b"\x7e" + struct.pack(">H", size) if size < 65536
                                else b"\x7f" + struct.pack(">Q", size))
        connection.sendall((head + payload)[:cut])

    def heard(self, connection):
        """Answers pings; false when the client is gone."""
        while select.select([connection], [], [], 0)[0]:
            data = connection.recv(4096)
            if not data:
                return False
            if data[0] & 15 == 9:
                connection.sendall(b"\x8a\x00")
            if data[0] & 15 == 8:
                return False
        return True

    def talk(self, connection, cursor):
        with self.lock:
            last = self.frames[self.released - 1].seq if self.released else 0
            at = self.released if cursor is None else 0
        if cursor is not None and cursor > last:
            self.message(connection, encode({"op": -1}) + encode({"error": "FutureCursor", "message": "ahead of us"}))
            connection.sendall(b"\x88\x00")
            return time.sleep(0.05)
        if cursor is not None and cursor < self.oldest:
            self.message(connection, encode({"op": 1, "t": "#info"}) + encode({"name": "OutdatedCursor"}))
            cursor = self.oldest
        while at < len(self.frames) and cursor is not None and self.frames[at].seq <= cursor:
            at += 1
        while not self.stopped:
            with self.lock:
                if at >= self.released:
                    self.changed.wait(0.05)
                wire = self.wire[at:self.released]
            if not self.heard(connection):
                return
            for payload in wire:
                at += 1
                if payload is None:
                    continue
                trouble = self.rng.random()
                if trouble < self.troubles / 20:
                    self.message(connection, payload, cut=len(payload) // 2)
                    return
                if trouble < self.troubles / 10:
                    connection.sendall(b"\x82\x03abc")  # no CBOR
                self.message(connection, payload)
                if trouble > 1 - self.troubles / 5:
                    self.message(connection, payload)  # twice

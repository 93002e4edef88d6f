#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The HTTP face from a raw socket: what is refused, what every answer carries, /live /ready /health /metrics, a clean
end, the demo."""
import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "support"))
import freshet as fr  # noqa: E402
from atproto import Writer  # noqa: E402

DAEMON = None


def daemon():
    """One for the whole program, over a small network."""
    global DAEMON
    if DAEMON is None:
        data = fr.scratch()
        fr.ingest(data, fr.simulate(30, 1500, 41))
        DAEMON = fr.Daemon(data)
    return DAEMON


class Reply:
    def __init__(self, raw):
        head, _, self.rest = raw.partition(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").split("\r\n")
        self.status = int(status.split()[1]) if status else 0
        self.headers = {}
        for field in fields:
            name, _, value = field.partition(":")
            self.headers[name.lower()] = value.strip()


def exchange(raw, close=False, timeout=10, port=None):
    """Everything the server says to these bytes until it closes (or, when it need not, until it pauses)."""
    with socket.create_connection(("127.0.0.1", port or daemon().port), timeout=timeout) as s:
        s.sendall(raw)
        out = b""
        s.settimeout(timeout if close else 0.3)
        try:
            while piece := s.recv(65536):
                out += piece
            closed = True
        except socket.timeout:
            closed = False
        except ConnectionResetError:
            closed = True
        return out, closed


def request(head, *fields, body=b""):
    return "\r\n".join([head, *fields, "", ""]).encode("latin-1") + body


HOST = "Host: localhost"
SMUGGLES = {
    "no host": request("GET / HTTP/1.1"),
    "two hosts": request("GET / HTTP/1.1", HOST, "Host: other"),
    "length and coding": request("POST / HTTP/1.1", HOST, "Content-Length: 5", "Transfer-Encoding: chunked",
                                 body=b"0\r\n\r\n"),
    "coding and length": request("POST / HTTP/1.1", HOST, "Transfer-Encoding: chunked", "Content-Length: 5",
                                 body=b"0\r\n\r\n"),
    "two lengths": request("GET / HTTP/1.1", HOST, "Content-Length: 1", "Content-Length: 2", body=b"x"),
    "two equal lengths": request("GET / HTTP/1.1", HOST, "Content-Length: 1", "Content-Length: 1", body=b"x"),
    "length list": request("GET / HTTP/1.1", HOST, "Content-Length: 1, 1", body=b"x"),
    "length is a word": request("GET / HTTP/1.1", HOST, "Content-Length: five"),
    "length is negative": request("GET / HTTP/1.1", HOST, "Content-Length: -1"),
    "length with plus": request("GET / HTTP/1.1", HOST, "Content-Length: +1", body=b"x"),
    "length in hex": request("GET / HTTP/1.1", HOST, "Content-Length: 0x1", body=b"x"),
    "length empty": request("GET / HTTP/1.1", HOST, "Content-Length: "),
    "length too long": request("GET / HTTP/1.1", HOST, "Content-Length: 99999999999999999999999999"),
    "other coding": request("POST / HTTP/1.1", HOST, "Transfer-Encoding: gzip"),
    "coding list": request("POST / HTTP/1.1", HOST, "Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "coding twice": request("POST / HTTP/1.1", HOST, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked",
                            body=b"0\r\n\r\n"),
    "coding identity": request("POST / HTTP/1.1", HOST, "Transfer-Encoding: identity"),
    "coding with a tab": request("POST / HTTP/1.1", HOST, "Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"),
    "space before colon": request("GET / HTTP/1.1", HOST, "Content-Length : 5", body=b"hello"),
    "space before host's colon": request("GET / HTTP/1.1", "Host : localhost"),
    "tab before colon": request("GET / HTTP/1.1", HOST, "X-Y\t: 1"),
    "folded field": request("GET / HTTP/1.1", HOST, "X-Y: 1", " 2"),
    "field without colon": request("GET / HTTP/1.1", HOST, "nonsense"),
    "empty field name": request("GET / HTTP/1.1", HOST, ": x"),
    "NUL in the target": b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "control byte in the target": b"GET /\x01a HTTP/1.1\r\nHost: x\r\n\r\n",
    "tab in the request line": b"GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "DEL in the target": b"GET /\x7f HTTP/1.1\r\nHost: x\r\n\r\n",
    "bare CR in the request line": b"GET / HTTP/1.1\rX: y\r\nHost: x\r\n\r\n",
    "NUL in a field": b"GET / HTTP/1.1\r\nHost: x\r\nX-Y: a\0b\r\n\r\n",
    "two spaces": b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
    "no version": b"GET /\r\nHost: x\r\n\r\n",
    "version 2": request("GET / HTTP/2.0", HOST),
    "version 3.7": request("GET / HTTP/3.7", HOST),
    "lower-case version": request("GET / http/1.1", HOST),
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "bad method": b"G@T / HTTP/1.1\r\nHost: x\r\n\r\n",
    "bad chunk size": request("POST / HTTP/1.1", HOST, "Transfer-Encoding: chunked", body=b"zz\r\nhello\r\n0\r\n\r\n"),
    "negative chunk": request("POST / HTTP/1.1", HOST, "Transfer-Encoding: chunked", body=b"-1\r\nhello\r\n0\r\n\r\n"),
    "chunk without its end": request("POST / HTTP/1.1", HOST, "Transfer-Encoding: chunked",
                                     body=b"5\r\nhelloXX0\r\n\r\n"),
    "head too long": request("GET / HTTP/1.1", HOST, *[f"X-{i}: {'y' * 1000}" for i in range(200)]),
    "target too long": request(f"GET /{'a' * 100_000} HTTP/1.1", HOST),
}


def test_smuggling_shapes_are_refused_and_closed():
    wrong = []
    for name, raw in SMUGGLES.items():
        out, closed = exchange(raw + request("GET /live HTTP/1.1", HOST), close=True)
        reply = Reply(out) if out else None
        if reply is None or not (400 <= reply.status < 500 or reply.status in (501, 505)) or not closed \
                or len(re.findall(rb"HTTP/1\.1 [0-9]{3} ", out)) != 1:
            wrong.append((name, out[:200], closed))
        elif "access-control-allow-origin" not in reply.headers or b'"error"' not in reply.rest:
            wrong.append((name, "no CORS or no JSON", out[:300]))
    assert not wrong, wrong
    assert daemon().get("/live").status == 200


def test_good_shapes_are_answered():
    for name, raw in {
            "plain": request("GET /live HTTP/1.1", HOST), "1.0": request("GET /live HTTP/1.0"),
            "padding of a value": request("GET /live HTTP/1.1", "Host:   localhost  "),
            "lower case": request("GET /live HTTP/1.1", "hOsT: x"),
            "absolute form": request("GET http://localhost/live HTTP/1.1", HOST),
            "blank line first": b"\r\n" + request("GET /live HTTP/1.1", HOST),
            "with a body": request("GET /live HTTP/1.1", HOST, "Content-Length: 5", body=b"hello"),
            "chunked body": request("GET /live HTTP/1.1", HOST, "Transfer-Encoding: chunked",
                                    body=b"5\r\nhello\r\n0\r\n\r\n")}.items():
        out, _ = exchange(raw)
        assert Reply(out).status == 200, (name, out)


def test_requests_in_a_row_and_in_pieces():
    one = request("GET /live HTTP/1.1", HOST)
    out, closed = exchange(one * 20)
    assert out.count(b"HTTP/1.1 200") == 20 and not closed
    out, closed = exchange(one + request("GET /live HTTP/1.1", HOST, "Connection: close") + one, close=True)
    assert out.count(b"HTTP/1.1 200") == 2 and closed
    with socket.create_connection(("127.0.0.1", daemon().port), timeout=10) as s:
        for byte in request("GET /links/count?target=x&collection=y&path=.z HTTP/1.1", HOST):
            s.sendall(bytes([byte]))
        assert b'{"total":0}' in s.recv(65536)


def test_methods():
    for path in ("/", "/links", "/timeline", "/health", "/metrics", "/live", "/ready"):
        for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT" if path == "nothing" else "PROPFIND"):
            answer = daemon().get(path, method=method)
            assert answer.status == 405 and answer.json["error"] == "MethodNotAllowed", (path, method, answer)
        head, got = daemon().get(path, method="HEAD"), daemon().get(path)
        assert head.status == got.status and head.body == b"", (path, head)
        assert head.headers["content-type"] == got.headers["content-type"]
    for path in ("/", "/links", "/nowhere", "/health"):
        answer = daemon().get(path, method="OPTIONS")
        assert answer.status == 200 and answer.body == b"", answer
        assert answer.headers["access-control-allow-methods"] == "*"
        assert answer.headers["access-control-allow-headers"] == "*"
        assert answer.headers["access-control-expose-headers"] is None
    for path in ("/nowhere", "/links/", "/health/", "/timeline/x"):
        answer = daemon().get(path)
        assert answer.status == 404 and answer.json["error"] == "NotFound", answer
        assert daemon().get(path, method="HEAD").status == 404


def test_cors_on_everything():
    for path in ("/", "/links", "/links/count?target=a&collection=b&path=c", "/timeline", "/author?did=x", "/newest",
                 "/relationships", "/health", "/metrics", "/live", "/ready", "/robots.txt", "/nowhere",
                 "/links?target=a&collection=b&path=c&cursor=zzz"):
        for method in ("GET", "HEAD", "POST"):
            headers = daemon().get(path, method=method, headers={"Origin": "https://app.example"}).headers
            assert headers["access-control-allow-origin"] == "*", (path, method)
            assert headers["access-control-expose-headers"] == "*", (path, method)
            vary = {v.strip().lower() for v in headers["vary"].split(",")}
            assert vary >= {"origin", "access-control-request-method", "access-control-request-headers"}, vary
            assert headers["access-control-allow-credentials"] is None


def test_live_ready_health():
    assert daemon().get("/live").status == 200 and daemon().get("/ready").status == 200
    answer = daemon().get("/health")
    health = answer.json
    assert answer.status == 200 and health["status"] == "ok", health
    assert health["indexed_through"]["seq"] == 1500 and isinstance(health["indexed_through"]["time"], str)
    assert isinstance(health["lag_ms"], int) and health["sources"] == []
    assert {v["name"] for v in health["views"]} == {"identity", "graph", "posts", "links"}
    assert all(v["seq"] == 1500 for v in health["views"])
    assert daemon().get("/links/count?target=a&collection=b&path=c").seq == 1500


def test_reading_what_was_just_written():
    """freshet-after: the first answer that is none of an error includes the event (R73)."""
    count = "/links/count?target=did:web:new.test&collection=app.bsky.graph.follow&path=.subject"
    w = Writer()
    with fr.Feed() as feed:
        for n in range(1, 200):
            event = w.create(f"did:web:a{n}.test", "app.bsky.graph.follow", f"r{n}",
                             {"$type": "app.bsky.graph.follow", "subject": "did:web:new.test",
                              "createdAt": "2026-01-01T00:00:00Z"})
            feed.daemon.process.stdin.write(json.dumps(event).encode() + b"\n")
            feed.daemon.process.stdin.flush()
            answer = feed.get(count, headers={"freshet-after": str(n)})
            while answer.status == 503:
                assert answer.json["error"] == "NotVisible" and answer.seq == n - 1, answer
                answer = feed.get(count, headers={"freshet-after": str(n)})
            assert (answer.status, answer.seq, answer.json["total"]) == (200, n, n), answer
        for seq in (n + 1, 2**64 - 1):
            start = time.monotonic()
            answer = feed.get(count, headers={"freshet-after": str(seq)})
            assert time.monotonic() - start >= 0.05
            assert answer.status == 503 and answer.json["error"] == "NotVisible" and answer.seq == n, answer
            assert answer.headers["retry-after"] == "1"
        for bad in ("", "-1", "1.0", "x", str(2**64)):
            assert feed.get(count, headers={"freshet-after": bad}).status == 400


def test_metrics_are_prometheus():
    answer = daemon().get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    label = r'[a-zA-Z_][a-zA-Z0-9_]*="([^"\\\n]|\\.)*"'
    sample = re.compile(rf"[a-zA-Z_:][a-zA-Z0-9_:]*(\{{{label}(,{label})*\}})? ([-+]?[0-9.eE+-]+|NaN|[-+]Inf)")
    typed, seen = {}, set()
    for text in answer.body.decode().splitlines():
        if text.startswith("# TYPE "):
            _, _, name, kind = text.split()
            assert kind in ("counter", "gauge", "histogram", "summary") and name not in typed, text
            typed[name] = kind
        elif not text.startswith("#"):
            assert sample.fullmatch(text), text
            series = text.rsplit(" ", 1)[0]
            assert series not in seen, f"twice: {series}"
            seen.add(series)
            name = series.split("{")[0]
            assert name in typed or re.sub(r"_(bucket|sum|count)$", "", name) in typed, name
    metrics = fr.metrics_of(answer.body.decode())
    assert metrics["freshet_seq"] == 1500 and metrics["freshet_links"] > 0 and metrics["freshet_posts"] > 0


def test_the_page_for_a_person():
    page = daemon().get("/", headers={"Accept": "text/html,application/xhtml+xml"})
    assert page.status == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
    assert b"<html" in page.body.lower()
    robots = daemon().get("/robots.txt")
    assert robots.status == 200 and robots.headers["content-type"].startswith("text/plain")
    assert all(f"Disallow: {p}" in robots.body.decode() for p in ("/links", "/links/", "/xrpc/"))


def test_many_connections_and_slow_ones():
    idle = [socket.create_connection(("127.0.0.1", daemon().port)) for _ in range(200)]
    for i, s in enumerate(idle):
        if i % 2:
            s.sendall(b"GET /live HT")
    assert daemon().get("/live").status == 200
    for s in idle:
        s.close()
    assert daemon().get("/live").status == 200


def test_refused_while_busy_with_nothing_lost_on_sigterm():
    data = fr.scratch()
    feed = fr.Feed(data)
    from atproto import Writer
    w = Writer()
    records = [(f"r{i}", {"uri": f"https://{i}.example/"}) for i in range(500)]
    seq = feed.write(*[w.create("did:plc:a", "app.t.c", rkey, record) for rkey, record in records])
    waiting = socket.create_connection(("127.0.0.1", feed.daemon.port))
    start = time.monotonic()
    feed.daemon.stop(signal.SIGTERM, expect=0)
    assert time.monotonic() - start < 10
    waiting.close()
    feed.daemon.process.stdin.close()
    assert fr.stat(data)["last_seq"] == seq
    fr.digests(data)
    other = fr.Daemon(data)
    other.stop(signal.SIGINT, expect=130)


class Demo:
    def __init__(self, port, data):
        args = ["--data", str(data), "--accounts", "200", "--events", "5000", "--port", str(port)]
        self.process = subprocess.Popen([fr.FRESHET, "demo", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True)
        fr._running.append(self.process)
        self.lines = []
        for text in self.process.stdout:
            self.lines.append(text)
            if "Ctrl-C" in text:
                return
        raise AssertionError(("the demo ended", self.lines, self.process.stderr.read()))

    @property
    def address(self):
        return next(t.split()[-1] for t in self.lines if t.startswith("listening on "))

    def urls(self):
        return re.findall(r"https?://127\.0\.0\.1:[0-9]+[^\s']*", "".join(self.lines))

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(fr.PATIENCE_S) == 0, self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_demo():
    port = free_port()
    one = Demo(port, fr.scratch())
    two = Demo(port, fr.scratch())
    assert one.address == f"http://127.0.0.1:{port}", one.lines
    assert re.fullmatch(rf"http://127\.0\.0\.1:(?!{port}$)[0-9]+", two.address), two.lines
    assert 0 < int(two.address.rsplit(":", 1)[1]) - port < 64
    for demo in (one, two):
        urls = demo.urls()
        assert len([u for u in urls if "?" in u]) >= 4 and any(u.endswith("/health") for u in urls), demo.lines
        for url in urls:
            assert url.startswith(demo.address), url
            with urllib.request.urlopen(url, timeout=fr.PATIENCE_S) as reply:
                body = reply.read()
                assert reply.status == 200 and body, url
                if "count?" in url and "/all/" not in url:
                    assert json.loads(body)["total"] > 0, (url, body)
                if "/author" in url or "/timeline" in url:
                    assert json.loads(body)["feed"], (url, body)
        demo.stop()


if __name__ == "__main__":
    fr.main(sys.modules[__name__])

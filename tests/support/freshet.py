# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs the built command: once and for all (`run`), as a daemon (`Daemon`), with lines fed to it (`Feed`).

Everything lives in one scratch folder a test program, which goes at its end; a process is ended by the test that
started it and by nobody else.
"""
import atexit
import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.parse
from pathlib import Path

SOURCE = Path(os.environ.get("FR_SOURCE", Path(__file__).resolve().parents[2]))
FRESHET = os.environ.get("FRESHET", str(SOURCE / "build" / "freshet"))
CORPUS = Path(os.environ.get("FR_CORPUS", SOURCE.parent / "shared" / "data"))
SANITIZED = bool(os.environ.get("FR_SANITIZE"))
PATIENCE_S = int(os.environ.get("FR_PATIENCE_S", 120 if SANITIZED else 30))  # for anything that ought to happen at once
SKIPPED = 77

_scratch = None
_names = 0
_running = []


def scratch(name=None):
    """A fresh path in the scratch folder; nothing is there yet."""
    global _scratch, _names
    if _scratch is None:
        _scratch = Path(tempfile.mkdtemp(prefix="freshet-test-"))
        atexit.register(_clean)
    _names += 1
    return _scratch / f"{_names}-{name or 'data'}"


def _clean():
    for process in _running:
        if process.poll() is None:
            process.kill()
            process.wait()
    shutil.rmtree(_scratch, ignore_errors=True)


def seed():
    """Of random tests: printed, and taken from FR_SEED."""
    value = int(os.environ.get("FR_SEED", random.SystemRandom().getrandbits(32)))
    print(f"FR_SEED={value}", flush=True)
    return value


def skip(why):
    print(f"SKIPPED: {why}")
    sys.exit(SKIPPED)


def need_command():
    if not os.access(FRESHET, os.X_OK):
        print(f"no command at {FRESHET}: build it first")
        sys.exit(1)


def need_corpus():
    if not CORPUS.is_dir():
        skip("corpus data absent")


class Result:
    def __init__(self, args, code, out, err):
        self.args, self.code, self.out, self.err = args, code, out, err

    @property
    def text(self):
        return self.out.decode()

    @property
    def errors(self):
        return self.err.decode("utf-8", "replace")

    @property
    def report(self):
        """The JSON object of the last line of stdout."""
        return json.loads(self.out.decode().strip().split("\n")[-1])

    def lines(self):
        return [json.loads(line) for line in self.out.decode().splitlines()]

    def __repr__(self):
        return f"{self.args} -> exit {self.code}\n{self.out[-2000:]!r}\n{self.err[-2000:]!r}"


def run(*args, stdin=b"", expect=0, timeout=300):
    """One run of the command to its end. `expect`: an exit code, or None for any."""
    args = [FRESHET, *[str(a) for a in args]]
    done = subprocess.run(args, input=stdin, capture_output=True, timeout=timeout)
    result = Result(args[1:], done.returncode, done.stdout, done.stderr)
    assert expect is None or done.returncode == expect, f"expected exit {expect}: {result!r}"
    return result


def ingest(data, *files, kind="jetstream", stdin=b"", expect=0, did_docs=None, extra=()):
    keys = ["--did-docs", did_docs] if did_docs else []
    return run("ingest", "--data", data, "--from", kind, *keys, *extra, *files, stdin=stdin, expect=expect)


def dump(data, *args):
    """Events of the log, as JSON objects."""
    return run("log", "dump", "--data", data, *args).lines()


def live_records(events):
    """(did, collection, rkey) -> cid, and the accounts with a sync mark."""
    live, synced = {}, {}
    for event in events:
        if event["kind"] == "sync":
            synced[event["did"]] = synced.get(event["did"], 0) + 1
        if event["kind"] == "commit":
            commit = event["commit"]
            key = event["did"], commit["collection"], commit["rkey"]
            if commit["operation"] == "delete":
                live.pop(key, None)
            else:
                live[key] = commit["cid"]
    return live, synced


def stat(data):
    return run("log", "stat", "--data", data).report


def verify(data, expect=0):
    """view -> its line; the line must be well formed."""
    result = run("verify", "--data", data, expect=expect)
    views = {}
    for line in result.lines():
        assert set(line) >= {"view", "digest", "seq", "ok"}, line
        assert line["digest"] and isinstance(line["seq"], int) and isinstance(line["ok"], bool), line
        views[line["view"]] = line
    assert set(views) >= {"identity", "graph", "posts", "links"}, views
    return views


def digests(data):
    """view -> digest; every view must be sound."""
    views = verify(data)
    assert all(line["ok"] for line in views.values()), views
    return {name: line["digest"] for name, line in views.items()}


def simulate(accounts, events, of_seed, kind="jetstream"):
    """Path of a generated network."""
    out = scratch(f"sim-{accounts}-{events}-{of_seed}.{kind}")
    run("simulate", "--accounts", accounts, "--events", events, "--seed", of_seed, "--format", kind, "--out", out)
    return out


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def seq(self):
        return int(self.headers["freshet-seq"])

    def __repr__(self):
        return f"{self.status} {dict(self.headers)} {self.body[:1000]!r}"


def query(path, /, **params):
    """path?params; a list repeats its parameter, None leaves it out, from_ is `from`."""
    pairs = []
    for name, value in params.items():
        for one in value if isinstance(value, (list, tuple)) else [value]:
            if one is not None:
                pairs.append((name.rstrip("_"), str(one)))
    return path + ("?" + urllib.parse.urlencode(pairs) if pairs else "")


class Daemon:
    """`freshet serve` (or another subcommand that prints where it listens)."""

    def __init__(self, data, *args, command="serve", stdin=None, wait=True):
        self.log_path = scratch("daemon.log")
        listen = ["--listen", "127.0.0.1:0"] if command == "serve" else []
        self.args = [FRESHET, command, "--data", str(data), *listen, *[str(a) for a in args]]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self.args, stdin=stdin or subprocess.DEVNULL, stdout=subprocess.PIPE,
                                            stderr=log)
        _running.append(self.process)
        self.connection = None
        self.port = 0
        if wait:
            self.wait_listening()

    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait_listening(self):
        for line in self.process.stdout:
            if line.startswith(b"listening on http://"):
                self.address = line.split()[-1].decode()
                self.port = int(self.address.rsplit(":", 1)[1])
                return self
        code = self.process.wait()
        raise AssertionError(f"exit {code} before it listened: {self.args}\n{self.log()[-3000:]}")

    def get(self, path, /, method="GET", headers=None, **params):
        target = query(path, **params)
        for attempt in (0, 1):
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
            try:
                self.connection.request(method, target, headers=headers or {})
                response = self.connection.getresponse()
                body = response.read()
                return Answer(response.status, response.headers, body)
            except (http.client.HTTPException, OSError):
                self.connection.close()
                self.connection = None
                if attempt:
                    raise

    def ok(self, path, /, **params):
        """The JSON of an answer that must be 200."""
        answer = self.get(path, **params)
        assert answer.status == 200, f"{query(path, **params)}: {answer!r}"
        return answer.json

    def wait_until(self, true, what):
        end = time.monotonic() + PATIENCE_S
        pause = 0.0005
        while time.monotonic() < end:
            value = true()
            if value:
                return value
            assert self.process.poll() is None, f"the daemon ended while waiting for {what}\n{self.log()[-3000:]}"
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)
        raise AssertionError(f"waited {PATIENCE_S} s for {what}\n{self.log()[-3000:]}")

    def wait_seq(self, seq):
        self.wait_until(lambda: self.get("/health").json["indexed_through"]["seq"] >= seq, f"seq {seq}")

    def stop(self, signal_number=signal.SIGTERM, expect=0):
        """Ends it cleanly."""
        self.close_connection()
        self.process.send_signal(signal_number)
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still there {PATIENCE_S} s after the signal\n{self.log()[-3000:]}") from None
        self.process.stdout.close()
        assert code == expect, f"exit {code}, expected {expect}\n{self.log()[-3000:]}"

    def kill(self):
        self.close_connection()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def close_connection(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if self.process.poll() is None:
            self.kill() if kind else self.stop()


class Feed:
    """A daemon that follows its standard input: `write` returns when the answers include what was written."""

    def __init__(self, data=None, *args):
        self.data = data or scratch()
        self.args = args
        self.start()

    def start(self):
        self.daemon = Daemon(self.data, "--source", "jetstream:-", *self.args, stdin=subprocess.PIPE)
        self.lines = 0
        self.base = self.metrics()["freshet_seq"]

    def write(self, *events):
        """Events as objects, or lines as bytes. Returns the sequence that answers then include."""
        lines = [e if isinstance(e, bytes) else json.dumps(e, ensure_ascii=False).encode() for e in events]
        self.daemon.process.stdin.write(b"".join(line + b"\n" for line in lines))
        self.daemon.process.stdin.flush()
        self.lines += len(lines)
        return self.settle()

    def settle(self):
        """Every line is settled when appended + duplicate + rejected + ignored is their number; answers include them
        when the published sequence has come as far."""
        def settled():
            m = self.metrics()
            appended = m["freshet_events_appended_total"]
            other = sum(v for k, v in m.items() if k.startswith(
                ("freshet_source_rejected_total", "freshet_source_ignored_total", "freshet_events_duplicate_total")))
            return appended + other >= self.lines and m["freshet_seq"] == self.base + appended and m["freshet_seq"] + 1
        return self.daemon.wait_until(settled, f"{self.lines} lines") - 1

    def metrics(self):
        return metrics_of(self.daemon.get("/metrics").body.decode())

    def get(self, path, /, **params):
        return self.daemon.get(path, **params)

    def ok(self, path, /, **params):
        return self.daemon.ok(path, **params)

    def restart(self, kill=False):
        self.daemon.kill() if kill else self.daemon.stop()
        self.daemon.process.stdin.close()
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.daemon.__exit__(kind, value, trace)
        try:
            self.daemon.process.stdin.close()
        except OSError:
            pass


def metrics_of(text):
    """Prometheus text -> {name{labels}: value}."""
    out = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            out[name] = float(value) if "." in value or "e" in value or "n" in value else int(value)
    return out


def main(module):
    """Runs every test_* of the module in order of writing (or those named on the command line); 0 when all pass."""
    need_command()
    wanted = [a for a in sys.argv[1:] if not a.startswith("-")]
    tests = [(n, f) for n, f in vars(module).items() if n.startswith("test_") and callable(f)]
    failed = []
    for name, test in tests:
        if wanted and not any(w in name for w in wanted):
            continue
        start = time.monotonic()
        try:
            test()
            print(f"ok   {name} ({time.monotonic() - start:.1f} s)", flush=True)
        except Exception:  # a test that fails must not hide the next
            failed.append(name)
            print(f"FAIL {name} ({time.monotonic() - start:.1f} s)", flush=True)
            traceback.print_exc()
    if failed:
        print(f"{len(failed)} failed: {' '.join(failed)}")
    sys.exit(1 if failed else 0)

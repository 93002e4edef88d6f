#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Requests a second and latencies of a serving daemon over a generated network, with wrk (Debian package) on the same
cores: counts, lists, timelines, author feeds.

    bench/http_bench.py [--freshet BINARY] [--events N] [--seconds S]"""
import argparse
import collections
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request

from ingest_bench import machine


def fetch(url):
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)


def wrk(name, url, seconds):
    command = ["wrk", "-t1", "-c8", f"-d{seconds}s", "--latency", url]
    out = subprocess.run(command, capture_output=True, text=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    p50 = re.search(r"50%\s+(\S+)", out)
    p99 = re.search(r"99%\s+(\S+)", out)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    print(f"{name}: {float(rate.group(1)):,.0f} requests/s, p50 {p50.group(1)}, p99 {p99.group(1)}"
          + (f", {bad.group(1)} not 2xx" if bad else ""))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--freshet", default=os.environ.get("FRESHET", "build/freshet"))
    parser.add_argument("--events", type=int, default=1000000)
    parser.add_argument("--accounts", type=int, default=20000)
    parser.add_argument("--seconds", type=int, default=5)
    args = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("bench/http_bench.py wants wrk: apt-get install wrk")
    print(machine())
    work = tempfile.mkdtemp(prefix="freshet-bench-")
    daemon = None
    try:
        lines = os.path.join(work, "lines.jsonl")
        data = os.path.join(work, "data")
        subprocess.run([args.freshet, "simulate", "--accounts", str(args.accounts), "--events", str(args.events),
                        "--seed", "1", "--format", "jetstream", "--out", lines], check=True)
        subprocess.run([args.freshet, "ingest", "--data", data, "--from", "jetstream", lines], check=True,
                       stdout=subprocess.DEVNULL)
        daemon = subprocess.Popen([args.freshet, "serve", "--data", data, "--listen", "127.0.0.1:0", "--log-level",
                                   "warn"], stdout=subprocess.PIPE, text=True)
        address = daemon.stdout.readline().strip().split()[-1]
        follows = {}
        for line in open(lines):
            if '"app.bsky.graph.follow"' in line:
                did = json.loads(line)["did"]
                follows[did] = follows.get(did, 0) + 1
        newest = fetch(address + "/newest?limit=100")["feed"]
        liked = next((item["uri"] for item in newest if item["kind"] == "post"), newest[0]["uri"])
        source = "&collection=app.bsky.feed.like&path=.subject.uri"
        likes = collections.Counter()
        for line in open(lines):
            if '"app.bsky.feed.like"' in line and '"create"' in line:
                likes[json.loads(line)["commit"]["record"]["subject"]["uri"]] += 1
        hot = likes.most_common(1)[0][0]
        quote = urllib.parse.quote
        most = max(follows, key=follows.get)
        wrk(f"/links/count, a post with {likes[hot]} likes",
            f"{address}/links/count?target={quote(hot)}{source}", args.seconds)
        wrk("/links/count, unknown", f"{address}/links/count?target={quote(liked + 'x')}{source}", args.seconds)
        wrk("/links, page of 100", f"{address}/links?target={quote(hot)}{source}&limit=100", args.seconds)
        wrk("/links/all/count", f"{address}/links/all/count?target={quote(hot)}", args.seconds)
        wrk(f"/timeline, {follows[most]} follow records, 50 items", f"{address}/timeline?did={most}", args.seconds)
        wrk("/author, 50 items", f"{address}/author?did={newest[0]['author']}", args.seconds)
        wrk("/health", f"{address}/health", args.seconds)
        rss = next(int(line.split()[1]) for line in open(f"/proc/{daemon.pid}/status") if line.startswith("VmRSS"))
        print(f"resident: {rss / 1e3:.0f} MB")
    finally:
        if daemon is not None:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Events a second from Jetstream lines through log, resolver and all four views, and what they weigh; then how long
it takes to open what is saved, to build the views and the resolver from the log, and to seal it.

    bench/ingest_bench.py [--freshet BINARY] [--file LINES] [--events N] [--runs R]

Without --file it generates a network. Prints one line a run: events/s by the command's own clock and by ours, CPU
seconds, peak resident memory, bytes on disk by part; then the median. Restart and rebuild are whole processes that
read an empty file: open, ready, close; a rebuild's close saves what was built."""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time


def machine():
    names = (line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    model = next(names, "?")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    return f"machine: {model}, {os.cpu_count()} cores; commit {commit or 'unknown'}"


def folder_bytes(path):
    return sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(path) for name in names)


def one_run(freshet, lines, data):
    start = time.monotonic()
    process = subprocess.Popen([freshet, "ingest", "--data", data, "--from", "jetstream", lines],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    if status != 0:
        sys.exit(f"ingest failed: {status}: {out}")
    report = json.loads(out.strip().split("\n")[-1])
    cpu = usage.ru_utime + usage.ru_stime
    return report, wall, cpu, usage.ru_maxrss * 1024


def reopen(freshet, work, data, what, events):
    """A process that has nothing to read, so its time is that of opening and closing."""
    empty = os.path.join(work, "empty.jsonl")
    open(empty, "w").close()
    _, wall, cpu, rss = one_run(freshet, empty, data)
    print(f"{what}: {events} events in {wall:.2f} s, {events / wall:,.0f}/s, cpu {cpu:.2f} s, rss {rss / 1e6:.0f} MB")


def seal(freshet, data, events):
    before = os.times()
    subprocess.run([freshet, "log", "seal", "--data", data], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    size = folder_bytes(os.path.join(data, "log"))
    print(f"seal: {events} events, cpu {cpu:.2f} s, {size / events:.1f} bytes an event")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--freshet", default=os.environ.get("FRESHET", "build/freshet"))
    parser.add_argument("--file")
    parser.add_argument("--events", type=int, default=1000000)
    parser.add_argument("--accounts", type=int, default=20000)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    print(machine())
    work = tempfile.mkdtemp(prefix="freshet-bench-")
    try:
        lines = args.file
        if lines is None:
            lines = os.path.join(work, "lines.jsonl")
            subprocess.run([args.freshet, "simulate", "--accounts", str(args.accounts), "--events", str(args.events),
                            "--seed", "1", "--format", "jetstream", "--out", lines], check=True)
        print(f"input: {os.path.basename(lines)}, {os.path.getsize(lines)} bytes")
        rates = []
        for run in range(args.runs):
            data = os.path.join(work, f"data{run}")
            report, wall, cpu, rss = one_run(args.freshet, lines, data)
            rates.append(report["read"] / wall)
            parts = {part: folder_bytes(os.path.join(data, part)) for part in ("log", "resolver", "views")}
            print(f"ingest: {report['read']} events, {report['read'] / wall:,.0f}/s with start and final checkpoint, "
                  f"wall {wall:.2f} s, cpu {cpu:.2f} s, rss {rss / 1e6:.0f} MB, bytes an event: "
                  + ", ".join(f"{part} {size / max(report['appended'], 1):.1f}" for part, size in parts.items()))
            if run + 1 < args.runs:
                shutil.rmtree(data)
        print(f"ingest: median {statistics.median(rates):,.0f} events/s")
        reopen(args.freshet, work, data, "restart", report["appended"])
        for part in ("resolver", "views"):
            shutil.rmtree(os.path.join(data, part))
        reopen(args.freshet, work, data, "rebuild", report["appended"])
        seal(args.freshet, data, report["appended"])
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()

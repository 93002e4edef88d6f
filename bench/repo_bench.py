#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Repositories: our walker beside its peers, on the same files, in the same run.

    bench/repo_bench.py [NAME...] [--freshet BINARY] [--file CAR]... [--records N] [--runs R] [--no-peers]

NAME picks parts: memory (each file from memory, each level), process (whole processes in turn, in memory and under
16 MB), orders (the synthetic one in each order, walked from a file and as it comes through a pipe), many (10,000
small repositories in one process), frames (decode and invert). All of them without a name.
Files: the small ones of the corpus, a synthetic repository of N records (192,000), and any --file or $HUGE_CAR.

Peers (bench/peers/README.md) are built in $FR_PEERS (default: a folder in the user's cache) with cargo and npm; one
that cannot be built is left out with a note. Ratios are of the best times: other work on the machine lengthens the
rest."""
import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
CORPUS = Path(os.environ.get("FR_CORPUS", SOURCE.parent / "shared" / "data")).resolve()
PARTS = ("memory", "process", "orders", "many", "frames")
SMALL = ("repo-stream/empty.car", "repo-stream/tiny.car", "repo-stream/little.car", "jetstream/repo.car")
NPM = "@atproto/repo@0.10.14"
PEER_SECONDS = "2"
MEMORY = 16 << 20
ALPHABET = "234567abcdefghijklmnopqrstuvwxyz"
WORDS = ("the of and a to in is you that it he was for on are as with his they at be this have from or one had by "
         "word but not what all were we when your can said there use an each which she do how their if").split()


# ---- peers -----------------------------------------------------------------------------------------------------------

def note(text):
    print(f"note: {text}", flush=True)


def built(folder, commands):
    """Runs what builds a peer, once; None and a note where one fails."""
    with open(folder / "install.log", "ab") as log:
        for command in commands:
            if shutil.which(command[0]) is None:
                note(f"{folder.name} left out: no {command[0]}")
                return None
            if subprocess.run(command, cwd=folder, stdout=log, stderr=log, check=False).returncode != 0:
                note(f"{folder.name} left out: {' '.join(command)} failed, see {folder / 'install.log'}")
                return None
    return folder


def peers():
    """Name to command, for those that are here or can be built."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    root = Path(os.environ.get("FR_PEERS", cache / "freshet-peers"))
    found = {}
    rust = root / "repo-stream"
    shutil.copytree(SOURCE / "bench" / "peers" / "repo_stream", rust, dirs_exist_ok=True)
    if built(rust, [["cargo", "build", "--release", "--quiet"]]):
        found["repo-stream"] = [str(rust / "target" / "release" / "repo-stream-bench")]
    npm = root / "atproto-repo"
    npm.mkdir(parents=True, exist_ok=True)
    if (npm / "node_modules" / "@atproto" / "repo").exists() or built(
            npm, [["npm", "init", "-y"], ["npm", "install", "--no-audit", "--no-fund", NPM]]):
        shutil.copy(SOURCE / "bench" / "peers" / "atproto_repo.mjs", npm)
        found["@atproto/repo"] = ["node", str(npm / "atproto_repo.mjs")]
    return found


# ---- files -----------------------------------------------------------------------------------------------------------

def tid(value):
    return "".join(ALPHABET[value >> shift & 31] for shift in range(60, -1, -5))


def synthetic_records(count, rng):
    """Likes 60 %, posts 20 %, reposts 10 %, follows 10 %, with the fields and sizes of real ones."""
    def did():
        return "did:plc:" + "".join(rng.choices(ALPHABET, k=24))

    def link():
        return "bafyrei" + "".join(rng.choices(ALPHABET, k=52))
    micros = 1_680_000_000_000_000
    for _ in range(count):
        micros += rng.randint(1, 600_000_000)
        rkey = tid(micros << 10 | rng.randrange(1024))
        kind = rng.random()
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(micros // 1_000_000)) + f".{micros // 1000 % 1000:03}Z"
        subject = {"cid": link(), "uri": f"at://{did()}/app.bsky.feed.post/{rkey}"}
        if kind < 0.6:
            name, body = "app.bsky.feed.like", {"subject": subject}
        elif kind < 0.8:
            name, body = "app.bsky.feed.post", {"text": " ".join(rng.choices(WORDS, k=rng.randint(3, 49))),
                                                "langs": ["en"]}
            if rng.random() < 0.5:
                body["reply"] = {"root": subject, "parent": subject}
        elif kind < 0.9:
            name, body = "app.bsky.feed.repost", {"subject": subject}
        else:
            name, body = "app.bsky.graph.follow", {"subject": did()}
        yield f"{name}/{rkey}", {"$type": name, **body, "createdAt": when}


def synthetic(freshet, count, work):
    """In the order that a PDS writes: the newest groups first."""
    lines, car = work / "records.ndjson", work / f"synthetic-{count}.car"
    account = "did:plc:" + "a" * 24
    with open(lines, "w", encoding="utf-8") as out:
        for key, value in synthetic_records(count, random.Random(1)):
            out.write(json.dumps({"uri": f"at://{account}/{key}", "value": value}) + "\n")
    subprocess.run([freshet, "repo", "pack", "--did", account, "--rev", "3mzzzzzzzzz22", "--order", "pds",
                    "--mem", "2G", "-o", str(car), str(lines)], check=True, stderr=subprocess.DEVNULL)
    lines.unlink()
    return car


# ---- parts -----------------------------------------------------------------------------------------------------------

def json_lines(command, cwd=None):
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        note(f"{' '.join(command[:3])}… ended with {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def print_row(who, row, base):
    ns = row["best_ns"]
    records = max(row["records"], 1)
    ratio = f"{ns / base:9.2f}x" if base else ""
    allocations = "-" if row["allocations"] is None else row["allocations"]
    print(f"  {who:24} best {ns / 1e3:12.1f} us  p50 {row['p50_ns'] / 1e3:12.1f}  p99 {row['p99_ns'] / 1e3:12.1f}"
          f" {row['bytes'] * 1e3 / ns:7.0f} MB/s {ns / records:8.0f} ns/record {allocations:>9} allocations{ratio}",
          flush=True)


def bench_memory(context):
    for car in context.files:
        ours = json_lines([context.walker, str(car)])
        full = next(row for row in ours if row["level"] == "full")
        print(f"\n{car.name}: {full['bytes']:,} bytes, {full['records']:,} records; ratio to ours at full")
        for row in ours:
            print_row(f"freshet {row['level']}", row, full["best_ns"])
        for name, command in context.peers.items():
            words = ["time", PEER_SECONDS] if name == "repo-stream" else [PEER_SECONDS]
            folder = Path(command[-1]).parent
            for row in json_lines([*command, *words, str(car)], cwd=folder):
                print_row(name, row, full["best_ns"])
                if (row["records"], row["record_bytes"]) != (full["records"], full["record_bytes"]):
                    sys.exit(f"{name} saw other records than we")


def one_process(command, car):
    start = time.monotonic()
    feeder = subprocess.Popen(["cat", car], stdout=subprocess.PIPE) if command[-1] == "-" else None
    process = subprocess.Popen(command, stdin=feeder and feeder.stdout, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
    out = process.stdout.read()
    if feeder:
        feeder.wait()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    if status != 0:
        sys.exit(f"{' '.join(command)}: {status}")
    return int(out.split()[-1]), wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def bench_process(context):
    car = str(context.files[-1])
    ls = [context.freshet, "repo", "ls", "--count", "--level", "full", "--mem"]
    pairs = {"in memory": [("freshet", [*ls, "4G", car])],
             "under 16 MB": [("freshet", [*ls, "16M", car]), ("freshet, piped", [*ls, "16M", "-"])]}
    rust = context.peers.get("repo-stream")
    spill = tempfile.mkdtemp(dir=context.work)
    if rust:
        pairs["in memory"].append(("repo-stream", [*rust, "count", car]))
        pairs["under 16 MB"].append(("repo-stream", [*rust, "spill", "16", spill, car]))
    for title, commands in pairs.items():
        runs = {name: [] for name, _ in commands}
        for _ in range(context.runs):
            for name, command in commands:
                runs[name].append(one_process(command, car))
        print(f"\nwhole processes in turn, {title}, {Path(car).name}; ratio to ours")
        base = min(run[1] for run in runs["freshet"])
        for name, found in runs.items():
            walls = [run[1] for run in found]
            print(f"  {name:24} best {min(walls) * 1e3:9.1f} ms  p50 {statistics.median(walls) * 1e3:9.1f}"
                  f"  CPU {min(run[2] for run in found) * 1e3:9.1f} ms  resident {max(run[3] for run in found):6.1f} MB"
                  f"  {found[0][0]:,} records  {min(walls) / base:6.2f}x", flush=True)


def bench_orders(context):
    source = str(context.files[-1])
    ls = [context.freshet, "repo", "ls", "--count", "--mem", "16M"]
    print(f"\n{Path(source).name} in each order, under 16 MB")
    for order in ("streamable", "cid-sorted", "pds"):
        car = str(context.work / f"{order}.car")
        subprocess.run([context.freshet, "repo", "pack", "--order", order, "-o", car, source], check=True)
        for name, word in (("file", car), ("pipe", "-")):
            found = [one_process([*ls, word], car) for _ in range(context.runs)]
            print(f"  {order + ', ' + name:24} best {min(run[1] for run in found) * 1e3:9.1f} ms"
                  f"  CPU {min(run[2] for run in found) * 1e3:9.1f} ms"
                  f"  resident {max(run[3] for run in found):6.1f} MB", flush=True)


def bench_many(context):
    folder = context.work / "many"
    subprocess.run([context.freshet, "simulate", "--accounts", "10000", "--events", "100000", "--format", "car",
                    "--out", str(folder)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    cars = sorted(path.name for path in folder.glob("*.car"))
    size = sum((folder / name).stat().st_size for name in cars)
    cores = os.cpu_count()

    def took(lanes):
        """Best seconds of so many processes side by side, each with its share of the files."""
        best = 1e9
        for _ in range(context.runs):
            start = time.monotonic()
            running = [subprocess.Popen([context.freshet, "repo", "ls", "--count", *cars[lane::lanes]], cwd=folder,
                                        stdout=subprocess.DEVNULL) for lane in range(lanes)]
            if any(process.wait() for process in running):
                sys.exit("repo ls failed")
            best = min(best, time.monotonic() - start)
        return best
    one, all_cores = took(1), took(cores)
    print(f"\n{len(cars):,} small repositories, {size / len(cars):,.0f} bytes each, one process:"
          f" best {one * 1e3:.0f} ms, {len(cars) / one:,.0f} repositories/s; {cores} side by side:"
          f" {all_cores * 1e3:.0f} ms, {one / all_cores / cores:.2f} a core")


def bench_frames(context):
    frames = CORPUS / "firehose" / "frames.bin"
    if not frames.exists():
        note(f"frames left out: no {frames}")
        return
    print("\nfirehose frames")
    for row in json_lines([context.walker, "--frames", str(frames)]):
        each = row["best_ns"] / row["frames"]
        print(f"  {row['stage']:24} best {each / 1e3:6.2f} us a frame  {1e9 / each:9,.0f} frames/s"
              f"  {row['allocations'] / row['frames']:.1f} allocations a frame")
    if not Path(context.signatures).exists():
        note("signatures left out: the benches are not built")
        return
    signatures = subprocess.run([context.signatures], stdout=subprocess.PIPE, text=True, check=False)
    for line in signatures.stdout.splitlines():
        if "verify" in line:
            print(f"  {line}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*PARTS, []], metavar="NAME")
    parser.add_argument("--freshet", default=os.environ.get("FRESHET", "build/freshet"))
    parser.add_argument("--file", action="append", type=Path, default=[])
    parser.add_argument("--records", type=int, default=192000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--no-peers", action="store_true")
    context = parser.parse_args()
    context.freshet = str(Path(context.freshet).resolve())
    bench = Path(context.freshet).parent / "bench"
    context.walker, context.signatures = str(bench / "repo_repo_bench"), str(bench / "atproto_atproto_bench")
    names = (line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    print(f"machine: {next(names, '?')}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    context.peers = {} if context.no_peers else peers()
    if "HUGE_CAR" in os.environ:
        context.file.append(Path(os.environ["HUGE_CAR"]))
    context.work = Path(tempfile.mkdtemp(prefix="freshet-bench-"))
    try:
        small = [CORPUS / "car" / name for name in SMALL]
        context.files = [car for car in small if car.exists()] + [car.resolve() for car in context.file]
        if context.records:
            context.files.append(synthetic(context.freshet, context.records, context.work))
        for name in context.names or PARTS:
            globals()[f"bench_{name}"](context)
    finally:
        shutil.rmtree(context.work)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Repositories: our walker beside its peers, on the same files, in the same run.

    bench/repo_bench.py [NAME...] [--freshet BINARY] [--file CAR]... [--records N] [--seed S] [--order ORDER]
                        [--runs R] [--no-peers]

NAME picks parts, all but the last without one:
  memory   each file from memory, at each level, records to a callback or in chunks of 256 of which a processor keeps
           the length; and opened by its name
  process  whole processes in turn: in memory, under 16 MB, through a pipe; with the most memory each had
  orders   the synthetic repository in each order: from memory, as it comes through a pipe, and mapped; records taken
           while it is opened or by the walk
  many     10,000 small repositories
  cores    the synthetic one several times over: one process, and as many as there are cores
  frames   firehose frames by stage, signatures a second
  sizes    memory, for synthetic repositories of 5 and 128 MiB
Files: the small ones of the corpus, a synthetic repository of N records (192,000; bench/repo_gen.py), any --file, and
$HUGE_CAR.

Every run of ours and of a peer must see as many records, of as many bytes together, as are known of the file: written
here for the corpus, from the generator for what is generated, from `repo ls` for other files. Where one does not, the
bench goes on, and ends with exit 1.

Levels: trusted checks shape and order, lazy also layers and the hashes of what it reads, full every hash. None checks
order and layers alone, as an older peer did: trusted and lazy stand on either side of it.

Peers (bench/peers/README.md) are built in $FR_PEERS (default: a folder in the user's cache) with cargo and npm; one
that cannot be built is left out with a note. Times are us a run. Ratios are of the best: other work on the machine
lengthens the rest, though not by much the processor time of the process itself (CPU, the least;
of runs over 0.1 ms)."""
import argparse
import collections
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import repo_gen

SOURCE = Path(__file__).resolve().parent.parent
CORPUS = Path(os.environ.get("FR_CORPUS", SOURCE.parent / "shared" / "data")).resolve()
PARTS = ("memory", "process", "orders", "many", "cores", "frames")
MORE_PARTS = ("sizes",)
SMALL = {"repo-stream/empty.car": (0, 0), "repo-stream/tiny.car": (8, 2071), "repo-stream/little.car": (278, 246960),
         "jetstream/repo.car": (23, 4956)}
FRAMES = (60, 62)  # of the corpus: frames, operations
SIZES = (14_800, 379_000)
LEVELS = ("trusted", "lazy", "full")
# What is read how (reading_bench.c), and what it is called here.
READINGS = {"memory, by the walk": ("memory", "chunk"), "memory, on arrival": ("memory", "arrival"),
            "pipe, by the walk": ("pipe", "chunk"), "pipe, on arrival": ("pipe", "arrival"),
            "pipe, arrived and let go": ("pipe", "forget"),
            "mapped, by the walk": ("path", "chunk"), "mapped, on arrival": ("path", "arrival")}
NPM = "@atproto/repo@0.10.14"
PEER_SECONDS = "2"
CPU_NS_MIN = 100_000  # shorter runs are not told by the processor's clock
ALL_MB, LITTLE_MB = "4096", "16"

Car = collections.namedtuple("Car", "path records record_bytes")


def note(text):
    print(f"note: {text}", flush=True)


# ---- peers -----------------------------------------------------------------------------------------------------------

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

class Context:
    def __init__(self, args, work):
        self.args, self.work = args, work
        self.freshet = str(Path(args.freshet).resolve())
        bench = Path(self.freshet).parent / "bench"
        self.walker, self.reader = str(bench / "repo_repo_bench"), str(bench / "repo_reading_bench")
        self.signatures = str(bench / "atproto_atproto_bench")
        self.runs = args.runs
        self.wrong = 0

    @functools.cached_property
    def peers(self):
        return {} if self.args.no_peers else peers()

    @functools.cache
    def synthetic(self, count, order):
        """Made by another process: what this one holds would be told as the memory of those it starts."""
        path = self.work / f"synthetic-{count}-{order}.car"
        done = subprocess.run([sys.executable, "-B", repo_gen.__file__, str(count), "--order", order, "--seed",
                               str(self.args.seed), "--out", str(path), "--freshet", self.freshet], check=True,
                              stdout=subprocess.PIPE, text=True)
        return Car(path, *map(int, done.stdout.split()))

    @functools.cached_property
    def others(self):
        """--file and $HUGE_CAR: nobody but us says what they hold."""
        found = []
        for path in self.args.file:
            listing = subprocess.Popen([self.freshet, "repo", "ls", "--mem", "4G", str(path)], stdout=subprocess.PIPE,
                                       text=True)
            records = record_bytes = 0
            for line in listing.stdout:
                records, record_bytes = records + 1, record_bytes + int(line.rsplit("\t", 1)[1])
            if listing.wait() != 0:
                sys.exit(f"{path} is no sound repository")
            found.append(Car(path.resolve(), records, record_bytes))
        return found

    @functools.cached_property
    def large(self):
        """The synthetic one; without it the last that was named."""
        if self.args.records:
            return self.synthetic(self.args.records, self.args.order)
        return self.others[-1] if self.others else None

    def files(self):
        small = [Car(CORPUS / "car" / name, *known) for name, known in SMALL.items()]
        present = [car for car in small if car.path.exists()]
        if len(present) < len(small):
            note(f"files of the corpus left out: not in {CORPUS}")
        return present + self.others + ([self.large] if self.args.records else [])

    def hold(self, who, seen, known):
        """What a run saw against what is known; as many of the two numbers as it tells."""
        if not seen or tuple(seen) != tuple(known)[:len(seen)]:
            self.fail(f"{who} saw {tuple(seen)}, known are {tuple(known)}")

    def fail(self, text):
        self.wrong += 1
        print(f"WRONG: {text}", flush=True)


# ---- runs ------------------------------------------------------------------------------------------------------------

def json_lines(context, command, cwd=None, peer=False):
    """A peer may fail, with a note; we may not."""
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        (note if peer else context.fail)(f"{Path(command[0]).name} {' '.join(command[1:5])}… ended with "
                                         f"{done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def print_row(who, row, base):
    ns = row["best_ns"]
    ratio = f"{ns / base:9.2f}x" if base else ""
    allocations = "" if row.get("allocations") is None else f" {row['allocations']:>9} allocations"
    cpu = f"  CPU {row['cpu_ns'] / 1e3:12.1f}" if "cpu_ns" in row and ns >= CPU_NS_MIN else ""
    resident = f" {row['resident_bytes'] / 1e6:7.1f} MB resident" if "resident_bytes" in row else ""
    print(f"  {who:28} best {ns / 1e3:12.1f} us  p50 {row['p50_ns'] / 1e3:12.1f}  p99 {row['p99_ns'] / 1e3:12.1f}"
          f"{cpu} {row['bytes'] * 1e3 / ns:7.0f} MB/s {ns / max(row['records'], 1):8.0f} ns/record"
          f"{allocations}{resident}{ratio}", flush=True)


def read_rows(context, car, names):
    """(name, row) for each name: way, take, level, MB; a process each, so that its memory is its own."""
    for name, words in names.items():
        for row in json_lines(context, [context.reader, *words, str(car.path)]):
            context.hold(f"{name}, {car.path.name}", (row["records"], row["record_bytes"]), car[1:])
            yield name, row


def peer_rows(context, car):
    for name, command in context.peers.items():
        words = ["time", PEER_SECONDS] if name == "repo-stream" else [PEER_SECONDS]
        for row in json_lines(context, [*command, *words, str(car.path)], Path(command[-1]).parent, True):
            context.hold(f"{name}, {car.path.name}", (row["records"], row["record_bytes"]), car[1:])
            yield name, row


def seen_by(line):
    """What a process printed of a file, numbers or JSON: what it saw, and its resident bytes where it tells them."""
    if line.startswith(b"{"):
        row = json.loads(line)
        return (row["records"], row["record_bytes"]), row.get("resident_bytes")
    return tuple(map(int, line.split())), None


def reaped(process):
    """What it used; its returncode is set."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage


def one_process(context, name, command, car):
    """Wall and processor seconds, and the most bytes it had; None where it failed. What the system tells of those
    begins with what its parent has, so Python stays small."""
    start = time.monotonic()
    feeder = subprocess.Popen(["cat", car.path], stdout=subprocess.PIPE) if command[-1] == "-" else None
    process = subprocess.Popen(command, stdin=feeder and feeder.stdout, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
    if feeder:
        feeder.stdout.close()
    with process.stdout as pipe:
        out = pipe.read()
    usage = reaped(process)
    wall = time.monotonic() - start
    if feeder:
        feeder.wait()
    if process.returncode != 0:
        (note if name in context.peers else context.fail)(f"{' '.join(command)} ended with {process.returncode}")
        return None
    seen, resident_bytes = seen_by(out.splitlines()[-1])
    context.hold(f"{name}, {car.path.name}", seen, car[1:])
    return wall, usage.ru_utime + usage.ru_stime, resident_bytes or usage.ru_maxrss * 1024


def in_turn(context, car, commands):
    """Each command so many times, one after the other; rows to print."""
    runs = {name: [] for name in commands}
    for _ in range(context.runs):
        for name, command in commands.items():
            found = one_process(context, name, command, car)
            if found:
                runs[name].append(found)
    for name, found in runs.items():
        if found:
            walls = sorted(int(run[0] * 1e9) for run in found)
            yield name, {"bytes": car.path.stat().st_size, "records": car.records, "best_ns": walls[0],
                         "p50_ns": walls[len(walls) // 2], "p99_ns": walls[len(walls) * 99 // 100],
                         "cpu_ns": min(run[1] for run in found) * 1e9,
                         "resident_bytes": max(run[2] for run in found)}


# ---- parts -----------------------------------------------------------------------------------------------------------

def memory_rows(context, car):
    ours = json_lines(context, [context.walker, str(car.path)])
    full = next((row for row in ours if row["level"] == "full"), None)
    if full is None:
        return
    print(f"\n{car.path.name}: {full['bytes']:,} bytes, {full['records']:,} records; ratio to ours at full")
    for row in ours:
        context.hold(f"{row['level']}, {car.path.name}", (row["records"], row["record_bytes"]), car[1:])
        print_row(f"freshet {row['level']}", row, full["best_ns"])
    chunks = {"freshet full, chunks": ("memory", "chunk", "full", ALL_MB)}
    chunks.update({f"freshet {level}, by name": ("path", "chunk", level, ALL_MB) for level in LEVELS})
    for rows in (read_rows(context, car, chunks), peer_rows(context, car)):
        for name, row in rows:
            print_row(name, row, full["best_ns"])


def bench_memory(context):
    note("no level checks order and layers alone: trusted does less, lazy more")
    for car in context.files():
        memory_rows(context, car)


def bench_sizes(context):
    for count in SIZES:
        memory_rows(context, context.synthetic(count, context.args.order))


def bench_process(context):
    car = context.large
    if car is None:
        note("process left out: no large file")
        return
    path = str(car.path)

    def ours(name, mb, *ways):
        ls = {"path": [context.freshet, "repo", "ls", "--count", "--mem", f"{mb}M", path]}
        ls["pipe"] = [*ls["path"][:-1], "-"]
        for way in ways:
            suffix = "" if way == "path" else ", piped"
            yield name + suffix, ls[way]
            yield name + suffix + ", chunks", [context.reader, "once", way, "chunk", "full", mb, path]
    pairs = {"in memory": dict(ours("freshet", ALL_MB, "path")),
             "under 16 MB": dict(ours("freshet", LITTLE_MB, "path", "pipe"))}
    rust = context.peers.get("repo-stream")
    if rust:
        spill = tempfile.mkdtemp(dir=context.work)
        pairs["in memory"]["repo-stream"] = [*rust, "count", path]
        pairs["under 16 MB"]["repo-stream"] = [*rust, "spill", LITTLE_MB, spill, path]
    for title, commands in pairs.items():
        rows = dict(in_turn(context, car, commands))
        print(f"\nwhole processes in turn, {title}, {car.path.name}; level full; ratio to ours")
        for name, row in rows.items():
            print_row(name, row, rows["freshet"]["best_ns"] if "freshet" in rows else None)


def bench_orders(context):
    if not context.args.records:
        note("orders left out: --records 0")
        return
    for order in repo_gen.ORDERS:
        car = context.synthetic(context.args.records, order)
        print(f"\n{car.path.name}: level full")
        for name, row in read_rows(context, car, {name: (*words, "full", ALL_MB) for name, words in READINGS.items()}):
            print_row(name, row, None)
        ls = [context.freshet, "repo", "ls", "--count", "--mem", f"{LITTLE_MB}M"]
        for name, row in in_turn(context, car, {"file, process under 16 MB": [*ls, str(car.path)],
                                                "pipe, process under 16 MB": [*ls, "-"]}):
            print_row(name, row, None)


def side_by_side(context, lanes, files, command, known):
    """Wall and processor seconds of so many processes at once, each with its share of the files. `command` prints a
    line of each; `known` has its numbers by name of the file."""
    shares = [files[lane::lanes] for lane in range(lanes)]
    outs = [tempfile.TemporaryFile(dir=context.work) for _ in shares]
    start = time.monotonic()
    running = [subprocess.Popen([*command, *share], stdout=out) for share, out in zip(shares, outs)]
    used = [reaped(process) for process in running]
    wall = time.monotonic() - start
    failed = any(process.returncode for process in running)
    for share, out in zip(shares, outs):
        out.seek(0)
        lines = out.read().splitlines()
        if failed or len(lines) != len(share):
            context.fail(f"{' '.join(command)} failed, or told of {len(lines)} of {len(share)} files")
            continue
        for name, line in zip(share, lines):
            context.hold(name, seen_by(line)[0], known[name])
    return wall, sum(usage.ru_utime + usage.ru_stime for usage in used)


def print_lanes(context, title, files, size, command, known):
    """One process and as many as there are cores, in turn."""
    best = {1: (float("inf"), float("inf")), os.cpu_count(): (float("inf"), float("inf"))}
    for _ in range(context.runs):
        for lanes in best:
            found = side_by_side(context, lanes, files, command, known)
            best[lanes] = tuple(map(min, best[lanes], found))
    for lanes, (wall, cpu) in best.items():
        print(f"  {f'{title}, {lanes} side by side':38} best {wall * 1e3:7.0f} ms {len(files) / wall:9,.0f} files/s"
              f" {size / wall / 1e6:7,.0f} MB/s {best[1][0] / wall / lanes:5.2f} a core  CPU {cpu * 1e3:7.0f} ms",
              flush=True)


def bench_many(context):
    """What each holds is read off its blocks: a record has a $type, and is there once."""
    folder = context.work / "many"
    subprocess.run([context.freshet, "simulate", "--accounts", "10000", "--events", "100000", "--format", "car",
                    "--out", str(folder)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    known, size = {}, 0
    for path in sorted(folder.glob("*.car")):
        car = path.read_bytes()
        blocks = [section[section.index(cid) + len(cid):] for cid, section in repo_gen.sections(car)[1]]
        records = [len(block) for block in blocks if b"$type" in block]
        known[str(path)] = len(records), sum(records)
        size += len(car)
    names = list(known)
    print(f"\n{len(names):,} small repositories, {size / len(names):,.0f} bytes and"
          f" {sum(pair[0] for pair in known.values()) / len(names):.1f} records each; level full")
    print_lanes(context, "repo ls --count", names, size, [context.freshet, "repo", "ls", "--count"], known)
    print_lanes(context, "chunks", names, size, [context.reader, "once", "path", "chunk", "full", LITTLE_MB], known)


def bench_cores(context):
    car = context.large
    note("one file is walked by one thread: only several files use several cores")
    if car is None:
        note("cores left out: no large file")
        return
    files = [str(car.path)] * 4 * os.cpu_count()
    print(f"\n{len(files)} times {car.path.name}, level full")
    for mb in (ALL_MB, LITTLE_MB):
        print_lanes(context, f"chunks, {mb} MB each", files, car.path.stat().st_size * len(files),
                    [context.reader, "once", "path", "chunk", "full", mb], {files[0]: car[1:]})


def bench_frames(context):
    frames = CORPUS / "firehose" / "frames.bin"
    print("\nfirehose frames and signatures")
    if frames.exists():
        for row in json_lines(context, [context.walker, "--frames", str(frames)]):
            context.hold(row["stage"], (row["frames"], row["operations"]), FRAMES)
            each = {name: row[f"{name}_ns"] / row["frames"] for name in ("best", "p50", "p99")}
            print(f"  {row['stage']:24} best {each['best'] / 1e3:6.2f} us a frame  p50 {each['p50'] / 1e3:6.2f}"
                  f"  p99 {each['p99'] / 1e3:6.2f}  {1e9 / each['best']:9,.0f} frames/s"
                  f"  {row['allocations'] / row['frames']:.1f} allocations a frame")
    else:
        note(f"frames left out: no {frames}")
    if not os.access(context.signatures, os.X_OK):
        note(f"signatures left out: no {context.signatures}")
        return
    signatures = subprocess.run([context.signatures], stdout=subprocess.PIPE, text=True, check=False)
    if signatures.returncode != 0:
        context.fail("atproto_bench: a signature was refused")
    for line in signatures.stdout.splitlines():
        if "verify" in line:
            print(f"  {line}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*PARTS, *MORE_PARTS, []], metavar="NAME")
    parser.add_argument("--freshet", default=os.environ.get("FRESHET", "build/freshet"))
    parser.add_argument("--file", action="append", type=Path, default=[])
    parser.add_argument("--records", type=int, default=192000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--order", choices=repo_gen.ORDERS, default="pds")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--no-peers", action="store_true")
    args = parser.parse_args()
    names = (line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    print(f"machine: {next(names, '?')}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    if os.environ.get("HUGE_CAR"):
        args.file.append(Path(os.environ["HUGE_CAR"]))
    else:
        note("HUGE_CAR is not set: no file of yours")
    work = Path(tempfile.mkdtemp(prefix="freshet-bench-"))
    context = Context(args, work)
    for program in (context.freshet, context.walker, context.reader):
        if not os.access(program, os.X_OK):
            sys.exit(f"no {program}: build freshet and the benches first")
    try:
        for name in args.names or PARTS:
            globals()[f"bench_{name}"](context)
    finally:
        shutil.rmtree(work)
    if context.wrong:
        sys.exit(f"{context.wrong} runs saw other records than there are, or failed")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""What a stranger gets from `make install`: the README's embedding example, taken from its text, compiled against the
installed tree with pkg-config, once static and once shared, and run. The shared library shows freshet_* only."""
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

SOURCE = Path(os.environ["FR_SOURCE"])
BUILD = Path(os.environ["FR_BUILD"])
EXAMPLE_LINES_MAX = 12
SUM_LIMIT = 10 << 20  # examples/repo_sum.c's second, in bytes


def run(*command, **more):
    done = subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, **more)
    if done.returncode != 0:
        sys.exit(f"library: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}exit {done.returncode}")
    return done.stdout


def example():
    blocks = re.findall(r"^```c\n(.*?)^```", (SOURCE / "README.md").read_text(), re.M | re.S)
    found = [block for block in blocks if "#include <freshet.h>" in block]
    if len(found) != 1:
        sys.exit(f"library: README.md holds {len(found)} C blocks that include freshet.h, expected 1")
    if found[0].count("\n") > EXAMPLE_LINES_MAX:
        sys.exit(f"library: the example has {found[0].count(chr(10))} lines, the README promises about ten")
    return found[0]


def exports(library):
    names = [line.split()[-1].split("@")[0] for line in run("nm", "-D", "--defined-only", library).splitlines()]
    stray = [name for name in names if not name.startswith("freshet_")]
    headers = "".join(header.read_text() for header in (SOURCE / "include").glob("*.h"))
    declared = set(re.findall(r"\b(freshet_\w+)\(", headers))
    if stray:
        sys.exit(f"library: {library.name} exports {stray[:10]}")
    if missing := sorted(declared & {n for n in declared if not n.endswith("_t")} - set(names)):
        sys.exit(f"library: {library.name} lacks {missing}")
    return len(names)


def feed(pairs):
    """Each file into its pipe, in order. Opening a pipe waits for who reads it, and that one has closed it by the time
    it opens the next; so the same pipe may come again, but not twice in a row."""
    for car, pipe in pairs:
        with pipe.open("wb") as out:
            out.write(car.read_bytes())


def summed(command, environment):
    """What repo_sum says of each file, without whose it is."""
    lines = run(*command, env=environment, timeout=120).splitlines()
    return [line.split(": ", 1)[1] for line in lines]


def repositories(compiler, flags, freshet, top, environment):
    """examples/repo_sum.c: its sums of two repositories are those of `freshet repo ls`. By path none spills, for a file
    is mapped; out of a pipe the one that is larger than the limit does, and no other."""
    program = top / "repo_sum"
    run(*compiler, SOURCE / "examples/repo_sum.c", "-o", program, *flags)
    run(freshet, "simulate", "--format", "car", "--accounts", "2", "--events", "60000", "--out", top / "cars",
        env=environment)
    cars = sorted(top.glob("cars/**/*.car"))
    large = [car.stat().st_size > SUM_LIMIT for car in cars]
    if sorted(large) != [False, True] or any(SUM_LIMIT / 2 < car.stat().st_size <= SUM_LIMIT for car in cars):
        sys.exit(f"library: repositories of {[car.stat().st_size for car in cars]} bytes: one has to be larger than "
                 f"repo_sum's limit, the other small")
    sums = []
    for car in cars:
        lines = run(freshet, "repo", "ls", car, env=environment).splitlines()
        sums.append(f"{len(lines)} records, {sum(int(line.split()[2]) for line in lines)} bytes")
    if (said := summed([program, *cars], environment)) != sums * 2:
        sys.exit(f"library: repo_sum printed {said}, expected twice {sums}")
    pipes = [top / f"pipe{i}" for i in range(len(cars))]
    for pipe in pipes:
        os.mkfifo(pipe)
    threading.Thread(target=feed, args=[list(zip(cars, pipes)) * 2], daemon=True).start()
    expected = sums + [text + ", spilled" * spills for text, spills in zip(sums, large)]
    if (said := summed([program, *pipes], environment)) != expected:
        sys.exit(f"library: repo_sum printed {said} of pipes, expected {expected}")


def main():
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        prefix = top / "moved" / "prefix"
        run("cmake", "--install", BUILD, "--prefix", prefix)
        pc = next(prefix.glob("lib/**/freshet.pc"))
        libdir = pc.parent.parent
        environment = {**os.environ, "PKG_CONFIG_PATH": str(pc.parent), "LD_LIBRARY_PATH": str(libdir)}
        (top / "example.c").write_text(example())
        compiler = ["gcc", "-Wall", "-Wextra", "-Werror", top / "example.c"]
        flags = run("pkg-config", "--cflags", "--libs", "freshet", env=environment).split()
        static = run("pkg-config", "--cflags", "--libs", "--static", "freshet", env=environment).split()
        static = ["-l:libfreshet.a" if flag == "-lfreshet" else flag for flag in static]
        run(*compiler, "-o", top / "shared", *flags)
        run(*compiler, "-o", top / "static", *static)
        for kind in ["shared", "static"]:
            work = top / f"run-{kind}"
            work.mkdir()
            answer = run(top / kind, cwd=work, env=environment, timeout=60)
            status, _, body = answer.partition(" ")
            if status != "200" or json.loads(body)["status"] != "ok" or not (work / "my-data/log").is_dir():
                sys.exit(f"library: the {kind} example printed: {answer}")
        repositories(["gcc", "-Wall", "-Wextra", "-Werror"], flags, prefix / "bin/freshet", top, environment)
        count = exports(next(libdir.glob("libfreshet.so")))
        if (prefix / "bin/freshet").exists():
            run(prefix / "bin/freshet", "--version")
    print(f"library: installed, linked both ways, {count} names exported")
    return 0


if __name__ == "__main__":
    sys.exit(main())

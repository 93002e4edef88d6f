#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""The README's tour, run as it is printed: its commands on a generated network, then every curl and its answer."""
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

SOURCE = Path(os.environ["FR_SOURCE"])
FRESHET = os.environ["FRESHET"]
PRINTED = "http://127.0.0.1:8787"


def tour(text):
    """The commands of the first command-line block that need no network."""
    block = re.search(r"## The command line\n+```sh\n(.*?)```", text, re.S).group(1)
    commands = [line for line in block.split("\n") if line.startswith("freshet ") and "HOST" not in line]
    assert [shlex.split(c)[1] for c in commands] == ["simulate", "ingest", "serve"], commands
    return commands


def answers(text):
    """(URL, answer) of every curl that is printed with one."""
    block = re.search(r"```\n(\$ curl .*?)```", text, re.S).group(1)
    pairs = re.findall(r"\$ curl '([^']+)'\n((?:(?!\$ curl).*\n)+)", block)
    assert len(pairs) == block.count("$ curl") and pairs, block
    return [(url, json.loads(answer.replace("\n", ""))) for url, answer in pairs]


def run(command, folder):
    done = subprocess.run([FRESHET, *shlex.split(command)[1:]], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stderr}"
    return done.stdout


def compare(address, pairs):
    for url, expected in pairs:
        assert url.startswith(PRINTED), url
        with urllib.request.urlopen(address + url[len(PRINTED):], timeout=30) as answer:
            found = json.load(answer)
        assert found == expected, f"README.md: {url}\nprinted  {expected}\nanswered {found}"


def main():
    text = (SOURCE / "README.md").read_text()
    simulate, ingest, serve = tour(text)
    pairs = answers(text)
    with tempfile.TemporaryDirectory() as folder:
        run(simulate, folder)
        report = json.loads(run(ingest, folder).strip().split("\n")[-1])
        assert report["read"] == report["appended"] == report["last_seq"], report
        words = [word.replace(":8787", ":0") for word in shlex.split(serve)[1:]]
        daemon = subprocess.Popen([FRESHET, *words], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                  text=True)
        try:
            line = daemon.stdout.readline()
            assert line.startswith("listening on http://127.0.0.1:"), line
            compare(line.split()[-1], pairs)
        finally:
            daemon.send_signal(signal.SIGTERM)
            code = daemon.wait(timeout=60)
        assert code == 0, f"serve: exit {code} after SIGTERM"
    print(f"readme: the tour runs, {len(pairs)} answers are as printed")
    return 0


if __name__ == "__main__":
    sys.exit(main())

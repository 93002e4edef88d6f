#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""What a thousand followers of /subscribe cost: a fresh daemon reads lines from subscribe_bench, which follows it with
so many WebSockets and says how old each message is when it is read. Prints that, and the processor's time of the
daemon (all of it: parsing, syncing, folding, too) per million messages. Client and server share the machine.

    bench/subscribe_bench.py build/freshet build/bench/server_subscribe_bench [FOLLOWERS [EVENTS_A_SECOND [SECONDS]]]"""
import os
import resource
import subprocess
import sys
import tempfile


def cpu_s(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    freshet, client = sys.argv[1:3]
    followers, rate, seconds = (sys.argv[3:6] + ["1000", "2000", "10"][len(sys.argv) - 3:])[:3]
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as data:
        command = [freshet, "serve", "--data", data, "--listen", "127.0.0.1:0", "--source", "jetstream:-"]
        daemon = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            address = next(line for line in daemon.stdout if line.startswith(b"listening on")).split()[-1].decode()
            port = address.rsplit(":", 1)[1]
            before = cpu_s(daemon.pid)
            told = subprocess.run([client, port.rstrip("/"), followers, rate, seconds], stdout=daemon.stdin,
                                  stderr=subprocess.PIPE, text=True, check=True).stderr.strip()
            spent = cpu_s(daemon.pid) - before
        finally:
            daemon.terminate()
            daemon.wait()
    messages = int(told.split(" messages")[0].split()[-1])
    print(f"{told}; server {spent:.2f} CPU-s, {spent * 1e6 / max(messages, 1):.3f} CPU-s per million messages")


if __name__ == "__main__":
    main()

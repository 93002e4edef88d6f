#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""tools/bench_backfill.py [REPOSITORIES [EVENTS [HOSTS]]]: repositories a second of `freshet ingest --backfill`.

A relay, hosts and a file of documents on loopback, all by one asyncio process that answers from memory; limits that a
real host would set are lifted. Prints one JSON object: wall time, repositories/s, events/s, and of our process alone
its CPU time a repository and its largest resident memory.
"""
import asyncio
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.parse
from pathlib import Path

FRESHET = os.environ.get("FRESHET", str(Path(__file__).resolve().parents[1] / "build" / "freshet"))


class Host(asyncio.Protocol):
    def __init__(self, answer):
        self.answer, self.rest = answer, b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.rest += data
        while b"\r\n\r\n" in self.rest:
            head, self.rest = self.rest.split(b"\r\n\r\n", 1)
            body = self.answer(head.split(b" ", 2)[1].decode())
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


def serve(folder, ports):
    cars = {p.stem.replace("_", ":"): p.read_bytes() for p in sorted(folder.glob("*.car"))}
    dids = list(cars)
    rows = []
    for did in dids:
        at = cars[did].index(b"\x63rev\x6d") + 5
        rows.append({"did": did, "head": "x", "rev": cars[did][at:at + 13].decode(), "active": True})

    def answer(path):
        query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(path).query))
        if "getRepo" in path:
            return cars[query["did"]]
        start = int(query.get("cursor", 0))
        more = {"cursor": str(start + 1000)} if start + 1000 < len(rows) else {}
        return json.dumps({"repos": rows[start:start + 1000], **more}).encode()

    async def run():
        loop = asyncio.get_running_loop()
        servers = [await loop.create_server(lambda: Host(answer), "127.0.0.1", 0) for _ in range(ports[1])]
        ports[0].send([s.sockets[0].getsockname()[1] for s in servers])
        await asyncio.sleep(3600)
    asyncio.run(run())


def main():
    repositories, events, hosts = (int(a) for a in (sys.argv[1:] + ["10000", "100000", "10"][len(sys.argv) - 1:]))
    with tempfile.TemporaryDirectory(prefix="freshet-bench-") as scratch:
        folder = Path(scratch) / "cars"
        subprocess.run([FRESHET, "simulate", "--accounts", str(repositories), "--events", str(events), "--seed", "1",
                        "--format", "car", "--out", folder], check=True, stdout=subprocess.DEVNULL)
        ours, theirs = multiprocessing.Pipe()
        server = multiprocessing.Process(target=serve, args=(folder, (theirs, hosts)), daemon=True)
        server.start()
        ports = ours.recv()
        documents = json.loads(Path(f"{folder}.did-docs.json").read_text())
        for i, document in enumerate(documents.values()):
            for service in document["service"]:
                service["serviceEndpoint"] = f"http://127.0.0.1:{ports[i % hosts]}"
        (Path(scratch) / "docs.json").write_text(json.dumps(documents))
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        done = subprocess.run(
            [FRESHET, "ingest", "--data", f"{scratch}/data", "--backfill", f"http://127.0.0.1:{ports[0]}", "--did-docs",
             f"{scratch}/docs.json", "--backfill-rate", "1000000", "--backfill-per-host", "16", "--backfill-parallel",
             os.environ.get("PARALLEL", "16")], check=True, capture_output=True)
        seconds = time.monotonic() - start
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
        server.terminate()
        report = json.loads(done.stdout)
        status = json.loads(subprocess.run([FRESHET, "backfill", "status", "--json", "--data", f"{scratch}/data"],
                                           check=True, capture_output=True).stdout)
        print(json.dumps({"repositories": status["done"], "bytes": status["bytes"], "events": report["appended"],
                          "seconds": round(seconds, 2), "repositories_per_s": round(status["done"] / seconds),
                          "events_per_s": round(report["appended"] / seconds),
                          "cpu_us_per_repository": round(cpu_s * 1e6 / status["done"]),
                          "resident_mb_max": round(used.ru_maxrss / 1024)}))


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: MIT OR Apache-2.0
"""A backfill of a real PDS beside its firehose, while accounts write: what getRepo gives in the end is what we hold.

Skipped unless FR_PDS is set: see partner_pds_test.py."""
import random
import sys
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "support")]
import freshet  # noqa: E402
from freshet import Daemon, dump, live_records, main, run, scratch  # noqa: E402
from partner_pds_test import FOLDER, Pds  # noqa: E402


class Writers(threading.Thread):
    """Posts, likes, profiles and deletions by random accounts, until told to stop."""

    def __init__(self, pds, seed):
        super().__init__(daemon=True)
        self.pds, self.random, self.stopping, self.count = pds, random.Random(seed), False, 0

    def run(self):
        while not self.stopping:
            account, dice = self.random.choice(self.pds.accounts), self.random.random()
            if dice < 0.3 and account["records"]:
                uri = account["records"].pop(self.random.randrange(len(account["records"])))
                _, _, repo, collection, rkey = uri.split("/")
                self.pds.call("com.atproto.repo.deleteRecord", {"repo": repo, "collection": collection, "rkey": rkey},
                              account)
            elif dice < 0.4:
                self.pds.put(account, "app.bsky.actor.profile", {"displayName": str(self.count)}, rkey="self")
            else:
                account["records"].append(self.pds.put(account, "app.bsky.feed.post", {"text": str(self.count)})["uri"])
            self.count += 1


def test_backfill_beside_the_firehose():
    """The daemon starts late and is killed in the middle; writing never stops until the end."""
    seed = freshet.seed()
    rng = random.Random(seed)
    pds = Pds()
    try:
        for i in range(12):
            account = pds.join(f"user{i}")
            account["records"] += [pds.put(account, "app.bsky.feed.post", {"text": str(n)})["uri"] for n in range(8)]
        writers, data = Writers(pds, seed), scratch()
        options = ["--source", f"firehose:ws://localhost:{pds.port}", "--plc", pds.plc, "--backfill", pds.url,
                   "--backfill-rate", 4]
        writers.start()
        for _ in range(3):
            daemon = Daemon(data, *options)
            time.sleep(0.3 + rng.random())
            daemon.kill()
        daemon = Daemon(data, *options)
        daemon.wait_until(lambda: daemon.ok("/health")["backfills"][0]["phase"] == "done", "the backfill")
        time.sleep(1)
        writers.stopping = True
        writers.join()
        status = run("backfill", "status", "--data", data, "--json").report
        assert status["done"] + status["held"] == status["listed"] == len(pds.accounts), status
        truth = pds.truth()
        daemon.wait_until(lambda: live_records(dump(data))[0] == truth, "all of it")
        daemon.stop()
        events = dump(data)
        seen = [(e["did"], e["commit"]["rev"], e["commit"]["collection"], e["commit"]["rkey"], e["commit"]["operation"])
                for e in events if e["kind"] == "commit"]
        assert len(seen) == len(set(seen)), "an event came twice"
        freshet.verify(data)
        print(f"     {writers.count} writes meanwhile, {len(truth)} records, {status['held']} repositories held")
    finally:
        pds.close()


if __name__ == "__main__":
    if not (FOLDER / "node_modules/@atproto/dev-env").is_dir():
        freshet.skip("no PDS: FR_PDS")
    main(sys.modules[__name__])

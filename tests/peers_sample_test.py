#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""What @atproto/repo built and said of some small repositories (tests/peers/README.md), read and built again by us."""
import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
OURS = Path(os.environ.get("FR_BUILD", HERE.parent / "build")) / "peer_ours"


def ask(requests):
    text = "".join(json.dumps(request) + "\n" for request in requests).encode()
    done = subprocess.run([OURS], input=text, capture_output=True, check=False, timeout=600)
    assert done.returncode == 0, done
    return [json.loads(line) for line in done.stdout.splitlines()]


def to_judge(case, built):
    return {"do": "judge", "did": case["did"], "key": case["key"],
            **{part: built[part] for part in ("cars", "frames", "proofs")}}


def without_rev(answer):
    """Revisions are drawn from a clock there."""
    diff = answer["diff"] and {**answer["diff"], **{k: sorted(answer["diff"][k]) for k in ("created", "deleted")}}
    return {**answer, "diff": diff, "cars": [{k: v for k, v in car.items() if k != "rev"} for car in answer["cars"]]}


def main():
    if not OURS.exists():
        print(f"SKIPPED: {OURS} is not built")
        return 77
    sample = [json.loads(line) for line in (HERE / "peers" / "sample.jsonl").read_text().splitlines()]
    assert len(sample) >= 12
    theirs = ask(to_judge(one["case"], one["built"]) for one in sample)
    built = ask(one["case"] for one in sample)
    ours = ask(to_judge(one["case"], made) for one, made in zip(sample, built))
    for one, read, made, again in zip(sample, theirs, built, ours):
        wanted = without_rev(one["judged"])
        assert without_rev(read) == wanted, (one["case"], read, wanted)
        assert without_rev(again) == wanted, (one["case"], again, wanted)
        assert [p["present"] for p in made["proofs"]] == [p["present"] for p in one["built"]["proofs"]]
    print(f"{len(sample)} cases: as they are read, and as they are built")
    return 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: MIT OR Apache-2.0
"""`freshet repo` over repositories that are made as they are needed."""
import json

import atproto
import freshet as fr

DID = "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
SECRET = "11" * 32


def repo(*words, expect=0, stdin=b""):
    return fr.run("repo", *words, expect=expect, stdin=stdin)


def line(key, record, did=DID):
    return json.dumps({"uri": f"at://{did}/{key}", "value": record}).encode() + b"\n"


def lines(records):
    return b"".join(line(key, record) for key, record in sorted(records.items()))


def pack(data, *options):
    return repo("pack", *options, "-", stdin=data).out


def records(dice, count):
    def key():
        return f"app.bsky.feed.{dice.choice(['post', 'like'])}/{atproto.tid(17 * 10**14 + dice.randrange(10**15), 1)}"
    return {key(): {"$type": "x", "n": dice.randrange(50)} for _ in range(count)}


def facts(car, *options, expect=0):
    return json.loads(repo("check", "--json", *options, "-", stdin=car, expect=expect).text)


def listing(car):
    return [row.split("\t") for row in repo("ls", "-", stdin=car).text.splitlines()]


    return car


def sections(car):
    """CID -> whole section."""
    found, at = {}, 59
    while at < len(car):
        size = shift = 0
        start = at
        while True:
            size |= (car[at] & 127) << shift
            shift += 7
            at += 1
            if car[at - 1] < 128:
                break
        found[atproto.cid_text(car[at:at + 36])] = car[start:at + size]
        at += size
    return found

# SPDX-License-Identifier: MIT OR Apache-2.0
"""AT Protocol values for tests, written apart from the program: TIDs, canonical CBOR, CIDs, Jetstream's lines."""
import base64
import hashlib
import json
import struct

TID_ALPHABET = "234567abcdefghijklmnopqrstuvwxyz"


def tid(micros, clock=0):
    value = (micros & ((1 << 53) - 1)) << 10 | (clock & 1023)
    return "".join(TID_ALPHABET[value >> shift & 31] for shift in range(60, -1, -5))


def _head(major, value):
    if value < 24:
        return bytes([major << 5 | value])
    for size, info in ((1, 24), (2, 25), (4, 26), (8, 27)):
        if value < 1 << 8 * size:
            return bytes([major << 5 | info]) + value.to_bytes(size, "big")
    raise ValueError(value)


def cbor(value):
    """Canonical DAG-CBOR of a record given as JSON values."""
    if value is None or isinstance(value, bool):
        return {None: b"\xf6", False: b"\xf4", True: b"\xf5"}[value]
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, float):
        return b"\xfb" + struct.pack(">d", value)
    if isinstance(value, str):
        raw = value.encode()
        return _head(3, len(raw)) + raw
    if isinstance(value, list):
        return _head(4, len(value)) + b"".join(map(cbor, value))
    if set(value) == {"$link"}:
        raw = b"\0" + cid_bytes(value["$link"])
        return b"\xd8\x2a" + _head(2, len(raw)) + raw
    if set(value) == {"$bytes"}:
        raw = base64.b64decode(value["$bytes"] + "=" * (-len(value["$bytes"]) % 4))
        return _head(2, len(raw)) + raw
    members = sorted(((k.encode(), v) for k, v in value.items()), key=lambda m: (len(m[0]), m[0]))
    return _head(5, len(members)) + b"".join(_head(3, len(k)) + k + cbor(v) for k, v in members)


def cid_bytes(text):
    return base64.b32decode(text[1:].upper() + "=" * (-len(text[1:]) % 8))


def cid_text(raw):
    return "b" + base64.b32encode(raw).decode().lower().rstrip("=")


def cid_of(record):
    return cid_text(b"\x01\x71\x12\x20" + hashlib.sha256(cbor(record)).digest())


class Clock:
    """Source times and revs that only go up, one microsecond a step and more."""

    def __init__(self, start=1_736_448_492_000_000):
        self.now = start

    def tick(self, micros=1000):
        self.now += micros
        return self.now


class Writer:
    """Makes events; each later than the one before."""

    def __init__(self, start=1_736_448_492_000_000):
        self.clock = Clock(start)
        self.inner = 0

    def commit(self, did, operation, collection, rkey, record=None, rev=None, time_us=None):
        now = self.clock.tick()
        commit = {"rev": rev or tid(now), "operation": operation, "collection": collection, "rkey": rkey}
        if record is not None:
            commit["record"] = record
            commit["cid"] = cid_of(record)
        return {"did": did, "time_us": time_us or now, "kind": "commit", "commit": commit}

    def create(self, did, collection, rkey, record, **more):
        return self.commit(did, "create", collection, rkey, record, **more)

    def update(self, did, collection, rkey, record, **more):
        return self.commit(did, "update", collection, rkey, record, **more)

    def delete(self, did, collection, rkey, **more):
        return self.commit(did, "delete", collection, rkey, **more)

    def account(self, did, active, status=None):
        now = self.clock.tick()
        self.inner += 1
        account = {"active": active, "did": did, "seq": self.inner, "time": rfc3339(now)}
        if status is not None:
            account["status"] = status
        return {"did": did, "time_us": now, "kind": "account", "account": account}

    def identity(self, did, handle=None):
        now = self.clock.tick()
        self.inner += 1
        identity = {"did": did, "seq": self.inner, "time": rfc3339(now)}
        if handle is not None:
            identity["handle"] = handle
        return {"did": did, "time_us": now, "kind": "identity", "identity": identity}


def rfc3339(micros):
    import datetime
    moment = datetime.datetime.fromtimestamp(micros // 1_000_000, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + f".{micros % 1_000_000:06d}Z"


def line(event):
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def lines(events):
    return b"".join(line(e) + b"\n" for e in events)


def read_lines(path):
    with open(path, "rb") as file:
        return [json.loads(text) for text in file if text.strip()]

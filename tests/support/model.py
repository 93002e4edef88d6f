# SPDX-License-Identifier: MIT OR Apache-2.0
"""The network as plain dictionaries: what the answers must be, written from the specifications, as slowly as it likes.
Fed with events in Jetstream's shape, in log order."""
import datetime
import hashlib
import re

from atproto import cid_bytes

POST, REPOST = "app.bsky.feed.post", "app.bsky.feed.repost"
FOLLOW, BLOCK = "app.bsky.graph.follow", "app.bsky.graph.block"
HIDING = {"deactivated", "takendown", "suspended"}

AT_URI = re.compile(r"at://[a-z0-9.:%_-]+(/[A-Za-z0-9._~:-]+)*")
DID = re.compile(r"did:[a-z]*:[A-Za-z0-9._:%-]*[A-Za-z0-9._%-]")
# plain ones, already in normal form: what is escaped has to be
URI = re.compile(r"[a-z][a-z0-9+.-]*:([!#$&-;=?-Z_a-z~]|%(?:[019A-F][0-9A-F]|2[0-9A-CF]|3[A-F]|[46]0|[57][B-F]))*")
MAYBE_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S*")


def is_link(text):
    """Of generated records: links there are in normal form, or this model has to learn more."""
    if AT_URI.fullmatch(text) or DID.fullmatch(text) or URI.fullmatch(text):
        return True
    if MAYBE_URI.fullmatch(text) and text.isascii():
        raise ValueError(f"beyond this model: {text!r}")
    return False


def links_of(record):
    """(path, target) pairs in document order, each once (links specification, section 4)."""
    out, todo = {}, [("", record)]
    while todo:
        path, value = todo.pop(0)
        if isinstance(value, dict):
            if set(value) in ({"$link"}, {"$bytes"}):
                continue
            todo[:0] = [(f"{path}.{k}", v) for k, v in value.items()]
        elif isinstance(value, list):
            types = [v.get("$type") if isinstance(v, dict) else None for v in value]
            todo[:0] = [(path + (f"[{t}]" if isinstance(t, str) else "[]"), v) for t, v in zip(types, value)]
        elif isinstance(value, str) and is_link(value):
            out[path, value] = True
    return list(out)


def parse_ms(text):
    try:
        moment = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except (ValueError, AttributeError):
        return None
    delta = moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return (delta.days * 86400 + delta.seconds) * 1000 + delta.microseconds // 1000


def format_ms(ms):
    moment = datetime.datetime.fromtimestamp(ms // 1000, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + f".{ms % 1000:03d}Z"


def split_uri(uri):
    return tuple(uri.removeprefix("at://").split("/"))


class Model:
    def __init__(self, events=()):
        self.records = {}      # (did, collection, rkey) -> event
        self.seen = set()      # every record key there ever was
        self.status = {}       # did -> word; absent: active
        self.handles = {}      # handle -> every did that ever claimed it
        self.handle_of = {}    # did -> its newest handle
        self.lists = {}        # (target, collection, path) -> {(did, rkey): True} by arrival
        self.links = {}        # record key -> [(path, target)]
        self.linkers = set()
        self.seq = 0
        for event in events:
            self.apply(event)

    def apply(self, event):
        self.seq += 1
        if event["kind"] == "commit":
            self.commit(event)
        elif event["kind"] == "identity":
            handle = event["identity"].get("handle")
            if handle:
                self.handles.setdefault(handle.lower(), set()).add(event["did"])
                self.handle_of[event["did"]] = handle.lower()
        elif event["kind"] == "account":
            self.account(event["did"], event["account"])

    def commit(self, event):
        commit = event["commit"]
        key = (event["did"], commit["collection"], commit["rkey"])
        if commit["operation"] == "delete":
            self.remove(key)
            return
        self.seen.add(key)
        self.records[key] = event
        self.set_links(key, links_of(commit["record"]))

    def remove(self, key):
        self.records.pop(key, None)
        self.set_links(key, [])

    def set_links(self, key, links):
        did, collection, rkey = key
        before = self.links.pop(key, [])
        for path, target in before:
            if (path, target) not in links:
                del self.lists[target, collection, path][did, rkey]
        for path, target in links:
            self.lists.setdefault((target, collection, path), {}).setdefault((did, rkey), True)
            self.linkers.add(did)
        if links:
            self.links[key] = links

    def account(self, did, account):
        if account["active"]:
            self.status.pop(did, None)
            return
        word = account.get("status")
        if word == "deleted":
            for key in [k for k in self.records if k[0] == did]:
                self.remove(key)
            self.linkers.discard(did)
            self.status[did] = word
        elif word not in ("desynchronized", "throttled"):
            self.status[did] = word or "unknown"

    def active(self, did):
        return did not in self.status

    # ---- links

    def list(self, target, collection, path, dids=None):
        """Linkers, newest first, of active accounts."""
        rows = reversed(self.lists.get((target, collection, path), {}))
        return [(d, r) for d, r in rows if self.active(d) and (dids is None or d in dids)]

    def count_all(self, target, collection, path):
        return len(self.lists.get((target, collection, path), {}))

    def all_count(self, target):
        out = {}
        for (t, collection, path) in self.lists:
            if t == target:
                out.setdefault(collection, {})[path] = len(self.list(t, collection, path))
        return out

    # ---- timelines

    def subjects(self, kind, did):
        return {e["commit"]["record"]["subject"] for k, e in self.records.items() if k[0] == did and k[1] == kind}

    def edges(self, kind, a, b):
        return {"at://" + "/".join(k) for k, e in self.records.items()
                if k[0] == a and k[1] == kind and e["commit"]["record"]["subject"] == b}

    def item(self, key, event):
        commit, record = event["commit"], event["commit"]["record"]
        claimed, witnessed = parse_ms(record.get("createdAt")), event["time_us"] // 1000
        ms = witnessed if claimed is None or claimed < 0 else min(claimed, witnessed)
        uri = "at://" + "/".join(key)
        item = {"uri": uri, "cid": commit["cid"], "author": key[0], "sortAt": format_ms(ms),
                "kind": "post" if key[1] == POST else "repost"}
        if key[1] == REPOST:
            item["subject"] = record["subject"]["uri"]
        else:
            if "reply" in record:
                item["reply"] = {w: record["reply"][w]["uri"] for w in ("root", "parent")}
            item["text"] = record["text"]
        return (ms, cid_bytes(commit["cid"]), hashlib.sha256(uri.encode()).digest()[:8]), item

    def visible(self, key, event):
        if key[1] not in (POST, REPOST) or not self.active(key[0]):
            return False
        if key[1] == POST:
            return True
        subject = split_uri(event["commit"]["record"]["subject"]["uri"])
        dead = subject in self.seen and subject not in self.records
        return len(subject) == 3 and subject[1] == POST and not dead and self.active(subject[0])

    def feed(self, authors=None, without=()):
        """Items in reading order; `without`: authors whose posts must not come through a repost either."""
        items = []
        for key, event in self.records.items():
            if key[1] in (POST, REPOST) and (authors is None or key[0] in authors) and self.visible(key, event):
                if key[1] == POST or split_uri(event["commit"]["record"]["subject"]["uri"])[0] not in without:
                    items.append(self.item(key, event))
        items.sort(key=lambda pair: pair[0], reverse=True)
        return [item for _, item in items]

    def blocked(self, viewer):
        blockers = {k[0] for k, e in self.records.items()
                    if k[1] == BLOCK and e["commit"]["record"]["subject"] == viewer and self.active(k[0])}
        return self.subjects(BLOCK, viewer) | blockers

    def timeline(self, viewer):
        blocked = self.blocked(viewer)
        return self.feed((self.subjects(FOLLOW, viewer) - blocked) | {viewer}, blocked)

    def relationships(self, a, b):
        """name -> the set of URIs of which one must be told; empty: null."""
        out = {}
        for name, kind, x, y in (("following", FOLLOW, a, b), ("followedBy", FOLLOW, b, a), ("blocking", BLOCK, a, b),
                                 ("blockedBy", BLOCK, b, a)):
            out[name] = self.edges(kind, x, y) if self.active(x) else set()
        return out

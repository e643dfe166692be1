# SPDX-License-Identifier: Apache-2.0
"""The state of the control plane: what it serves, to whom, what it was asked, and how it shall
misbehave.  One lock guards all of it; whoever waits for a state waits on that lock."""

import threading
import time
import uuid

import messages as m
from snapshot import Snapshot

# A behaviour is absent, or as t/lib/Test/Cairn/ControlPlane.pm describes it.
BEHAVIOURS = {"delay_ms", "hold", "garbage", "nonce", "huge", "refuse", "order", "seed", "ca"}


class PlaneError(Exception):
    pass


class Watch:
    """What one stream watches of one type."""

    def __init__(self, url, wildcard, names, known):
        self.url, self.wildcard, self.names = url, wildcard, set(names)
        self.known = dict(known)    # versions that the client has, of versioned types
        self.sent = {}              # names that it was sent
        self.asked = set()          # names to be answered by themselves
        self.due = False            # all of it is to be sent
        self.first = True           # nothing was answered yet
        self.nonce = None           # of the response that waits for its ACK
        self.last_nonce = ""
        self.target = 0             # generation that is to be sent
        self.covered = 0            # newest generation that was sent, or changed nothing
        self.verdict = None         # of the newest response: None, ack, nack

    def idle(self):
        return self.nonce is None and not self.due and not self.asked

    def describe(self):
        return {"wildcard": self.wildcard, "names": sorted(self.names), "unacked": self.nonce,
                "generation": self.covered, "verdict": self.verdict, "idle": self.idle()}


class Plane:
    def __init__(self, authority, cluster_id, tokens):
        self.lock = threading.Condition()
        self.authority = authority
        self.cluster_id = cluster_id
        self.tokens = dict(tokens)
        self.snapshot = Snapshot()
        self.behave = {}
        self.streams = {}
        self.records = []
        self.generation = 1
        self.started = time.monotonic()
        self.next_stream = 0

    # Records.

    def record(self, kind, **what):
        with self.lock:
            entry = {"number": len(self.records) + 1, "kind": kind,
                     "time": round(time.monotonic() - self.started, 4), **what}
            self.records.append(entry)
            self.lock.notify_all()
            return entry

    def find(self, since=0, **wanted):
        """Records with a number over since; a value of wanted that is None does not count."""
        wanted = {key: value for key, value in wanted.items() if value is not None}
        if "type" in wanted:
            wanted["type"] = m.type_url(wanted["type"])
        return [entry for entry in self.records[since:]
                if all(entry.get(key) == value for key, value in wanted.items())]

    def wait(self, look, seconds):
        """The first true value of look(), or None after so many seconds."""
        with self.lock:
            return self.lock.wait_for(look, seconds) or None

    # Pushes.

    def push(self, urls):
        """A push of these types to every stream that watches them; the generation."""
        with self.lock:
            self.generation += 1
            for stream in self.streams.values():
                for url in urls:
                    watch = stream.watches.get(url)
                    if watch is None:
                        continue
                    watch.target = self.generation
                    if watch.wildcard or watch.names:
                        watch.due = True
                    else:
                        watch.covered = self.generation
            self.lock.notify_all()
            return self.generation

    def settled(self, urls, generation):
        """[watch] if some stream watches each of the types, and every watch of them has an
        answer to the generation; else nothing."""
        watches = [stream.watches[url] for stream in self.streams.values() for url in urls
                   if url in stream.watches]
        if {watch.url for watch in watches} != set(urls):
            return None
        if all(watch.idle() and (watch.covered >= generation or watch.target < generation)
               for watch in watches):
            return watches
        return None

    def new_nonce(self):
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return f"{stamp}/{self.generation}", f"{stamp}/{self.generation}{uuid.uuid4()}"

    # Misbehaviour.

    def set_behaviour(self, changes):
        unknown = set(changes) - BEHAVIOURS
        if unknown:
            raise PlaneError(f"no such behaviour: {sorted(unknown)}")
        with self.lock:
            for key, value in changes.items():
                if value is None:
                    self.behave.pop(key, None)
                else:
                    self.behave[key] = value
            self.lock.notify_all()

    def use(self, key, url=None):
        """The behaviour, if it applies to this type now; one with `times` is used up."""
        what = self.behave.get(key)
        if what is None or what is False:
            return None
        if not isinstance(what, dict):
            return what
        if url is not None and what.get("type") and m.type_url(what["type"]) != url:
            return None
        if "times" in what:
            what["times"] -= 1
            if what["times"] <= 0:
                del self.behave[key]
        return what

    def holds(self, url):
        held = self.behave.get("hold")
        if isinstance(held, list):
            return url in [m.type_url(each) for each in held]
        return held not in (None, False, 0, "0", "")

    # Identity.

    def caller(self, metadata):
        """The ns/sa of a call's token, or None."""
        token = metadata.get("authorization", "")
        if not token.startswith("Bearer ") or \
                metadata.get("clusterid", self.cluster_id) != self.cluster_id:
            return None
        return self.tokens.get(token[len("Bearer "):])

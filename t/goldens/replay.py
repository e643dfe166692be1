#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Replays the cases of a group against a cairn that has the group's configurations.

    replay.py GROUP NETWORK

is told by one line of JSON on standard output where its upstreams are ({"addresses": {...}}) and
which services need a listener ("services"), reads one of where the listeners and the access log are,
and then writes one for each case: {"id", "title", "result", "reason", "difference"}.  result is
pass, fail, skip, better, or stale: in one of the two lists without a difference.

skip and better have a line for each case that differs: GROUP, ID, what differs (client, end,
upstream, log, separated by commas), and why, separated by tabs.  What is in better may differ in
nothing else.

A case that fails is replayed once more at the end, alone: some have timeouts of 0.2 s, which a busy
machine exceeds by itself."""

import json
import pathlib
import re
import socket
import sys
import threading
import time

import http2
import normal
import upstream

HERE = pathlib.Path(__file__).resolve().parent
LANES = 4
PORTS = {"u1": 22001, "u2": 22002, "u3": 22003, "u4": 22004}
CHANCE = {"rt_two_hosts"}   # which of several endpoints comes first
# whether a head goes up before its body turns out to be wrong
TIMING = {"h2_cl_toosmall", "h2_cl_mismatch"}
FILLED = re.compile(r"\.\.\.<(\d+) chars>$", re.S)


def restore(text):
    """A long run of one octet was cut out of what was sent; what follows it was cut too."""
    found = FILLED.search(text)
    if not found:
        return text
    kept, size = text[:found.start()], int(found[1])
    if kept.startswith("HTTP/"):
        tail = "\r\ncontent-length: 2\r\n\r\nhi"
    elif kept.startswith("GET /aaa"):
        tail = " HTTP/1.1\r\nhost: a\r\n\r\n"
    else:
        tail = "\r\n\r\n" if "content-length" not in kept else ""
    return kept + kept[-1] * (size - len(kept) - len(tail)) + tail


def cut(text, like):
    """What was recorded has only the beginning of what is long: so has what came."""
    if isinstance(like, str) and isinstance(text, str):
        found = re.search(r"\.\.\.(<\d+ chars>)?$", like)
        return text[:found.start()] + like[found.start():] if found and len(text) > 255 else text
    return text


def deadline(case):
    """What is known to differ is not waited for."""
    return time.monotonic() + case["expect"]["elapsed_ms"] / 1000 + (0.5 if case["listed"] else 5)


class Http1Client:
    def __init__(self, case, address):
        self.expected = case["expect"]["client"]
        self.operations = case["client"]["ops"]
        self.methods = normal.methods_of(self.operations)
        self.raw, self.end = "", "open"
        self.wanted = normal.http1(self.expected["raw"], self.methods)
        self.sock = socket.create_connection(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.until = deadline(case)

    def read(self, seconds):
        self.sock.settimeout(seconds)
        try:
            octets = self.sock.recv(65536)
        except socket.timeout:
            return False
        except OSError:
            self.end = "rst"
            return False
        if not octets:
            self.end = "fin"
        self.raw += octets.decode("latin-1")
        return bool(octets)

    def read_some(self, seconds):
        until, before = time.monotonic() + seconds, len(self.raw)
        while time.monotonic() < until and self.end == "open":
            if not self.read(0.05) and len(self.raw) > before:
                return

    def run(self):
        for kind, *arguments in self.operations:
            if kind == "send":
                try:
                    self.sock.sendall(restore(arguments[0]).encode("latin-1"))
                except OSError:
                    pass
            elif kind == "sleep":
                time.sleep(arguments[0])
            elif kind == "recv":
                self.read_some(arguments[0] if arguments else 1.5)
            elif kind == "shutwr":
                self.sock.shutdown(socket.SHUT_WR)
            elif kind == "close":
                self.end = "closed by client"
            elif kind == "rst":
                upstream.reset(self.sock)
                self.end = "reset by client"
        self.finish()
        self.sock.close()

    def finish(self):
        """Until all that was recorded is there, and whether more comes."""
        while self.end == "open" and time.monotonic() < self.until:
            came = self.read(0.03)
            if not came and self.expected["end"] == "open" and self.same():
                break

    def same(self):
        return self.messages() == self.wanted

    def messages(self):
        return normal.http1(cut(self.raw, self.expected["raw"]), self.methods)

    def seen(self):
        end = self.end
        if end == "fin" and self.expected["end"] == "open" and "\nconnection: close\r" in self.raw:
            end = "open"            # the recording does not tell
        return {"client": self.messages(), "end": end}, \
            {"client": self.wanted, "end": self.expected["end"]}


class Http2Client:
    def __init__(self, case, address):
        self.expected = case["expect"]["client"]
        self.operations = case["client"]["ops"]
        self.wanted = normal.http2(self.expected["events"])
        self.events, self.end, self.opened, self.done = [], "open", set(), set()
        self.sock = socket.create_connection(address)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = http2.Connection(self.sock, is_client=True)
        self.until = deadline(case)

    def pump(self, until, enough=lambda: False):
        while not self.connection.end and time.monotonic() < until and not enough():
            for event in self.connection.poll(0.02):
                self.events.append(event)
                if event["ev"] == "rst" or event.get("end"):
                    self.done.add(event["sid"])

    def run(self):
        for kind, *arguments in self.operations:
            if kind == "headers":
                self.opened.add(arguments[0])
                self.connection.headers(*arguments)
            elif kind == "data":
                self.connection.data(arguments[0], arguments[1].encode("latin-1"), arguments[2])
            elif kind == "rst":
                self.connection.rst(*arguments)
                self.done.add(arguments[0])
            elif kind == "raw":
                self.connection.raw(arguments[0].encode("latin-1"))
            elif kind == "sleep":
                self.pump(time.monotonic() + arguments[0])
            elif kind == "recv":
                count = len(self.events)
                self.pump(time.monotonic() + (arguments[0] if arguments else 1.5),
                          lambda: len(self.events) > count)
            elif kind == "close":
                self.end = "closed by client"
        if self.end == "open":
            if self.expected["end"] == "open":
                self.pump(self.until, lambda: normal.http2(self.events) == self.wanted)
                self.pump(time.monotonic() + 0.03)
            else:
                self.pump(self.until)
            self.end = self.connection.end or "open"
        self.sock.close()

    def seen(self):
        return {"client": normal.http2(self.events), "end": self.end}, \
            {"client": self.wanted, "end": self.expected["end"]}


class Lane:
    def __init__(self, number, address):
        self.number = number
        self.upstreams = {name: upstream.Upstream(name, address) for name in PORTS}
        self.dead = socket.socket()         # bound, and nobody listens
        self.dead.bind((address, 0))

    def addresses(self):
        fake = f"127.0.0.{self.number + 1}"
        made = {f"{fake}:{PORTS[name]}": "%s:%d" % each.listener.getsockname()
                for name, each in self.upstreams.items()}
        made[f"{fake}:22099"] = "%s:%d" % self.dead.getsockname()
        return made

    def run(self, case, address, access_log):
        for name, each in self.upstreams.items():
            programs = case["upstream"].get(name, [])
            each.begin([[[restore(part) if isinstance(part, str) else part for part in operation]
                         for operation in program] for program in programs])
        time.sleep(0.01)                    # the idle connections that were closed are forgotten
        log = Log(access_log, address)
        kind = Http1Client if case["client"]["proto"] == "h1" else Http2Client
        client = kind(case, address)
        client.run()
        seen, wanted = client.seen()
        wanted["log"] = [normal.log(line) for line in case["log"]]
        seen["log"] = log.lines(len(wanted["log"]), 1 if case["listed"] else 5)
        if len(seen["log"]) == len(wanted["log"]):
            seen["log"] = [{key: cut(each[key], value) for key, value in like.items()}
                           for each, like in zip(seen["log"], wanted["log"])]
        records = [record for each in self.upstreams.values() for record in list(each.records)]
        wanted["upstream"] = normal.upstream(case["expect"]["upstream"])
        seen["upstream"] = normal.upstream(
            [{**each, "raw": cut_raw(each, case["expect"]["upstream"])} for each in records])
        if case["id"] in CHANCE:
            for each in (seen, wanted):
                each["upstream"] = sorted(each["upstream"].values(), key=len)
        if case["id"] in TIMING:
            seen["upstream"] = wanted["upstream"]
        return seen, wanted


def cut_raw(record, likes):
    raw = record["raw"].decode("latin-1")
    for like in likes:
        if like.get("raw", "").endswith("..."):
            raw = cut(raw, like["raw"])
    return raw


class Log:
    """The access log's lines of one listener from here on."""

    def __init__(self, path, address):
        self.path, self.mark = path, " %s:%d " % address
        self.offset = path.stat().st_size if path.exists() else 0

    def read(self):
        if not self.path.exists():
            return []
        with self.path.open(encoding="latin-1", newline="\n") as file:
            file.seek(self.offset)
            lines = file.read().split("\n")
        return [normal.log(line) for line in lines[:-1] if self.mark in line]

    def lines(self, count, seconds):
        until = time.monotonic() + seconds
        while count > 0 and time.monotonic() < until:
            lines = self.read()
            if len(lines) >= count:
                return lines
            time.sleep(0.01)
        return self.read()


def read_list(name, group):
    found = {}
    for line in (HERE / name).read_text().splitlines():
        if line and not line.startswith("#"):
            of, case, differs, reason = line.split("\t")
            if of == group:
                found[case] = (set(differs.split(",")), reason)
    return found


def judge(case, seen, wanted, lists):
    differs = {key for key in wanted if seen[key] != wanted[key]}
    made = {"id": case["id"], "title": case["title"], "result": "fail" if differs else "pass",
            "reason": "", "difference": {key: {"envoy": wanted[key], "cairn": seen[key]}
                                         for key in sorted(differs)}}
    for name, cases in lists.items():
        if case["id"] in cases:
            allowed, made["reason"] = cases[case["id"]]
            fine = name == "skip" or differs <= allowed
            made["result"] = "stale" if not differs else name if fine else "fail"
    return made


class Replay:
    """All cases of a group, each in the lane of its configuration."""

    def __init__(self, where, group, lanes):
        self.listeners, self.access_log = where["listeners"], pathlib.Path(where["access_log"])
        self.lists = {name: read_list(name, group) for name in ("skip", "better")}
        self.lanes, self.lock, self.failed = lanes, threading.Lock(), []

    def lane(self, case):
        return self.lanes[int(case["envoy_config"][2:]) % LANES]

    def run_one(self, case):
        case["listed"] = any(case["id"] in each for each in self.lists.values())
        address, _, port = self.listeners[case["envoy_config"][2:]].rpartition(":")
        try:
            seen, wanted = self.lane(case).run(case, (address, int(port)), self.access_log)
            return judge(case, seen, wanted, self.lists)
        except Exception as error:          # of this case; the others are told all the same
            return {"id": case["id"], "title": case["title"], "result": "fail", "reason": "",
                    "difference": {"error": repr(error)}}

    def tell(self, result):
        with self.lock:
            print(json.dumps(result), flush=True)

    def run_lane(self, cases):
        for case in cases:
            result = self.run_one(case)
            if result["result"] == "fail":
                self.failed.append(case)
            else:
                self.tell(result)

    def run(self, cases):
        threads = [threading.Thread(target=self.run_lane, args=(
            [each for each in cases if self.lane(each) is lane],)) for lane in self.lanes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for case in self.failed:
            self.tell(self.run_one(case))
        print(json.dumps({"done": len(cases), "again": len(self.failed)}), flush=True)


def main(group, network, *only):
    cases = json.loads((HERE / "cases" / f"{group}.json").read_text())["cases"]
    cases = [each for each in cases if (not only or each["id"] in only)
             and {"raw", "events"} & set(each["expect"].get("client", {}))]
    lanes = [Lane(number, f"{network}.{number + 3}") for number in range(LANES)]
    services = sorted({int(each["envoy_config"][2:]) for each in cases})
    print(json.dumps({
        "services": services,
        "addresses": {key: value for lane in lanes for key, value in lane.addresses().items()},
    }), flush=True)
    where = json.loads(sys.stdin.readline())
    Replay(where, group, lanes).run(cases)


if __name__ == "__main__":
    main(*sys.argv[1:])

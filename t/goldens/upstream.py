# SPDX-License-Identifier: Apache-2.0
"""The upstreams of a lane.  What one answers is a program, a list of operations; each request takes
the next program, and the last one again and again.  Without any it answers 200 "ok NAME"."""

import re
import socket
import struct
import threading
import time

import http2

PATIENCE = 30


def reset(sock):
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    sock.close()


def shut(sock):
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass                    # the peer was faster


class Over(Exception):
    """The connection has ended."""


class Upstream:
    def __init__(self, name, address):
        self.name, self.lock = name, threading.Lock()
        self.connections, self.records, self.programs, self.taken = set(), [], [], 0
        self.listener = socket.socket()
        self.listener.bind((address, 0))
        self.listener.listen(64)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def begin(self, programs):
        """Another case: nothing of the one before is left."""
        with self.lock:
            for sock in list(self.connections):
                shut(sock)
            self.connections.clear()
            self.records, self.programs, self.taken = [], programs, 0

    def _take(self):
        with self.lock:
            if not self.programs:
                return None
            self.taken += 1
            return self.programs[min(self.taken, len(self.programs)) - 1]

    def _accept(self):
        while True:
            sock, _ = self.listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            record = {"upstream": self.name, "raw": b"", "events": []}
            with self.lock:
                self.connections.add(sock)
                self.records.append(record)
            threading.Thread(target=self._serve, args=(sock, record), daemon=True).start()

    def _serve(self, sock, record):
        try:
            sock.settimeout(PATIENCE)
            first = sock.recv(65536)
            if not first:
                return
            while first.startswith(b"PRI") and len(first) < len(http2.PREFACE):
                first += sock.recv(65536)
            if first.startswith(http2.PREFACE):
                self._serve_http2(sock, record, first[len(http2.PREFACE):])
            else:
                self._serve_http1(sock, record, first)
        except (OSError, Over):
            pass
        finally:
            with self.lock:
                self.connections.discard(sock)
            sock.close()

    # HTTP/1

    def _serve_http1(self, sock, record, buffer):
        record["raw"] += buffer

        def more():
            octets = sock.recv(65536)
            if not octets:
                raise Over
            record["raw"] += octets
            return octets

        while True:
            while b"\r\n\r\n" not in buffer:
                buffer += more()
            head, _, buffer = buffer.partition(b"\r\n\r\n")
            body = "ok %s\n" % self.name
            program = self._take() or [["send", "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"
                                        "content-length: %d\r\n\r\n%s" % (len(body), body)]]
            if program[0][0] == "nobody":
                buffer = b""
            else:
                buffer = self._skip_body(head.lower(), buffer, more)
            for operation in program:
                self._run_http1(sock, record, operation)

    @staticmethod
    def _skip_body(head, buffer, more):
        length = re.search(rb"\r\ncontent-length: *(\d+)", head)
        if length:
            while len(buffer) < int(length.group(1)):
                buffer += more()
            return buffer[int(length.group(1)):]
        if b"\r\ntransfer-encoding: chunked" in head:
            while not re.search(rb"(^|\r\n)0\r\n(?:[^\r\n]+\r\n)*\r\n$", buffer):
                buffer += more()
            return b""
        return buffer

    @staticmethod
    def _run_http1(sock, record, operation):
        kind = operation[0]
        if kind == "send":
            sock.sendall(operation[1].encode("latin-1"))
        elif kind == "sleep":
            time.sleep(operation[1])
        elif kind == "shutwr":
            sock.shutdown(socket.SHUT_WR)
        elif kind == "close":
            sock.shutdown(socket.SHUT_RDWR)
            raise Over
        elif kind == "rst":
            reset(sock)
            raise Over
        elif kind == "recv":
            sock.settimeout(operation[1] if len(operation) > 1 else 2)
            try:
                octets = sock.recv(65536)
                record["raw"] += octets
                if not octets:
                    raise Over
            except socket.timeout:
                pass
            sock.settimeout(PATIENCE)

    # HTTP/2

    def _serve_http2(self, sock, record, buffer):
        connection = http2.Connection(sock, is_client=False)
        connection.buffer = buffer
        programs = {}

        def run(stream):
            threading.Thread(target=self._run_http2, daemon=True,
                             args=(connection, stream, programs[stream], record, sock)).start()

        while not connection.end:
            for event in connection.poll(PATIENCE):
                record["events"].append(event)
                stream = event["sid"]
                if event["ev"] == "headers" and stream not in programs:
                    programs[stream] = self._take() or [
                        ["headers", [[":status", "200"], ["content-type", "text/plain"]], False],
                        ["data", "ok %s\n" % self.name, True]]
                    if programs[stream][0][0] == "nowait":
                        run(stream)
                        continue
                if event.get("end") and stream in programs and programs[stream][0][0] != "nowait":
                    run(stream)

    @staticmethod
    def _run_http2(connection, stream, program, record, sock):
        seen = 0
        for kind, *arguments in program:
            if kind == "headers":
                connection.headers(stream, *arguments)
            elif kind == "data":
                connection.data(stream, arguments[0].encode("latin-1"), arguments[1])
            elif kind == "rst":
                connection.rst(stream, arguments[0])
            elif kind == "goaway":
                connection.goaway(*arguments)
            elif kind == "sleep":
                time.sleep(arguments[0])
            elif kind == "waitdata":
                until = time.monotonic() + 5
                while time.monotonic() < until and seen == (count := sum(
                        each["ev"] == "data" and each["sid"] == stream
                        for each in list(record["events"]))):
                    time.sleep(0.005)
                seen = count
            elif kind == "close":
                shut(sock)

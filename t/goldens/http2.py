# SPDX-License-Identifier: Apache-2.0
"""One HTTP/2 connection of a peer in tests: frames out as they are told, events in."""

import socket
import struct
import threading

import hpack

DATA, HEADERS, _, RST, SETTINGS, _, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 1, 1, 4, 8, 32
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
ERRORS = [
    "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
    "STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR",
    "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
]
FRAME_MAX = 16384


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def error_name(code):
    return ERRORS[code] if code < len(ERRORS) else code


class Connection:
    """end is how it ended: None, "fin" or "rst"."""

    def __init__(self, sock, is_client):
        self.sock, self.decoder = sock, hpack.Decoder()
        self.buffer, self.block, self.block_flags = b"", b"", 0
        self.lock = threading.Lock()
        self.end = None
        self.peer_settings = None
        settings = [(4, 1 << 20)] if is_client else [(4, 1 << 20), (8, 1)]
        self.raw((PREFACE if is_client else b"")
                 + frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *each) for each in settings))
                 + frame(WINDOW, 0, 0, struct.pack(">I", 1 << 24)))

    def raw(self, octets):
        with self.lock:
            try:
                self.sock.sendall(octets)
            except OSError:
                pass            # what has come is read all the same, and then the end

    def headers(self, stream, headers, end):
        block, kind = hpack.encode(headers), HEADERS
        while True:
            piece, block = block[:FRAME_MAX], block[FRAME_MAX:]
            flags = (END_STREAM if end and kind == HEADERS else 0) | (0 if block else END_HEADERS)
            self.raw(frame(kind, flags, stream, piece))
            kind = CONTINUATION
            if not block:
                return

    def data(self, stream, octets, end):
        while len(octets) > FRAME_MAX:
            self.raw(frame(DATA, 0, stream, octets[:FRAME_MAX]))
            octets = octets[FRAME_MAX:]
        self.raw(frame(DATA, END_STREAM if end else 0, stream, octets))

    def rst(self, stream, code):
        self.raw(frame(RST, 0, stream, struct.pack(">I", code)))

    def goaway(self, code, last):
        self.raw(frame(GOAWAY, 0, 0, struct.pack(">II", last, code)))

    def poll(self, seconds):
        """Events that came, after waiting at most so long for the first octet."""
        events = self._parse()
        if events:
            return events
        self.sock.settimeout(max(seconds, 0.001))
        try:
            octets = self.sock.recv(65536)
        except socket.timeout:
            return []
        except OSError:
            self.end = "rst"
            return []
        if not octets:
            self.end = "fin"
            return []
        self.buffer += octets
        return self._parse()

    def _parse(self):
        events = []
        while len(self.buffer) >= 9:
            size = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + size:
                break
            kind, flags, stream = struct.unpack(">BBI", self.buffer[3:9])
            payload, self.buffer = self.buffer[9:9 + size], self.buffer[9 + size:]
            event = self._take(kind, flags, stream & 0x7fffffff, payload)
            if event:
                events.append(event)
        return events

    def _take(self, kind, flags, stream, payload):
        if kind in (DATA, HEADERS) and flags & PADDED:
            payload = payload[1:len(payload) - payload[0]]
        if kind == SETTINGS and not flags & ACK:
            self.peer_settings = [list(struct.unpack(">HI", payload[at:at + 6]))
                                  for at in range(0, len(payload), 6)]
            self.raw(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.raw(frame(PING, ACK, 0, payload))
        elif kind == HEADERS:
            self.block = payload[5:] if flags & PRIORITY else payload
            self.block_flags = flags
            return self._head(flags, stream)
        elif kind == CONTINUATION:
            self.block += payload
            return self._head(flags, stream)
        elif kind == DATA:
            self._give_back(stream, len(payload), flags)
            return {"ev": "data", "sid": stream, "data": payload.decode("latin-1"),
                    "end": bool(flags & END_STREAM)}
        elif kind == RST:
            return {"ev": "rst", "sid": stream,
                    "code": error_name(int.from_bytes(payload, "big"))}
        elif kind == GOAWAY:
            return {"ev": "goaway", "sid": 0,
                    "code": error_name(int.from_bytes(payload[4:8], "big"))}
        return None

    def _give_back(self, stream, size, flags):
        if size:
            credit = struct.pack(">I", size)
            self.raw(frame(WINDOW, 0, 0, credit)
                     + (b"" if flags & END_STREAM else frame(WINDOW, 0, stream, credit)))

    def _head(self, flags, stream):
        if not flags & END_HEADERS:
            return None
        return {"ev": "headers", "sid": stream, "headers": self.decoder.decode(self.block),
                "end": bool(self.block_flags & END_STREAM)}

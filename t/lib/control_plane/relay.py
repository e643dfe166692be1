# SPDX-License-Identifier: Apache-2.0
"""A TCP relay before the gRPC server, which does to connections what the gRPC library cannot be
asked to do: end them with FIN or RST, freeze them, refuse them, or answer them with garbage."""

import asyncio
import os
import socket
import struct
import threading

MODES = ("pass", "refuse", "hang", "reset", "garbage", "drip")
DRIP_OCTETS, DRIP_SECONDS = 64, 0.002


def listen(address, port=0):
    # asyncio sets TCP_NODELAY only where the protocol is named.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    sock.listen(128)
    sock.setblocking(False)
    return sock


class Relay:
    """All methods may be called from any thread."""

    def __init__(self, address, target):
        self.address, self.target = address, target
        self.mode, self.accepted = "pass", 0
        self.writers = set()
        self.loop = asyncio.new_event_loop()
        self.thawed = None
        self.server = None
        sock = listen(address)
        self.port = sock.getsockname()[1]
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self._call(self._start(sock))

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    async def _start(self, sock):
        if self.thawed is None:
            self.thawed = asyncio.Event()
            self.thawed.set()
        self.server = await asyncio.start_server(self._serve, sock=sock)

    async def _serve(self, reader, writer):
        self.accepted += 1
        self.writers.add(writer)
        try:
            await self._relay(reader, writer)
        except OSError:
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def _relay(self, reader, writer):
        if self.mode == "reset":
            return self._reset(writer)
        if self.mode == "garbage":
            writer.write(os.urandom(4096))
            await writer.drain()
        if self.mode in ("garbage", "hang"):
            while await reader.read(65536):
                pass
            return None

        server_reader, server_writer = await asyncio.open_connection(*self.target)
        try:
            down = self._drip if self.mode == "drip" else self._pump
            await asyncio.gather(self._pump(reader, server_writer), down(server_reader, writer))
        finally:
            server_writer.close()
        return None

    async def _pump(self, reader, writer):
        while True:
            data = await reader.read(65536)
            await self.thawed.wait()
            if not data:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            writer.write(data)
            await writer.drain()

    async def _drip(self, reader, writer):
        """As _pump, a few octets at a time."""
        while data := await reader.read(65536):
            for at in range(0, len(data), DRIP_OCTETS):
                await self.thawed.wait()
                writer.write(data[at:at + DRIP_OCTETS])
                await writer.drain()
                await asyncio.sleep(DRIP_SECONDS)
        if writer.can_write_eof():
            writer.write_eof()

    @staticmethod
    def _reset(writer):
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    def drop(self, how):
        """Ends all connections, with "fin" or "rst"; how many there were."""
        async def run():
            writers = list(self.writers)
            for writer in writers:
                self._reset(writer) if how == "rst" else writer.close()
            return len(writers)
        return self._call(run())

    def freeze(self, frozen):
        """Connections stay open, and nothing passes in either direction."""
        async def run():
            self.thawed.clear() if frozen else self.thawed.set()
        self._call(run())

    def set_mode(self, mode):
        """What becomes of new connections; `refuse` closes the port itself."""
        async def run():
            if mode == "refuse" and self.server is not None:
                self.server.close()
                self.server = None
            if mode != "refuse" and self.server is None:
                await self._start(listen(self.address, self.port))
            self.mode = mode
        self._call(run())

"""The cable between the suite and its exchange, in a process of its own, so that it can be cut.

``python -m tests.suite.soak_cable LISTEN_PORT TARGET_PORT`` forwards every byte. Lines on standard input: ``cut`` ends
all connections and takes no new one, ``silent`` lets nothing arrive any more (and nobody is told), ``open`` mends.
"""

import asyncio
import subprocess
import sys

from tests.paper_exchange.running import ROOT


class End(asyncio.Protocol):
    """One end of a connection; what comes in goes out at the other."""

    def __init__(self, cable: "Cable") -> None:
        self.cable = cable
        self.other: End | None = None
        self.transport: asyncio.Transport | None = None
        self.waiting: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the connection; a silent cable reads nothing from it."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.cable.ends.add(self)
        for data in self.waiting:
            transport.write(data)
        if self.cable.silent:
            transport.pause_reading()

    def data_received(self, data: bytes) -> None:
        """Hand it on."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)
        elif self.other is not None:
            self.other.waiting.append(data)

    def connection_lost(self, error: Exception | None) -> None:
        """End the other end, too."""
        self.cable.ends.discard(self)
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class Cable:
    """Forwards connections of one port to another."""

    def __init__(self, listen: int, target: int) -> None:
        self.listen, self.target = listen, target
        self.ends: set[End] = set()
        self.silent = False
        self._server: asyncio.Server | None = None

    def obey(self, word: str) -> None:
        """Carry out one line of standard input."""
        self.silent = word == "silent"
        if word == "cut":
            self._close()
        else:
            asyncio.ensure_future(self.open())  # noqa: RUF006  # ends by itself
        for end in list(self.ends):
            if end.transport is None:
                continue
            if word == "cut":
                end.transport.abort()
            elif word == "silent":
                end.transport.pause_reading()
            else:
                end.transport.resume_reading()

    async def open(self) -> None:
        """Take connections."""
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self._taken, "127.0.0.1", self.listen)

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _taken(self) -> End:
        near, far = End(self), End(self)
        near.other, far.other = far, near
        asyncio.ensure_future(self._reach(near, far))  # noqa: RUF006  # ends by itself
        return near

    async def _reach(self, near: End, far: End) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: far, "127.0.0.1", self.target)
        except OSError:
            if near.transport is not None:
                near.transport.abort()


class CableProcess:
    """The cable as the soak sees it."""

    def __init__(self, listen: int, target: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.suite.soak_cable", str(listen), str(target)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            text=True,
        )

    def do(self, word: str) -> None:
        """``cut``, ``silent`` or ``open``."""
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def end(self) -> None:
        """End it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(5)


async def main(listen: int, target: int) -> None:
    """Forward until standard input ends."""
    cable = Cable(listen, target)
    await cable.open()
    words = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(words), sys.stdin)
    while line := await words.readline():
        cable.obey(line.decode().strip())


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))

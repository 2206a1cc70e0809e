"""A connection on which commands are sent without waiting for each answer."""

import socket
from abc import ABC, abstractmethod
from typing import Final
from urllib.parse import urlsplit

READ_BYTES: Final = 65_536


class Pipeline(ABC):
    """Counts the answers that are due; what a command and an answer look like is for subclasses to know."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self._socket = socket.create_connection((where.hostname, where.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._due = 0

    @abstractmethod
    def command(self, stream: str, offset: int, text: bytes) -> bytes:
        """Return what appends a text to a stream at an offset."""

    @abstractmethod
    def answered(self, data: bytes) -> int:
        """Take what has come and return how many answers it completes.

        Raises:
            RuntimeError: One of them is a refusal.
        """

    def send(self, commands: list[bytes]) -> None:
        """Send commands."""
        self._socket.sendall(b"".join(commands))
        self._due += len(commands)

    def take_answers(self, left: int) -> None:
        """Take the answers that are there; wait until no more than `left` answers are due."""
        while self._due:
            try:
                data = self._socket.recv(READ_BYTES, 0 if self._due > left else socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            if not data:
                raise RuntimeError("the server has closed the connection")
            self._due -= self.answered(data)

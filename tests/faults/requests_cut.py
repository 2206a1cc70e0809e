"""What a proxy in front of a broker knows of HTTP: where one request ends, and which one it is."""

from collections.abc import Callable

from tests.faults.proxy import Command
from tests.faults.trial import Trial

HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"


class Requests:
    """Cuts a byte stream into requests, each as its method, its path and its head."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[tuple[bytes, Command]]:
        """Take bytes; return each request that is complete, as bytes and as words."""
        self._buffer += data
        requests: list[tuple[bytes, Command]] = []
        while (head_end := self._buffer.find(HEAD_END)) >= 0:
            head = self._buffer[:head_end]
            lengths = [line[len(LENGTH) :] for line in head.lower().split(b"\r\n") if line.startswith(LENGTH)]
            end = head_end + len(HEAD_END) + (int(lengths[0]) if lengths else 0)
            if len(self._buffer) < end:
                break
            method, path, _ = head.split(b" ", 2)
            requests.append((self._buffer[:end], [method, path, head]))
            self._buffer = self._buffer[end:]
        return requests


def asks(what: str, trial: Trial) -> Callable[[Command], bool]:
    """Return a rule's condition: the `start` of a trial's stream, or its `entries`, `lease` or `seal`."""
    if what == "start":
        return lambda request: request[1] == b"/v1/streams" and trial.case.tag.encode() in request[2]
    path = f"/v1/streams/{trial.stream_id}/{what}".encode()
    return lambda request: request[1] == path

"""What one caller may do. Every endpoint is handed one of these objects, and no other way to a stream."""

import hashlib

from midstream.service.caller_chat import CallerChat
from midstream.service.caller_streams import CallerStreams
from midstream.service.resources import Resources
from midstream.service.retries import Try
from midstream.settings import Settings


class Caller:
    """The sender of a request, as far as the service layer knows it.

    This constructor is the only place where an identity enters the service layer.

    Attributes:
        streams: The caller's streams.
    """

    __slots__ = ("_resources", "_tenant", "streams")

    def __init__(self, resources: Resources, tenant: str) -> None:
        self._resources = resources
        self._tenant = tenant
        self.streams = CallerStreams(resources, tenant)

    @property
    def settings(self) -> Settings:
        """The settings of the process."""
        return self._resources.settings

    @property
    def is_stopping(self) -> bool:
        """Whether this process is stopping: it parts from every tail."""
        return self._resources.hub.draining

    def chat(self, chat_id: str) -> CallerChat:
        """Return the caller's chat of that id, which need not have begun."""
        return CallerChat(self._resources, self._tenant, self.streams, chat_id)

    async def begin_try(self, path: str, body: bytes, count: int) -> Try:
        """Begin an SDK's try of a request, 0 for the first one (PROTOCOL: Faces/Retries).

        Tries of one caller with the same path and body are tries of the same request.

        Raises:
            LogUnavailable: Redis did not answer.
        """
        body_digest = hashlib.sha256(body).hexdigest()
        digest = hashlib.sha256(f"{self._tenant}\0{path}\0{body_digest}".encode()).hexdigest()
        return await self._resources.retries.begin(digest, count)

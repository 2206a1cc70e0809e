"""What a producer's program has to know: that nothing can be produced, or that nothing more is to be."""


class ProduceError(Exception):
    """Nothing was started, or the stream does not go on by this producer.

    Attributes:
        code: As in PROTOCOL: Produce/Refused and Produce/Lost, for example `already_produced`.
        stream_id: The stream, where there is one: that of the key, which clients can read.
        retry_after_s: When it is worth trying again, where that is known.
    """

    def __init__(
        self, code: str, message: str, *, stream_id: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.stream_id = stream_id
        self.retry_after_s = retry_after_s


class Cancelled(Exception):
    """A client has cancelled the stream. Its end is written; the block is to be left."""

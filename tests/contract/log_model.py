"""One stream as the log's scripts should keep it, in plain Python: what `test_log_model.py` compares them with."""

from dataclasses import dataclass, field

from midstream.log.errors import LeaseHeld, LogError, StaleEpoch, StreamAbsent, StreamSealed
from midstream.log.values import Fence


@dataclass
class Model:
    """One stream as it should be; `status` is empty where there is none."""

    status: str = ""
    digest: str = ""
    epoch: int = 0
    owner: str = ""
    leased: bool = False
    cancelled: bool = False
    outcome: str = ""
    rows: list[tuple[int, bytes]] = field(default_factory=list)
    """Epoch and content of each entry; its place is its offset."""

    @property
    def fence(self) -> Fence:
        return Fence(self.epoch, self.owner)

    def gone(self) -> type[LogError] | None:
        """Return why the stream can not be worked on at all."""
        if self.status in ("", "deleted"):
            return StreamAbsent
        return StreamSealed if self.status == "ended" else None

    def fenced(self, fence: Fence) -> type[LogError] | None:
        """Return why a fence is not let in; one without an owner is the reaper's."""
        if fence.epoch != self.epoch:
            return StaleEpoch
        if not fence.owner:
            return LeaseHeld if self.leased else None
        return StaleEpoch if fence.owner != self.owner else None

    def write(self, contents: list[bytes]) -> None:
        self.rows += [(self.epoch, content) for content in contents]

    def end(self, outcome: str) -> None:
        self.status, self.outcome, self.leased = "ended", outcome, False

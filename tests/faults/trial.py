"""A case: one stream under one fault at one point; and what came of it."""

import asyncio
import re
from dataclasses import dataclass, field
from typing import Any

from midstream.log.entries import Entry
from midstream.log.keys import UNNAMED_TENANT, stream_name
from midstream.testing.provider.script import Script, directive
from tests.faults.reader import Reader

RESPONSES, CHAT, MESSAGES = "openai/fake", "compat/fake", "anthropic/fake"
SERVER, GEMINI = "vllm/fake", "gemini/fake"
MODELS = (RESPONSES, CHAT, MESSAGES)
POLICIES = ("interrupt", "auto", "continue", "restart")
TAG = re.compile(r"case-[a-z-]+-\d+-\d+")


def key_of(tenant: str) -> str:
    """Return the API key of a tenant of the rig."""
    return f"key-of-{tenant}"


@dataclass(frozen=True)
class Case:
    """What is to happen.

    Attributes:
        model: The upstream's dialect: `RESPONSES` (background, so it can be re-attached), `CHAT` or `MESSAGES`.
        policy: `on_worker_loss` of the request.
        script: What the provider does.
        point: Where the fault hits, in the family's own words.
        allowed: Outcomes that are truthful.
    """

    family: str
    number: int
    seed: int
    model: str
    policy: str
    script: Script
    point: Any
    allowed: frozenset[str]

    @property
    def id(self) -> str:
        """The name by which it is run again."""
        return f"{self.family}:{self.number}"

    @property
    def tag(self) -> str:
        """What finds this case's calls in the provider's books."""
        return f"case-{self.family}-{self.number}-{self.seed}"

    def body(self, **more: Any) -> dict[str, Any]:
        """Return the body that starts it."""
        return {
            "model": self.model,
            "input": directive(self.script),
            "on_worker_loss": self.policy,
            "chunking": {"flush_ms": 0},
            **more,
        }


@dataclass
class Trial:
    """A case that runs: what is known about it.

    Attributes:
        tenant: Whose stream it is; empty: that of an open broker.
        died_ms: When its producer died, by the clock of this machine; 0 if none did.
        in_time: Whether the time from there to the next life sign is held against the promise.
        violations: Sentences; none is the aim.
        late_ms: Time from the producer's death to the end or the next attempt, minus the lease.
        starved_ms: For how long the processes wanted a CPU in vain between death and end, all together.
        forgotten: The time of which the server may forget everything, by the clock of this machine; none: of no time.
        ended_readers: Those that had seen an end before the server forgot what it may forget.
        latency_ms: The family's own measure, e.g. from a cancel to the terminal entry.
    """

    case: Case
    stream_id: str = ""
    tenant: str = ""
    readers: list[Reader] = field(default_factory=list)
    reading: list["asyncio.Task[None]"] = field(default_factory=list)
    died_ms: float = 0
    in_time: bool = True
    state: dict[str, str] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    late_ms: float | None = None
    starved_ms: float = 0
    latency_ms: float | None = None
    gone: bool = False
    forgotten: tuple[float, float] | None = None
    ended_readers: list[Reader] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name that its stream has in Redis."""
        return stream_name(self.tenant or UNNAMED_TENANT, self.stream_id)

    @property
    def headers(self) -> dict[str, str]:
        """What a request on its stream carries; nothing if it is an open broker's."""
        return {"Authorization": f"Bearer {key_of(self.tenant)}"} if self.tenant else {}

    def breaks(self, sentence: str) -> None:
        """Note a violation."""
        self.violations.append(sentence)

    @property
    def outcome(self) -> str:
        """How it ended; empty if it did not."""
        return self.state.get("outcome", "")

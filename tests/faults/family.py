"""What a family is: how its cases are drawn from a seed, and how a volley of them is run."""

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.faults.rig import Rig, Serve, crash_proof
from tests.faults.trial import Case, Trial
from tests.topology import PLAIN

Draw = Callable[[random.Random, int], dict[str, Any]]
Run = Callable[[Rig, Sequence[Trial]], Awaitable[None]]


@dataclass(frozen=True)
class Family:
    """One kind of fault.

    Attributes:
        cases: How many cases a full run has.
        volley: How many streams suffer one fault together.
        draw: Returns the fields of case number `n`.
        run: Runs a volley and gathers its facts; the runner checks them.
        settings: Settings of the rig that this family needs for itself; none: it shares one.
        serve: Makes the server that this family needs; the rig is shared with those that need the same.
        limit_s: The longest time of one volley.
        in_sample: Whether the tests run some cases of it, and not `scripts/faults` alone.
        on: The topologies on which it makes sense.
        available: A sentence why it cannot run here; empty: it can.
    """

    name: str
    cases: int
    volley: int
    draw: Draw
    run: Run
    settings: dict[str, object] = field(default_factory=dict)
    serve: Serve = crash_proof
    limit_s: float = 60.0
    in_sample: bool = True
    on: tuple[str, ...] = (PLAIN,)
    available: Callable[[], str] = str

    def case(self, number: int, seed: int) -> Case:
        """Return case `number`; the same seed draws the same one."""
        drawn = self.draw(random.Random(f"{seed} {self.name} {number}"), number)  # noqa: S311
        tag = f"case-{self.name}-{number}-{seed}"
        return Case(
            family=self.name,
            number=number,
            seed=seed,
            model=drawn["model"],
            policy=drawn.get("policy", "auto"),
            script=replace(drawn["script"], tag=tag),
            point=drawn.get("point"),
            allowed=frozenset(drawn.get("allowed", ("completed",))),
        )

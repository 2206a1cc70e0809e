"""How many brokers and workers users need, and how much of Redis: sums over what docs/benchmarks.md measured.

One core is one of the machine that was measured. tests/unit/test_capacity.py holds the figures against that page.
"""

import math
import random
from dataclasses import dataclass
from typing import Final

DELIVERY_US: Final = 9.52
"""A broker's CPU for a delivery: `fanout` and `many` solved for what a delivery costs and what an entry does."""
INTAKE_US: Final = 25.4
"""A broker's CPU for an entry of a stream that it follows, however many tails it has there."""
BASE_CORES: Final = 0.09
"""What wakes a broker that has little to do: what `light` has above these sums."""
IDLE_TAIL_CORES: Final = 1.02e-6
IDLE_TAIL_KIB: Final = 4.24
RETURN_MS: Final = 0.13
"""A broker's CPU for a client that comes back: `storm`."""
REDIS_ENTRY_US, REDIS_BASE_CORES = 14.6, 0.075
"""Redis' CPU for an entry that one broker is told of, and for what wakes it: `light` and `many` solved for both."""
STORED_BYTES: Final = 34.0
"""Redis' memory for a token of a finished answer."""
TOKEN_US: Final = ((50, 244.0), (200, 150.0))
"""A worker's CPU for a token with the official SDKs, by the number of answers that it writes at once."""
BROKER_SHARE, WORKER_SHARE, REDIS_SHARE = 0.6, 0.7, 0.5
"""How much of a core each may use: the rest is for bursts, for a neighbour's share when it stops, and for replays."""
MOST_TAILS: Final = 20_000
"""Tails of a broker, so that its memory stays small and its end moves few; as many as a tenant has by default."""
LEAST_BROKERS, LEAST_WORKERS = 2, 2
"""So that one of them may go."""
STEP_S, PATIENCE_S = 0.1, 60.0
"""Of the simulation, which gives up brokers that are not enough after so long."""


@dataclass(frozen=True)
class Load:
    """What users do.

    Attributes:
        users: Pages that are open at once; each of them is a tail while its answer is written, or waits.
        active: The share of them whose answer is being written.
        tokens_per_s: Tokens of one answer in a second, an entry each.
        answer_tokens: Tokens of a whole answer.
        devices: Tails of one answer.
        retention_s: How long an ended answer is kept.
        generations: Answers that a worker writes at once, at most.
    """

    users: int
    active: float = 0.1
    tokens_per_s: float = 50.0
    answer_tokens: int = 500
    devices: float = 1.2
    retention_s: int = 86_400
    generations: int = 200

    @property
    def answers(self) -> int:
        """Answers that are being written at once."""
        return math.ceil(self.users * self.active)

    @property
    def tails(self) -> int:
        """Open tails: those of answers that are being written, and one of each other page."""
        return math.ceil(self.answers * self.devices) + self.users - self.answers

    @property
    def entries_per_s(self) -> float:
        """Entries that are logged in a second."""
        return self.answers * self.tokens_per_s


@dataclass(frozen=True)
class Need:
    """What a load needs: how many of a part, how busy each is in cores, and what breaks first where there are fewer."""

    count: int
    busy_cores: float
    first: str


def brokers_for(load: Load) -> Need:
    """Return how many brokers, at least two."""
    deliveries = load.answers * load.devices * load.tokens_per_s
    work = deliveries * DELIVERY_US / 1e6 + load.tails * IDLE_TAIL_CORES
    by_tails = max(LEAST_BROKERS, math.ceil(load.tails / MOST_TAILS))
    count = by_tails
    while (busy := _busy_broker(load, work, count)) > BROKER_SHARE:
        count += 1
    is_cpu = count > by_tails or by_tails == LEAST_BROKERS
    first = (
        "CPU: entries are written together, and come later" if is_cpu else "tails: memory, and clients that come back"
    )
    return Need(count, busy, first)


def _busy_broker(load: Load, work: float, count: int) -> float:
    """Return the cores of one of so many brokers. An answer's tails may be at several; each takes its entries in."""
    spread = count * (1 - math.pow(1 - 1 / count, load.devices))
    return BASE_CORES + (work + load.entries_per_s * spread * INTAKE_US / 1e6) / count


def token_us(answers: float) -> float:
    """Return a worker's CPU for a token when it writes so many answers at once."""
    (few, dear), (many, cheap) = TOKEN_US
    share = min(max((answers - few) / (many - few), 0.0), 1.0)
    return dear + (cheap - dear) * share


def workers_for(load: Load) -> Need:
    """Return the workers, at least two; each has as many answers as fit its core, and no more than it may have."""
    fitting = [
        answers
        for answers in range(1, load.generations + 1)
        if answers * load.tokens_per_s * token_us(answers) / 1e6 <= WORKER_SHARE
    ]
    each = max(fitting, default=1)
    count = max(LEAST_WORKERS, math.ceil(load.answers / each))
    mine = load.answers / count
    first = "its limit of generations: others wait" if each == load.generations else "CPU: tokens come later"
    return Need(count, mine * load.tokens_per_s * token_us(mine) / 1e6, first)


def redis_for(load: Load) -> Need:
    """Return how many of Redis' cores the log needs; more than one is a cluster, or several installations."""
    busy = REDIS_BASE_CORES + load.entries_per_s * REDIS_ENTRY_US / 1e6
    return Need(max(1, math.ceil(busy / REDIS_SHARE)), busy, "CPU: appends wait, and all tails with them")


def stored_bytes(load: Load) -> float:
    """Return the memory of Redis when as many answers have been written without a pause as are kept."""
    answers_per_s = load.entries_per_s / load.answer_tokens
    return (answers_per_s * load.retention_s + load.answers) * load.answer_tokens * STORED_BYTES


@dataclass(frozen=True)
class Storm:
    """What a simulated end of one broker does to the others.

    Attributes:
        busiest_before: Cores that the busiest broker needs before it.
        busiest_after: Cores that it needs after it; more than 1 are not there.
        back_s: Time until all clients of the broker are back, and nothing waits.
        latest_ms: Most work that waited at any broker meanwhile, in ms of its core: so late are its tails at worst.
    """

    busiest_before: float
    busiest_after: float
    back_s: float
    latest_ms: float


def simulated(load: Load, brokers: int, *, over_s: float, seed: int = 1) -> Storm:
    """Place each tail at a random broker, stop one, and let its clients come back to others over so many seconds.

    Args:
        load: What users do.
        brokers: How many there are, two or more.
        over_s: Time over which the clients come back: what a drain spreads, or about 1 s after a kill.
        seed: Of the places.
    """
    tails, busy = _placed(load, brokers, random.Random(seed))  # noqa: S311 - no secret
    moving = tails[0] / (brokers - 1)
    # A moved tail brings its answer along: nobody else at that broker is likely to read the same one.
    more = (busy[0] - BASE_CORES) / (brokers - 1)
    left, latest, now, step = [0.0] * (brokers - 1), 0.0, 0.0, 0
    while now < over_s + PATIENCE_S and (now < over_s or any(left)):
        coming = min(STEP_S, over_s - now) if now < over_s else 0.0
        step += 1
        now = step * STEP_S
        back = min(1.0, now / over_s)
        for n, cores in enumerate(busy[1:]):
            work = moving * coming / over_s * RETURN_MS / 1e3 + (cores + more * back) * STEP_S
            left[n] = max(0.0, left[n] + work - STEP_S)
        latest = max(latest, *left)
    return Storm(max(busy), max(busy[1:]) + more, now, latest * 1e3)


def _placed(load: Load, brokers: int, places: random.Random) -> tuple[list[int], list[float]]:
    """Return how many tails each broker has, and how many cores each needs, when every tail is placed at random."""
    tails, entries, deliveries = [0] * brokers, [0.0] * brokers, [0.0] * brokers
    others = load.tails - math.ceil(load.answers * load.devices)
    for number in range(load.answers):
        readers = math.floor((number + 1) * load.devices) - math.floor(number * load.devices)
        at = [places.randrange(brokers) for _ in range(readers)]
        for broker in at:
            tails[broker] += 1
            deliveries[broker] += load.tokens_per_s
        for broker in {*at}:
            entries[broker] += load.tokens_per_s
    for _ in range(others):
        tails[places.randrange(brokers)] += 1
    work = [entries[n] * INTAKE_US + deliveries[n] * DELIVERY_US for n in range(brokers)]
    return tails, [BASE_CORES + work[n] / 1e6 + tails[n] * IDLE_TAIL_CORES for n in range(brokers)]

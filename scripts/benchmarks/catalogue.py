"""The benchmarks that there are, in the order in which they are shown."""

from typing import Final

from scripts.benchmarks.append import APPEND
from scripts.benchmarks.benchmark import Benchmark
from scripts.benchmarks.capacity import CAPACITY
from scripts.benchmarks.console_hour import CONSOLE_HOUR
from scripts.benchmarks.faces import FACES_COST
from scripts.benchmarks.find import FIND
from scripts.benchmarks.following import FANOUT, LIGHT, MANY
from scripts.benchmarks.idle import IDLE
from scripts.benchmarks.keeping import KEEPING
from scripts.benchmarks.memory import MEMORY
from scripts.benchmarks.never_reading import NEVER_READING
from scripts.benchmarks.replay import REPLAY
from scripts.benchmarks.rolling import ROLLING
from scripts.benchmarks.storm import STORM
from scripts.benchmarks.tokens import TOKENS
from scripts.benchmarks.ttft import TTFT
from scripts.benchmarks.watched import WATCHED

BENCHMARKS: Final[dict[str, Benchmark]] = {
    benchmark.name: benchmark
    for benchmark in (
        TTFT,
        FANOUT,
        MANY,
        LIGHT,
        CAPACITY,
        REPLAY,
        IDLE,
        STORM,
        ROLLING,
        NEVER_READING,
        TOKENS,
        APPEND,
        KEEPING,
        MEMORY,
        FACES_COST,
        FIND,
        WATCHED,
        CONSOLE_HOUR,
    )
}

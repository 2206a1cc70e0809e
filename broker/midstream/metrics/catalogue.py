"""Every metric that there is: its name, type, labels and meaning (PROTOCOL: Metrics/Names has the same table)."""

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram"]
Role = Literal["broker", "worker"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        counted_as: Its name in `midstream.counters`, or in what a process reads at a scrape.
        kind: What Prometheus calls its type.
        roles: Which processes have it.
        labels: The names of its labels.
        meaning: What it tells, for people.
    """

    counted_as: str
    kind: Kind
    roles: tuple[Role, ...]
    labels: tuple[str, ...]
    meaning: str

    @property
    def name(self) -> str:
        """Its name for Prometheus."""
        name = self.counted_as if self.counted_as.startswith("gen_ai_") else f"midstream_{self.counted_as}"
        return f"{name}_total" if self.kind == "counter" else name


_ALL: Final[tuple[Role, ...]] = ("broker", "worker")
_BROKER: Final[tuple[Role, ...]] = ("broker",)
_WORKER: Final[tuple[Role, ...]] = ("worker",)
_CALL: Final = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")

CATALOGUE: Final = (
    Metric("draining", "gauge", _ALL, (), "1 while the process stops"),
    Metric("loop_lag_seconds", "histogram", _ALL, (), "how late the event loop turns, looked at four times a second"),
    Metric("queue_depth", "gauge", _ALL, (), "slips that no worker has taken yet, of the whole installation"),
    Metric("queue_oldest_age_seconds", "gauge", _ALL, (), "age of the oldest of these slips; 0: there is none"),
    Metric("redis_connects", "counter", _ALL, (), "connections to Redis that were dialled"),
    Metric("redis_errors", "counter", _ALL, ("code",), "calls of Redis that failed, by its code or `no_answer`"),
    Metric("feed_losses", "counter", _ALL, (), "times that the connection for publications was lost"),
    Metric("ends", "counter", _ALL, ("outcome", "code"), "streams that it ended; `code` is of Errors/Failures"),
    Metric("reaper_verdicts", "counter", _ALL, ("verdict",), "what this process' reaper did to streams"),
    Metric("paid_calls_avoided", "counter", _ALL, ("by",), "calls of models that may cost which a join saved"),
    Metric("limit_exceeded", "counter", _ALL, ("of", "limit"), "refusals by a limit, and by whose limit it is"),
    Metric("end_deliveries", "counter", _ALL, ("kind", "result"), "deliveries to a `webhook` or the `hook`"),
    Metric("ends_waiting", "gauge", _ALL, ("kind",), "ends in the outbox that a `webhook` or the `hook` has not taken"),
    Metric(
        "ends_oldest_waiting_seconds", "gauge", _ALL, ("kind",), "age of the oldest of these ends; 0: there is none"
    ),
    Metric("tails", "gauge", _BROKER, (), "open tails"),
    Metric("followed_streams", "gauge", _BROKER, (), "streams that somebody reads here"),
    Metric("slowest_tail_lag_entries", "gauge", _BROKER, (), "how many entries the slowest tail has not been sent"),
    Metric("unsent_bytes", "gauge", _BROKER, (), "bytes on their way to clients that lag"),
    Metric("deliveries", "counter", _BROKER, (), "publications handed to tails: each counts once for each tail"),
    Metric("tails_opened", "counter", _BROKER, ("at",), "tails opened at the `start`, or at a cursor (`resume`)"),
    Metric("replays", "counter", _BROKER, (), "tails that were opened with entries of the log to replay"),
    Metric(
        "catch_up_seconds", "histogram", _BROKER, (), "until a tail at a cursor was sent what was logged as it came"
    ),
    Metric("window_bytes", "gauge", _BROKER, (), "bytes of entries and frames in memory for tails"),
    Metric("window_reads", "counter", _BROKER, ("result",), "looks for entries in memory: `hit` or `miss`"),
    Metric("compressions", "counter", _BROKER, (), "frames compressed together, once for all tails"),
    Metric("starts", "counter", _BROKER, ("result",), "starts that began a stream (`new`) or joined one (`found`)"),
    Metric("starts_refused", "counter", _BROKER, ("code",), "starts refused: `overloaded` or `budget_exceeded`"),
    Metric("budget_warnings", "counter", _BROKER, ("of", "limit"), "starts whose budget was nearly or all spent"),
    Metric("credentials_refused", "counter", _BROKER, ("code",), "requests refused by Access/Refused"),
    Metric("refused", "counter", _BROKER, ("code",), "connections, heads and bodies refused before the credential"),
    Metric("generations", "gauge", _WORKER, ("state",), "generations: `starting`, `waiting`, `streaming`, `ending`"),
    Metric("generations_max", "gauge", _WORKER, (), "how many generations the worker runs at most"),
    Metric("paid_calls", "counter", _WORKER, (), "calls of models that may cost"),
    Metric("append_seconds", "histogram", _WORKER, (), "time of an append, with all its tries"),
    Metric("write_retries", "counter", _WORKER, (), "writes to the log that were tried again"),
    Metric("cancel_seconds", "histogram", _WORKER, (), "time from the news of a cancel to the end on the log"),
    Metric("lease_losses", "counter", _WORKER, (), "generations that were stopped because their stream was lost"),
    Metric("renewal_failures", "counter", _WORKER, (), "rounds of renewals that failed"),
    Metric("renewal_age_seconds", "gauge", _WORKER, (), "time since the last round of renewals that succeeded"),
    Metric(
        "gen_ai_client_operation_duration_seconds",
        "histogram",
        _WORKER,
        (*_CALL, "error_type"),
        "time of a call",
    ),
    Metric(
        "gen_ai_client_operation_time_to_first_chunk_seconds",
        "histogram",
        _WORKER,
        _CALL,
        "to the first chunk",
    ),
    Metric(
        "gen_ai_client_operation_time_per_output_chunk_seconds",
        "histogram",
        _WORKER,
        _CALL,
        "between two chunks",
    ),
    Metric(
        "gen_ai_client_token_usage",
        "histogram",
        _WORKER,
        (*_CALL, "gen_ai_token_type"),
        "tokens of a call: `input` or `output`",
    ),
)

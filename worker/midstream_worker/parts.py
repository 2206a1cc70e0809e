"""What all generations of one worker process share."""

from dataclasses import dataclass
from typing import Self

from redis.asyncio import Redis

from midstream.attempts.attempt_parts import AttemptParts
from midstream.attempts.write_delays import WriteDelays
from midstream.filters.filter import NamedFilter
from midstream.lifecycle.reaper import clock_of
from midstream.lifecycle.server_clock import ServerClock
from midstream.lifecycle.slips import Slips
from midstream.log.fsync import Fsync
from midstream.log.log import Log
from midstream.log.registry import Registry
from midstream.log.saved import SavedStates
from midstream.settings import Settings
from midstream.traces.open_tracing import open_tracing
from midstream.traces.tracing import Tracing
from midstream_worker.call_times import named_models
from midstream_worker.sources.providers import Sources
from midstream_worker.worker_filters import filters_of


@dataclass(frozen=True, slots=True)
class WorkerParts(AttemptParts):
    """The services that attempts and generations are made with.

    Attributes:
        saved: What apps have saved.
        registry: The index of live streams that reapers look at.
        slips: The job queue.
        clock: The server's clock as this process has seen it.
        sources: The sources of all configured models.
        named_models: The models with a name of their own in the metrics.
        tracing: The traces of this process.
        filters: What deltas go through before they are logged.
    """

    log: Log
    claims: Log
    fsync: Fsync
    saved: SavedStates
    registry: Registry
    slips: Slips
    clock: ServerClock
    sources: Sources
    named_models: frozenset[str]
    tracing: Tracing
    filters: tuple[NamedFilter, ...]

    @classmethod
    def connected(cls, settings: Settings, redis: Redis, claims_redis: Redis, queue_redis: Redis) -> Self:
        """Return the parts on clients of the log's server, one for appends and one for claims, and of the queue's.

        Raises:
            FilterError: A filter of the settings cannot be used.
        """
        prefix = settings.key_prefix
        return cls(
            settings=settings,
            log=Log(redis, prefix),
            claims=Log(claims_redis, prefix),
            saved=SavedStates(redis, prefix),
            registry=Registry(redis, prefix),
            slips=Slips(queue_redis, prefix, settings.queue_timeout_s, redis),
            fsync=Fsync(redis, prefix),
            clock=clock_of(settings),
            sources=Sources(settings),
            write_delays=WriteDelays(),
            named_models=named_models(settings),
            tracing=open_tracing("worker", settings),
            filters=filters_of(settings),
        )

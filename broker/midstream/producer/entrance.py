"""`midstream.produce`: the way in for a program that produces an answer itself."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from pydantic import SecretStr

from midstream.access.api_keys import TENANT
from midstream.embedded.own_address import own_address
from midstream.filters.filter import Filter, NamedFilter
from midstream.producer.producer import Producer, Way
from midstream.requests.request import GenerationRequest
from midstream.requests.time_limits import refuse_long_times
from midstream.settings import OPEN_TENANT, Settings

MOST_KEY_CHARS: Final = 255
"""As of the header `Idempotency-Key`."""


def produce(
    url: str | None = None,
    *,
    thread: str | None = None,
    user: str | None = None,
    key: str | None = None,
    take_up: bool = False,
    model: str | None = None,
    input: str | None = None,  # noqa: A002 - the name that it has in every request
    messages: Sequence[Mapping[str, Any]] | None = None,
    metadata: Mapping[str, str] | None = None,
    ttl_s: int | None = None,
    chunking: Mapping[str, Any] | None = None,
    generation_timeout_s: float | None = None,
    filters: Sequence[Filter] = (),
    tenant: str = OPEN_TENANT,
    api_key: str | None = None,
) -> Producer:
    """Return a new stream that this program appends to, for `async with`.

    Args:
        url: Address of the Redis or Valkey server that holds the log, by default that of the router in this process,
            or else `MIDSTREAM_REDIS_URL`; or that of a broker, with `http` or `https`. All other settings come from
            the `MIDSTREAM_*` variables, as those of a worker.
        thread: The conversation that the stream belongs to.
        user: Whose stream it is; None: it is all of the tenant's.
        key: Names this answer. Of any number of producers with the same key, one appends; the others are refused.
        take_up: Where this key's last stream was interrupted, because its producer was lost, begin another one, which
            knows the steps that were done (PROTOCOL: Produce/Taken up).
        model: A name of your own after `external/`.
        input: What is answered, for people who look at the stream.
        messages: The same as chat messages.
        metadata: Texts of your own, up to 16.
        ttl_s: How long the stream is kept after its end, in seconds.
        chunking: `flush_ms`, `flush_bytes` and `mode`, by which pieces become entries.
        generation_timeout_s: Longest time of the block, up to `MIDSTREAM_GENERATION_TIMEOUT_S`, the default.
        filters: Functions that see each delta before it is logged, in their order (PROTOCOL: Filter).
        tenant: By Redis, whose stream it is, as the brokers' keys name tenants.
        api_key: By a broker, a key with the scope `send`.

    Raises:
        ValueError: An argument or a setting does not fit.
    """
    fields = {
        "producer": "external",
        "thread": thread,
        "user": user,
        "model": model,
        "input": input,
        "messages": messages,
        "metadata": dict(metadata or {}),
        "ttl_s": ttl_s,
        "chunking": dict(chunking or {}),
        "generation_timeout_s": generation_timeout_s,
    }
    request = GenerationRequest.model_validate(fields)
    way, settings = _way(url, api_key)
    _refuse_unfit(tenant, key, request, settings, take_up=take_up)
    named = [NamedFilter(getattr(each, "__name__", type(each).__name__), each) for each in filters]
    return Producer(way, request, tenant, key, named, take_up=take_up)


def _refuse_unfit(
    tenant: str, key: str | None, request: GenerationRequest, settings: Settings, *, take_up: bool
) -> None:
    if take_up and key is None:
        raise ValueError("`take_up` needs a key")
    if not TENANT.fullmatch(tenant):
        raise ValueError("a tenant is 1 to 64 letters, digits, - and _")
    if key is not None and not 0 < len(key) <= MOST_KEY_CHARS:
        raise ValueError(f"a key has 1 to {MOST_KEY_CHARS} characters")
    refuse_long_times(request, settings)
    if (request.ttl_s or 0) > settings.max_ttl_s:
        raise ValueError(f"`ttl_s` is at most {settings.max_ttl_s} (MIDSTREAM_MAX_TTL_S)")


def _way(url: str | None, api_key: str | None) -> tuple[Way, Settings]:
    if url is not None and url.startswith(("http://", "https://")):
        from midstream.producer.http_link import linked_by_http  # noqa: PLC0415 - by Redis nothing of it is needed

        settings = Settings()
        return partial(linked_by_http, settings, url, api_key), settings
    if api_key is not None:
        raise ValueError("an API key is for the address of a broker, with http or https")
    from midstream.producer.redis_link import linked_by_redis  # noqa: PLC0415

    url = url or own_address()
    settings = Settings() if url is None else Settings(redis_url=SecretStr(url))
    return partial(linked_by_redis, settings), settings

"""How a process makes spans and sends them, by OpenTelemetry's SDK and its variables."""

import asyncio
import contextlib
import os
import platform
import threading
from importlib.metadata import entry_points, version
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from midstream.traces.span_ids import SpanIds

_PROPAGATOR: Final = TraceContextTextMapPropagator()
_TRACEPARENT: Final = "traceparent"
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
NS_PER_MS: Final = 1_000_000

Facts = dict[str, AttributeValue]


class Spans:
    """Makes spans; a thread of the SDK sends them, out of a queue that drops what it has no room for.

    The provider is no global one. Packages that look for that (FastAPI, SDKs of providers) go on without spans, which
    would have paths and urls of their own, and no request to a provider gets a header from here.

    Raises:
        ValueError: A variable of OpenTelemetry cannot be used.
    """

    def __init__(self, role: str) -> None:
        self._ids = SpanIds()
        ids: Any = self._ids  # it has the methods of an `IdGenerator`
        self._provider = TracerProvider(resource=_resource(role), id_generator=ids, shutdown_on_exit=False)
        self._exporter = _exporter()
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer: Tracer = self._provider.get_tracer("midstream", version("midstream"))

    def begin(
        self,
        name: str,
        within: Context,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        begin_ns: int | None = None,
        facts: Facts | None = None,
        span_id: int = 0,
    ) -> Span:
        """Begin a span, now or at `begin_ns` after 1970; the parent's flag and the sampler decide if it is sent."""
        self._ids.next_span_id = span_id
        begin_ns = None if begin_ns is None else max(0, begin_ns)  # a time that OTLP cannot hold costs the whole batch
        return self._tracer.start_span(name, within, kind, facts, start_time=begin_ns)

    def tell(
        self, name: str, within: Context, begin_ns: int, end_ns: int, facts: Facts | None = None, error: str = ""
    ) -> None:
        """Tell of something that is over."""
        span = self.begin(name, within, begin_ns=min(begin_ns, end_ns), facts=facts)
        if error:
            fail(span, error)
        span.end(max(0, end_ns))

    async def stop(self, wait_s: float) -> None:
        """Send what is left, for at most `wait_s`; what the collector has not taken by then is sent no more."""
        loop, over = asyncio.get_running_loop(), asyncio.Event()

        def shut_down() -> None:
            self._provider.shutdown()
            with contextlib.suppress(RuntimeError):  # nobody waits any more
                loop.call_soon_threadsafe(over.set)

        threading.Thread(target=shut_down, name="traces", daemon=True).start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await over.wait()
        if not over.is_set():
            self._exporter.shutdown()  # else it would try again for a minute, in an app that goes on without us


def fail(span: Span, error_type: str) -> None:
    """Note that what a span tells of has failed, by a code that has no words of anybody's in it."""
    span.set_attribute("error.type", error_type)
    span.set_status(Status(StatusCode.ERROR))


def context_of(traceparent: str) -> Context:
    """Return the context that a `traceparent` names; one that is malformed names none, and a new trace begins."""
    return _PROPAGATOR.extract({_TRACEPARENT: traceparent}, Context())


def traceparent_of(context: Context) -> str:
    """Return the `traceparent` of a context."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, context)
    return carrier.get(_TRACEPARENT, "")


def _resource(role: str) -> Resource:
    ours = {
        "service.name": f"midstream-{role}",
        "service.version": version("midstream"),
        "service.instance.id": f"{platform.node()}-{os.getpid()}",
    }
    return Resource.create({**ours, **OTELResourceDetector().detect().attributes})


def _exporter() -> Any:
    """Return the SDK's exporter for the protocol of the variables.

    Raises:
        ValueError: It is not installed, or something else than OTLP is asked for.
    """
    exporter = os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() or "otlp"
    protocol = next(filter(None, map(os.environ.get, _PROTOCOLS)), "http/protobuf").strip().lower()
    name = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}.get(protocol)
    entries = [*entry_points(group="opentelemetry_traces_exporter", name=name)] if name and exporter == "otlp" else []
    if not entries:
        raise ValueError(
            f"OTEL_TRACES_EXPORTER={exporter} by {protocol}: only otlp is sent, by http/protobuf, or by grpc with "
            "opentelemetry-exporter-otlp-proto-grpc installed"
        )
    return entries[0].load()()

"""The page that Prometheus reads, made of what the process has counted and of what it reads of itself just then."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client import Metric as Family
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from midstream import counters
from midstream.counters import Distribution
from midstream.metrics.catalogue import CATALOGUE, Metric, Role

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The form of the text that every version of Prometheus reads."""

Readings = Mapping[tuple[str, ...], float]
"""What a process reads of itself at a scrape: values by their names and labels, as `counters.counts` has them."""


class Page(Collector):
    """Makes the text of one process.

    Args:
        role: What the process is.
    """

    def __init__(self, role: Role) -> None:
        self._metrics = [metric for metric in CATALOGUE if role in metric.roles]
        self._process = ProcessCollector(registry=CollectorRegistry())
        self._readings: Readings = {}

    def text(self, readings: Readings) -> bytes:
        """Return the page."""
        self._readings = readings
        return generate_latest(self)

    def collect(self) -> Iterator[Family]:
        """Yield each metric of the role with its values, and those of the process; the library calls this."""
        values: dict[str, list[tuple[list[str], float]]] = defaultdict(list)
        for (name, *labels), value in (*counters.counts().items(), *self._readings.items()):
            values[name].append((labels, value))
        measured: dict[str, list[tuple[list[str], Distribution]]] = defaultdict(list)
        for (name, *labels), distribution in counters.distributions().items():
            measured[name].append((labels, distribution))
        for metric in self._metrics:
            if metric.kind == "histogram":
                yield _histogram(metric, measured[metric.counted_as])
            else:
                yield _plain(metric, values[metric.counted_as])
        yield from self._process.collect()


def _plain(metric: Metric, rows: list[tuple[list[str], float]]) -> Family:
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.meaning, labels=metric.labels)
    if not rows and not metric.labels and metric.kind == "counter":
        rows = [([], 0)]  # so that a rate sees the first one
    for labels, value in rows:
        family.add_metric(labels, value)
    return family


def _histogram(metric: Metric, rows: list[tuple[list[str], Distribution]]) -> Family:
    family = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    for labels, distribution in rows:
        bounds = [*map(floatToGoString, distribution.bounds), "+Inf"]
        family.add_metric(labels, [*zip(bounds, accumulate(distribution.numbers), strict=True)], distribution.total)
    return family

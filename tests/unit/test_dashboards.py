"""The dashboard and the alerts ask for metrics that exist, and each alert has a page."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from midstream.metrics.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "docs/runbooks"
ALERTS = [
    rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads((ROOT / "deploy/grafana/midstream.json").read_text())
PARTS = ("_bucket", "_count", "_sum")
LABELS = {
    f"{metric.name}{part}": {*metric.labels, "instance", "le"}
    for metric in CATALOGUE
    for part in (PARTS if metric.kind == "histogram" else ("",))
}
NAME = re.compile(r"\b(?:midstream|gen_ai_client)_\w+")
SELECTED = re.compile(r"(\w+)\{(.*?)\}")
GROUPED = re.compile(r"\bby \(([\w, ]+)\)")
NAMED = re.compile(r"\{\{ ?(?:\$labels\.)?(\w+) ?\}\}")


def questions() -> Iterator[tuple[str, str]]:
    """Yield each expression, and the text that names labels of its result."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield target["expr"], target["legendFormat"]
    for rule in ALERTS:
        yield rule["expr"], rule["annotations"]["summary"].replace("{{ $value", "")


def test_they_ask_for_metrics_and_labels_that_exist() -> None:
    for expression, text in questions():
        names = NAME.findall(expression)
        assert names, expression
        assert set(names) <= LABELS.keys(), expression
        for name, selectors in SELECTED.findall(expression):
            assert set(re.findall(r"(\w+)(?:=|!=|=~|!~)\"", selectors)) <= LABELS[name], expression
        grouped = {label for labels in GROUPED.findall(expression) for label in labels.split(", ")}
        assert all(grouped <= LABELS[name] for name in names), expression
        assert set(NAMED.findall(text)) <= grouped, text


def test_few_alerts_wake_somebody_and_each_has_its_page() -> None:
    assert len(ALERTS) == 5
    assert {rule["labels"]["severity"] for rule in ALERTS} == {"page"}
    pages = {rule["alert"]: ROOT / rule["annotations"]["runbook"] for rule in ALERTS}
    assert {*pages.values()} == {*RUNBOOKS.glob("*.md")}
    assert [alert for alert, page in pages.items() if page.read_text().splitlines()[0] != f"# {alert}"] == []


def test_the_pages_name_metrics_that_exist() -> None:
    names = LABELS.keys() | {metric.name for metric in CATALOGUE}
    for page in (*RUNBOOKS.glob("*.md"), ROOT / "docs/metrics.md"):
        assert set(re.findall(r"`?\b((?:midstream|gen_ai_client)_[a-z_]+)", page.read_text())) <= names, page.name


def test_every_metric_of_interest_is_on_the_dashboard() -> None:
    on_screen = {
        re.sub(r"_(?:bucket|count|sum)$", "", name)
        for expression, _ in questions()
        for name in NAME.findall(expression)
    }
    kept_for_questions = {
        *("midstream_feed_losses_total", "midstream_renewal_failures_total", "midstream_renewal_age_seconds"),
        "midstream_window_reads_total",
    }
    assert {metric.name for metric in CATALOGUE} - on_screen == kept_for_questions

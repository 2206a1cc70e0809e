"""The metrics that are documented are those that there are, and their labels are few. PROTOCOL: Metrics/Names."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from midstream import counters
from midstream.counters import Distribution
from midstream.metrics.catalogue import CATALOGUE, Role
from midstream.metrics.page import Page
from midstream.settings import Settings
from midstream_worker.call_times import BOUNDS_S, BOUNDS_TOKENS, CallTimes, named_models
from midstream_worker.sources.deltas import Finish, SourceError, Text, Usage

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "broker/PROTOCOL.md").read_text().partition("### Metrics/Names")[2].partition("###")[0]
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| (\w+) \| (.*?) \| (.+) \|$", re.MULTILINE)
CALL = "`gen_ai_operation_name`, `gen_ai_provider_name`, `gen_ai_request_model`"
ROLES: tuple[Role, ...] = ("broker", "worker")
ALLOWED_LABELS = {
    *("code", "outcome", "verdict", "by", "of", "limit", "at", "result", "state", "kind", "error_type"),
    *("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "gen_ai_token_type"),
}
"""Labels whose values come from lists of ours, or from settings. A new one needs such a list."""
COUNTING = ("counters.count", "counters.tally", "counters.distribution")
OF_THE_LIBRARY = "process_"


def documented() -> dict[str, tuple[str, str, tuple[str, ...], str]]:
    return {
        name: (kind, processes, tuple(re.findall(r"`(\w+)`", labels.replace("call", CALL))), meaning)
        for name, kind, processes, labels, meaning in ROW.findall(SECTION)
    }


def types_on_page(role: Role) -> dict[str, str]:
    """Return the type of each metric on a page, by its name as it is documented."""
    families = text_string_to_metric_families(Page(role).text({}).decode())
    names = {f"{each.name}_total" if each.type == "counter" else each.name: each.type for each in families}
    return {name: kind for name, kind in names.items() if not name.startswith(OF_THE_LIBRARY)}


@pytest.mark.parametrize("role", ROLES)
def test_what_is_shown_is_documented_and_what_is_documented_is_shown(role: Role) -> None:
    expected = {name: kind for name, (kind, processes, *_) in documented().items() if processes in ("both", role)}
    assert types_on_page(role) == expected


def test_the_table_has_the_labels_and_meanings_of_the_catalogue() -> None:
    ours = {each.name: (each.kind, each.labels, each.meaning) for each in CATALOGUE}
    assert {name: (kind, labels, meaning) for name, (kind, _, labels, meaning) in documented().items()} == ours


def test_no_label_can_have_many_values() -> None:
    """PROTOCOL: Metrics/Labels."""
    assert {label for each in CATALOGUE for label in each.labels} <= ALLOWED_LABELS


def words_of_the_code() -> Iterator[tuple[str, int, str]]:
    """Yield the name in each call that counts or measures, the number of its labels, and where it is."""
    for path in (*(ROOT / "broker").rglob("*.py"), *(ROOT / "worker").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in COUNTING:
                name, *labels = node.args
                if isinstance(name, ast.Constant) and not any(isinstance(each, ast.Starred) for each in labels):
                    yield str(name.value), len(labels), f"{path.name}:{node.lineno}"


def test_whatever_is_counted_has_its_metric_and_its_labels() -> None:
    labels = {each.counted_as: len(each.labels) for each in CATALOGUE}
    counted = [*words_of_the_code()]
    assert len(counted) > 20
    assert [each for each in counted if labels.get(each[0]) != each[1]] == []


def test_every_metric_is_counted_or_read_somewhere() -> None:
    room = ROOT / "broker/midstream/metrics/catalogue.py"
    code = "".join(p.read_text() for place in ("broker", "worker") for p in (ROOT / place).rglob("*.py") if p != room)
    assert [each.name for each in CATALOGUE if f'"{each.counted_as}"' not in code] == []


def test_a_page_has_what_was_counted_measured_and_read() -> None:
    counters.count("redis_errors", "LOADING", by=3)
    counters.distribution("append_seconds").add(0.003)
    text = Page("worker").text({("generations", "waiting"): 2}).decode()
    assert re.search(r'^midstream_redis_errors_total\{code="LOADING"\} [3-9]', text, re.MULTILINE)
    assert re.search(r'^midstream_append_seconds_bucket\{le="\+Inf"\} [1-9]', text, re.MULTILINE)
    assert 'midstream_generations{state="waiting"} 2.0' in text
    assert re.search(r"^midstream_write_retries_total \d", text, re.MULTILINE), "a rate needs the 0 before the first"


def test_a_value_is_counted_in_its_part() -> None:
    distribution = Distribution((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        distribution.add(value)
    assert (distribution.numbers, distribution.total) == ([2, 1, 1], 12.0)


def test_a_call_is_measured_by_the_conventions() -> None:
    """PROTOCOL: Metrics/Calls."""
    model = "openai/measured-here"
    with CallTimes(model, frozenset((model,)), is_call=True) as times:
        for delta in (Text("a"), Text("b"), Text("c"), Usage(100, 20), Finish("stop")):
            times.note(delta)
    labels = ("chat", "openai", "measured-here")
    measured = {key: each for key, each in counters.distributions().items() if key[1:4] == labels}
    assert {
        (name.removeprefix("gen_ai_client_"), *rest[3:]): sum(each.numbers) for (name, *rest), each in measured.items()
    } == {
        ("operation_duration_seconds", ""): 1,
        ("operation_time_to_first_chunk_seconds",): 1,
        ("operation_time_per_output_chunk_seconds",): 2,
        ("token_usage", "input"): 1,
        ("token_usage", "output"): 1,
    }
    assert {each.bounds for each in measured.values()} == {BOUNDS_S, BOUNDS_TOKENS}
    assert BOUNDS_TOKENS[-1] == 67_108_864


def test_a_call_that_is_read_on_is_not_measured_again() -> None:
    """PROTOCOL: Metrics/Calls."""
    with CallTimes("openai/read-on", frozenset(("openai/read-on",)), is_call=False) as times:
        times.note(Text("a"))
        times.note(Text("b"))
    names = [key[0] for key in counters.distributions() if "read-on" in key]
    assert names == ["gen_ai_client_operation_time_per_output_chunk_seconds"]


def test_a_call_that_failed_says_how() -> None:
    with (
        pytest.raises(SourceError),
        CallTimes("openai/failing", frozenset(("openai/failing",)), is_call=True),
    ):
        raise SourceError("provider_auth", "no")
    failed = ("gen_ai_client_operation_duration_seconds", "chat", "openai", "failing", "provider_auth")
    assert failed in counters.distributions()


def test_models_that_clients_think_of_share_a_name() -> None:
    """PROTOCOL: Metrics/Labels."""
    settings = Settings(openai_api_key="sk-test", metrics_models="openai/ours,anthropic/theirs")
    named = named_models(settings)
    assert {"openai/gpt-5.4-mini", "openai/ours", "demo/story"} <= named
    for number in range(100):
        with CallTimes(f"openai/thought-of-{number}", named, is_call=True):
            pass
    models = {key[3] for key in counters.distributions() if key[0].endswith("duration_seconds")}
    assert "other" in models
    assert not any(model.startswith("thought-of") for model in models)

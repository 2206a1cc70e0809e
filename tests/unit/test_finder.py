"""Which streams a search finds: the words of a search, and the table that answers it."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from midstream.finder.fact_table import FactTable
from midstream.finder.where import CONDITIONS, MOST_CONDITIONS, Where, WhereError
from midstream.log.facts import Facts
from midstream.log.registry import Listed

NOW_MS = 1_700_000_000_000


@pytest.fixture
def table() -> Iterator[FactTable]:
    made = FactTable()
    yield made
    made.close()


def facts(age_s: float = 10.0, **more: Any) -> Facts:
    more["metadata"] = orjson.dumps(more.get("metadata", {})).decode()
    created: Any = {"ttl_s": 60, "model": "demo/a", "created_ms": NOW_MS - round(age_s * 1000)}
    return Facts(**created | more)


def ids_of(table: FactTable, **conditions: str) -> list[str]:
    where = Where.parse((name.replace("__", "."), text) for name, text in conditions.items())
    ids = [row["id"] for row in table.page(where, NOW_MS, 100, None)]
    assert table.count(where, NOW_MS) == len(ids)
    return ids


FAILED: dict[str, Any] = {"status": "ended", "outcome": "failed", "code": "provider_error", "ended_ms": NOW_MS - 1_000}
STREAMS: dict[str, Facts] = {
    "plain": facts(1),
    "acme/of_acme": facts(2, user="Ada", thread="Weather", model="demo/b"),
    "running": facts(30, status="running", epoch=1, tail_ms=25_000),
    "stalled": facts(40, status="running", epoch=4, tail_ms=1_000),
    "failed": facts(50, **FAILED, metadata={"job": "7", 'a"b': '100%_"x"', "Größe": "ÄRGER"}),
    "tricky": facts(60, metadata={'x"job': "7", "note": '"job":"7"'}),
    "expired": facts(200, **FAILED | {"ended_ms": NOW_MS - 60_000}),
}


@pytest.mark.parametrize(
    ("conditions", "ids"),
    [
        ({}, ["plain", "of_acme", "running", "stalled", "failed", "tricky"]),
        ({"status": "running"}, ["running", "stalled"]),
        ({"status": "failed"}, ["failed"]),
        ({"outcome": "completed"}, []),
        ({"code": "provider_error"}, ["failed"]),
        ({"model": "demo/b"}, ["of_acme"]),
        ({"thread": "Weather", "user": "Ada", "tenant": "acme"}, ["of_acme"]),
        ({"tenant": "default", "status": "queued"}, ["plain", "tricky"]),
        ({"older_than_s": "45"}, ["failed", "tricky"]),
        ({"newer_than_s": "2"}, ["plain", "of_acme"]),
        ({"silent_s": "20"}, ["stalled", "tricky"]),
        ({"attempts_over": "3"}, ["stalled"]),
        ({"metadata__job": "7"}, ["failed"]),
        ({"metadata__job": "8"}, []),
        ({'metadata__a"b': '100%_"x"'}, ["failed"]),
        ({"q": "WEATH"}, ["of_acme"]),
        ({"q": "größe"}, ["failed"]),
        ({"q": "ärger"}, ["failed"]),
        ({"q": '%_"x'}, ["failed"]),
        ({"q": "%"}, ["failed"]),
        ({"q": "'; DROP TABLE streams; --"}, []),
        ({"q": "pro\0vider"}, []),
    ],
)
def test_a_search_finds_what_every_condition_fits(table: FactTable, conditions: dict[str, str], ids: list[str]) -> None:
    """Operate/Find."""
    table.put(STREAMS)
    assert ids_of(table, **conditions) == ids


def test_a_condition_that_is_repeated_fits_any_of_its_values(table: FactTable) -> None:
    """Operate/Find."""
    table.put(STREAMS)
    pairs = [("status", "running"), ("status", "failed"), ("metadata.job", "6"), ("metadata.job", "7")]
    assert [row["id"] for row in table.page(Where.parse(pairs), NOW_MS, 9, None)] == ["failed"]
    assert len(table.page(Where.parse(pairs[:2]), NOW_MS, 9, None)) == 3


def test_a_search_within_a_tenant_leaves_it_with_no_condition() -> None:
    assert Where.parse([]).within("acme").tenant == ("acme",)
    assert Where.parse([("tenant", "beta"), ("tenant", "acme")]).within("acme").tenant == ("acme",)
    assert Where.parse([("tenant", "beta")]).within("acme").tenant == ("",)
    assert Where.parse([("tenant", "beta")]).within(None).tenant == ("beta",)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("colour", "red"), ("Status", "running"), ("metadata", "x"), ("metadata.", "x"), ("status", "stuck")),
        *(("outcome", "running"), ("older_than_s", "-1"), ("silent_s", "nan"), ("newer_than_s", "1e99")),
        *(("attempts_over", "1.5"), ("attempts_over", "9" * 9), ("q", ""), ("q", "x" * 513), ("user", "\ud800")),
        ("metadata." + "x" * 513, "y"),
    ],
)
def test_what_does_not_fit_is_named(name: str, text: str) -> None:
    """Operate/Find."""
    with pytest.raises(WhereError) as caught:
        Where.parse([("status", "running"), (name, text), ("another", "x")])
    assert [at for at, _ in caught.value.errors] == [name[:512], "another"]
    if name == "colour":
        assert all(each in str(caught.value) for each in CONDITIONS)


def test_a_condition_of_one_value_is_named_once_and_their_number_is_bounded() -> None:
    """Operate/Find."""
    with pytest.raises(WhereError, match=r"q: .*twice"):
        Where.parse([("q", "a"), ("q", "b")])
    with pytest.raises(WhereError, match=str(MOST_CONDITIONS)):
        Where.parse([("user", "a")] * (MOST_CONDITIONS + 1))


def test_pages_hold_every_stream_once(table: FactTable) -> None:
    """Operate/Find: also streams of one millisecond."""
    names = [f"{tenant}/{number}" for number in range(20) for tenant in ("beta", "acme")]
    table.put({name: facts(int(name[-1]) // 5) for name in names})
    pages: list[str] = []
    before: Listed | None = None
    while page := table.page(Where(), NOW_MS, 7, before):
        pages += [f"{row['tenant']}/{row['id']}" for row in page]
        before = Listed(pages[-1], page[-1]["created_ms"])
        table.put({f"late/{len(pages)}": facts(0)})
    assert sorted(pages) == sorted(names)


def test_a_stream_has_one_row(table: FactTable) -> None:
    table.put({"s": facts(9), "t": facts(9, metadata=[])})
    table.put({"s": facts(5, **FAILED)})
    assert ids_of(table) == ["s", "t"]
    assert table.live() == {"t"}
    table.put({"s": None, "never": None})
    assert ids_of(table) == ["t"]


def test_a_row_of_a_live_stream_follows_its_log(table: FactTable) -> None:
    """Operate/Facts: also where nothing but its tail has changed, and after the row was dropped."""
    running = STREAMS["running"]
    further = running._replace(tail=9, tail_ms=29_000)
    for each in (running, running, further):
        table.put({"running": each})
    (row,) = table.page(Where(), NOW_MS, 9, None)
    assert (row["tail"], row["last_entry_ms"]) == (9, further.created_ms + 29_000)
    table.put({"running": further._replace(epoch=5)})
    assert ids_of(table, attempts_over="4", silent_s="0.5") == ["running"]
    table.put({"plain": STREAMS["plain"]})
    assert table.trim(NOW_MS, 1) == 1
    table.put({"running": further._replace(epoch=5)})
    assert ids_of(table) == ["plain", "running"]
    table.put({"running": None})
    table.put({"running": running})
    assert ids_of(table, status="running") == ["running"]


def test_the_oldest_rows_beyond_a_bound_are_dropped(table: FactTable) -> None:
    """Operate/Facts."""
    table.put(STREAMS)
    assert table.trim(NOW_MS, 6) == 0
    assert table.trim(NOW_MS, 4) == 2
    assert ids_of(table) == ["plain", "of_acme", "running", "stalled"]

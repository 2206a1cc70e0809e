"""The table of prices and what it makes of counted tokens. PROTOCOL: Money/Prices, Money/Cost."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from midstream.money.prices import Cost, Prices, PricesFileError
from midstream.settings import Settings

TABLE = """
currency = "USD"
[models]
"openai/gpt-5.4-mini" = {input = 0.25, cached = 0.025, output = 2}
"openai/*" = {input = 1.1, output = 8.8}
"openai/gpt-5*" = {input = 1, output = 8}
"anthropic/claude-sonnet-5" = {input = 3, cached = 0.3, cache_write = 3.75, output = 15}
"""
PRICES = Prices.of_toml(TABLE)


def usage(input_tokens: int, output_tokens: int, **details: int) -> dict[str, Any]:
    return {"input_tokens": input_tokens, "output_tokens": output_tokens, "details": details}


@pytest.mark.parametrize(
    ("model", "counted", "amount"),
    [
        ("openai/gpt-5.4-mini", usage(1_000, 500), "0.00125"),
        ("openai/gpt-5.4-mini", usage(1_000, 500, cached_tokens=800), "0.00107"),
        ("openai/gpt-5.4-mini", usage(1_000, 0, cached_tokens=2_000), "0.000025"),
        ("anthropic/claude-sonnet-5", usage(100, 10, cache_read_input_tokens=1_000), "0.00075"),
        ("anthropic/claude-sonnet-5", usage(0, 0, cache_creation_input_tokens=4), "0.000015"),
        ("openai/gpt-5.4", usage(1, 1), "0.000009"),
        ("openai/o9", usage(3, 0), "0.0000033"),
        ("openai/gpt-5.4-mini", usage(0, 0), "0"),
        ("openai/gpt-5.4-mini", usage(4 * 10**9, 0), "1000"),
    ],
)
def test_a_call_costs_what_the_table_says(model: str, counted: dict[str, Any], amount: str) -> None:
    """Money/Cost: the own name, else the longest pattern; to the last digit."""
    cost = PRICES.cost(model, counted)
    assert cost is not None
    assert cost.document == {"amount": amount, "currency": "USD"}
    assert Cost.parse(str(cost)) == cost


def test_sums_do_not_drift() -> None:
    """Money/Cost."""
    cost = None
    for _ in range(1_000_000 // 1_000):
        cost = PRICES.cost("openai/o9", usage(1, 0), cost)
    assert cost is not None
    assert cost.amount == "0.0011"


def test_what_is_not_known_has_no_cost() -> None:
    """Money/Unknown: no price, no usage, figures beyond all reason; what earlier calls cost stays known."""
    before = Cost(7, "USD")
    assert PRICES.cost("demo/story", usage(1, 1)) is None
    assert PRICES.cost("openai/o9", None) is None
    assert PRICES.cost("openai/o9", usage(10**12, 10**12)) is None
    assert PRICES.cost("openai/o9", None, before) == before
    assert PRICES.cost("openai/o9", None, Cost(7, "EUR")) is None, "another currency adds up to nothing"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("USD", "usd"), "`currency`"),
        (("[models]", "[model]"), "[models]"),
        (("input = 1, ", ""), "`input` and `output`"),
        (("output = 8}", "output = -8}"), "`output`"),
        (("output = 8}", "output = nan}"), "`output`"),
        (("output = 8}", 'output = "8"}'), "`output`"),
        (("output = 8}", "output = true}"), "`output`"),
        (("output = 8}", "outputs = 8, output = 8}"), "gpt-5*"),
        (("openai/*", "open*/x"), "open*/x"),
        (("currency", "="), "no TOML"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_at_the_start(change: tuple[str, str], why: str, tmp_path: Path) -> None:
    """Money/Prices."""
    text = TABLE.replace(*change)
    with pytest.raises(PricesFileError, match=why.replace("[", r"\[").replace("*", r"\*")):
        Prices.of_toml(text)
    (tmp_path / "prices.toml").write_text(text)
    with pytest.raises(ValidationError, match="prices_file"):
        Settings(prices_file=tmp_path / "prices.toml")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """Money/Prices."""
    with pytest.raises(PricesFileError, match="cannot be read"):
        Prices.of_file(tmp_path / "none.toml")
    assert Settings().prices.cost("openai/o9", usage(1, 1)) is None

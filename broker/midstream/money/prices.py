"""What models cost, by the operator's table, in exact decimals (PROTOCOL: Money/Prices, Money/Cost)."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any, Final, Self

NANO: Final = 10**9
"""A cost is a whole number of billionths of the currency, so that sums are exact."""
MILLION: Final = 10**6
MOST_PRICE: Final = Decimal(MILLION)
MOST_NANO: Final = 10**15
"""A million of the currency: a larger cost of one stream is a mistake of figures, and counts as unknown."""
CURRENCY: Final = re.compile(r"[A-Z]{3}")
ANY: Final = "*"
FIELDS: Final = frozenset({"input", "cached", "cache_write", "output"})

Usage = Mapping[str, Any]
"""The data of a `usage` entry: `input_tokens`, `output_tokens` and `details`."""


class PricesFileError(Exception):
    """A table of prices that cannot be used; the message names the row and the field."""


@dataclass(frozen=True, slots=True)
class Cost:
    """An amount of money: `nano` billionths of a currency."""

    nano: int
    currency: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the cost that `str` has made this text of; None for the empty text."""
        nano, _, currency = text.partition(" ")
        return cls(int(nano), currency) if nano else None

    def __str__(self) -> str:
        """Return the form in which it is stored."""
        return f"{self.nano} {self.currency}"

    @property
    def amount(self) -> str:
        """The amount as a decimal number without needless zeros: `0.00125`."""
        return f"{Decimal(self.nano).scaleb(-9).normalize():f}"

    @property
    def document(self) -> dict[str, str]:
        """The cost as clients see it."""
        return {"amount": self.amount, "currency": self.currency}


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens of a model cost."""

    input: Decimal
    output: Decimal
    cached: Decimal
    cache_write: Decimal

    def nano(self, usage: Usage) -> int:
        """Return what a call with this usage costs, rounded once, half to even.

        OpenAI counts tokens from its cache (`cached_tokens`) among those of the input. Anthropic counts those that it
        read from its cache, or wrote to it, beside them.
        """
        details = usage.get("details") or {}
        among = min(_count(details, "cached_tokens"), _count(usage, "input_tokens"))
        read, written = _count(details, "cache_read_input_tokens"), _count(details, "cache_creation_input_tokens")
        total = (
            (_count(usage, "input_tokens") - among) * self.input
            + (among + read) * self.cached
            + written * self.cache_write
            + _count(usage, "output_tokens") * self.output
        )
        return int((total * NANO / MILLION).to_integral_value(ROUND_HALF_EVEN))


@dataclass(frozen=True, slots=True)
class Prices:
    """The table: a price for each model, or for all models whose names begin alike."""

    currency: str = ""
    by_pattern: Mapping[str, Price] = field(default_factory=dict)

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """Return the table of a file.

        Raises:
            PricesFileError: The file cannot be read or used.
        """
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PricesFileError(f"the table of prices {path} cannot be read: {error}") from None
        return cls.of_toml(text)

    @classmethod
    def of_toml(cls, text: str) -> Self:
        """Return the table that a text holds; raises as `of_file`."""
        try:
            table = tomllib.loads(text, parse_float=Decimal)
        except (tomllib.TOMLDecodeError, ArithmeticError, RecursionError) as error:
            raise PricesFileError(f"the table of prices is no TOML: {error}") from None
        currency, models = table.get("currency"), table.get("models")
        if set(table) - {"currency", "models"}:
            raise PricesFileError("the table of prices holds `currency` and [models] and nothing else")
        if not isinstance(currency, str) or not CURRENCY.fullmatch(currency):
            raise PricesFileError('`currency` is three capital letters, as in currency = "USD"')
        if not isinstance(models, dict) or not models:
            raise PricesFileError('[models] holds a table for each model, as [models."openai/*"]')
        return cls(currency, {name: _price(name, row) for name, row in models.items()})

    def of(self, model: str) -> Price | None:
        """Return the price of a model: that of its own name, else that of the longest pattern that it fits."""
        if model in self.by_pattern:
            return self.by_pattern[model]
        fitting = [each for each in self.by_pattern if each[-1] == ANY and model.startswith(each[:-1])]
        return self.by_pattern[max(fitting, key=len)] if fitting else None

    def cost(self, model: str, usage: Usage | None, before: Cost | None = None) -> Cost | None:
        """Return what a call has cost, and all calls before it; None: nothing is known.

        Args:
            model: The full name of the model.
            usage: The tokens that the provider counted; None: it counted none.
            before: What the calls before this one have cost, as far as it is known.
        """
        price = self.of(model)
        if before is not None and before.currency != self.currency:
            before = None
        if price is None or usage is None:
            return before
        nano = price.nano(usage) + (before.nano if before else 0)
        return Cost(nano, self.currency) if nano <= MOST_NANO else None


NO_PRICES: Final = Prices()


def _count(holder: Mapping[str, Any], name: str) -> int:
    value = holder.get(name)
    return max(0, value) if isinstance(value, int) else 0


def _price(name: str, row: Any) -> Price:
    where = f'[models."{name}"]'
    if not name or ANY in name[:-1]:
        raise PricesFileError(f"{where}: a model's name like openai/gpt-5.4-mini; a * may stand at its end")
    if not isinstance(row, dict) or set(row) - FIELDS or not {"input", "output"} <= set(row):
        raise PricesFileError(f"{where}: it holds `input` and `output`, and may hold `cached` and `cache_write`")
    for each, value in row.items():
        number = isinstance(value, int | Decimal) and not isinstance(value, bool) and Decimal(value).is_finite()
        if not number or not 0 <= value <= MOST_PRICE:
            raise PricesFileError(f"{where}: `{each}` is the price of a million tokens, from 0 to {MILLION:,}")
    prices = {each: Decimal(value) for each, value in row.items()}
    return Price(
        prices["input"],
        prices["output"],
        prices.get("cached", prices["input"]),
        prices.get("cache_write", prices["input"]),
    )

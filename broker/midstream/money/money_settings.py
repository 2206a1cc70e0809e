"""The settings of prices and budgets; `midstream.settings` holds them with all others."""

from functools import cached_property
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from midstream.money.prices import NO_PRICES, Prices, PricesFileError


class MoneySettings(BaseSettings):
    """What models cost; where no file is named, nothing has a cost."""

    prices_file: Path | None = Field(
        default=None, description="TOML file with the prices of models; the same for brokers and workers"
    )
    budget_refuses: bool = Field(
        default=False, description="a budget that is spent refuses starts; otherwise it only warns"
    )
    budget_warn_percent: int = Field(
        default=80, ge=1, le=100, description="a budget of which so much is spent warns: in answers, logs and metrics"
    )

    @field_validator("prices_file")
    @classmethod
    def _readable_prices(cls, value: Path | None) -> Path | None:
        if value is not None:
            try:
                Prices.of_file(value)
            except PricesFileError as error:
                raise ValueError(str(error)) from None
        return value

    @cached_property
    def prices(self) -> Prices:
        """The prices as the file had them when they were asked for first.

        Raises:
            PricesFileError: The file cannot be used any more.
        """
        return NO_PRICES if self.prices_file is None else Prices.of_file(self.prices_file)

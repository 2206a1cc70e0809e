"""The settings of prices and budgets; `midstream.settings` holds them with all others."""

import logging
from functools import cached_property
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from midstream.money.prices import NO_PRICES, Prices, PricesFileError

logger = logging.getLogger(__name__)


class PriceTable:
    """The prices of a file as it was read last.

    Attributes:
        prices: They.

    Raises:
        PricesFileError: The file cannot be read or used.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.prices = NO_PRICES if path is None else Prices.of_file(path)

    def read_again(self) -> None:
        """Take the file's prices as they are now; a file that cannot be used is logged, and changes nothing."""
        if self._path is None:
            return
        try:
            self.prices = Prices.of_file(self._path)
        except PricesFileError as error:
            logger.error("the prices stay as they were: %s", error)  # noqa: TRY400
            return
        logger.info("the table of prices was read again")


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
    def price_table(self) -> PriceTable:
        """The table of prices, which each process reads again after each change of the file.

        Raises:
            PricesFileError: The file cannot be used any more.
        """
        return PriceTable(self.prices_file)

    @property
    def prices(self) -> Prices:
        """The prices as they are now; raises as `price_table`."""
        return self.price_table.prices

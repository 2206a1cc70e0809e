"""The settings of what a process writes to its log lines; `midstream.settings` holds them with all others."""

import sys

from pydantic import Field
from pydantic_settings import BaseSettings


class JournalSettings(BaseSettings):
    """What is written to stderr, how, and how much of it."""

    log_level: str = Field(default="info", pattern=r"^(debug|info|warning|error)$", description="lowest level logged")
    log_format: str = Field(
        default="auto",
        pattern=r"^(auto|json|text)$",
        description="`json`: one object a line; `text`: for people; `auto`: text on a terminal, else JSON",
    )
    log_lines_per_s: int = Field(
        default=10,
        ge=1,
        le=10_000,
        description="most log lines of one kind in a second; the others are counted, and the count is logged",
    )

    @property
    def logs_json(self) -> bool:
        """Whether the lines of this process are JSON."""
        return self.log_format == "json" or (self.log_format == "auto" and not sys.stderr.isatty())

    @property
    def foreign_log_level(self) -> str:
        """The lowest level for packages of others, some of which write requests and keys to the log at `debug`."""
        return "info" if self.log_level == "debug" else self.log_level

"""The settings of how long a generation may take; `midstream.settings` holds them with all others."""

from typing import Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings


class AppTimeouts(BaseModel):
    """The time-outs of one app, in seconds; None: those of all generations."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    idle_timeout_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    generation_timeout_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)


NO_TIMEOUTS: Final = AppTimeouts()


class TimeoutSettings(BaseSettings):
    """How long a generation may run, and how long its source may be silent."""

    generation_timeout_s: float = Field(default=900.0, gt=0, description="longest generation")
    idle_timeout_s: float = Field(default=180.0, gt=0, description="longest silence of a source by default")
    max_idle_timeout_s: float = Field(
        default=3_600.0, gt=0, description="largest `idle_timeout_s` that a request may set"
    )
    app_timeouts: dict[str, AppTimeouts] = Field(
        default_factory=dict,
        description='time-outs of your own sources: {"name": {"idle_timeout_s": 900, "generation_timeout_s": 60}}; a '
        "request may set others",
    )

    @model_validator(mode="after")
    def _bounded_app_timeouts(self) -> Self:
        bounds = {
            "idle_timeout_s": (self.longest_idle_s, "MIDSTREAM_MAX_IDLE_TIMEOUT_S"),
            "generation_timeout_s": (self.generation_timeout_s, "MIDSTREAM_GENERATION_TIMEOUT_S"),
        }
        for app, timeouts in self.app_timeouts.items():
            for field, (most_s, variable) in bounds.items():
                if (getattr(timeouts, field) or 0) > most_s:
                    raise ValueError(f"MIDSTREAM_APP_TIMEOUTS: {app}: `{field}` is at most {most_s:g} ({variable})")
        return self

    @property
    def longest_idle_s(self) -> float:
        """The longest silence of a source that any request can get, in seconds."""
        return max(self.idle_timeout_s, self.max_idle_timeout_s)

    def timeouts_of(self, model: str) -> AppTimeouts:
        """Return the time-outs that hold for a model: those of an app, if it is one and has any."""
        provider, _, name = model.partition("/")
        return self.app_timeouts.get(name, NO_TIMEOUTS) if provider == "app" else NO_TIMEOUTS

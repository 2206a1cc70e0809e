"""The settings of the user's own apps; `midstream.settings` holds them with all others."""

import re
from typing import Final

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from midstream.access.access_settings import listed

APP_PATH: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
MODULE: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


class AppSettings(BaseSettings):
    """Which apps there are, and what they may take."""

    apps: dict[str, str] = Field(
        default_factory=dict, description='your own sources: {"name": "module:async_generator_function"}'
    )
    app_modules: str = Field(
        default="", description="`shop.agent,shop.search`: modules whose functions with `@midstream.app` are apps too"
    )
    app_lifespan_s: float = Field(
        default=30.0, gt=0, description="longest time that the `lifespan` of an app takes to open, and to close"
    )
    app_state_bytes: int = Field(
        default=65_536, ge=64, le=16_777_216, description="most bytes that an app saves for a thread, as JSON"
    )
    app_state_ttl_s: int = Field(
        default=2_592_000, ge=1, description="how long what an app has saved for a thread is kept after that"
    )
    step_bytes: int = Field(
        default=65_536, ge=64, le=8_388_608, description="most bytes of the arguments and of the result of a step"
    )

    @field_validator("apps")
    @classmethod
    def _well_formed_apps(cls, value: dict[str, str]) -> dict[str, str]:
        for name, path in value.items():
            if not name:
                raise ValueError(f"the app {path!r} has no name")
            if not APP_PATH.fullmatch(path):
                raise ValueError(f"{name}: {path!r} is not `module:function`, as in shop.agent:answer")
        return value

    @field_validator("app_modules")
    @classmethod
    def _well_formed_modules(cls, value: str) -> str:
        for module in listed(value):
            if not MODULE.fullmatch(module):
                raise ValueError(f"{module!r} is no module, as in shop.agent")
        return value

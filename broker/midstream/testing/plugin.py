"""The fixtures of pytest: `pytest_plugins = ["midstream.testing.plugin"]`.

They are no coroutines, so that they serve tests with and without a plugin for `asyncio`.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from midstream.testing.kit import Kit


@pytest.fixture
def midstream_settings() -> dict[str, Any]:
    """Settings of the test's midstream, by their names in small letters; override it with your own."""
    return {}


@pytest.fixture
def midstream_kit(midstream_settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Kit]:
    """A whole midstream for one test; programs that the test calls find it, and its fake model, by the environment."""
    with Kit(**midstream_settings) as kit:
        for name, value in kit.environment.items():
            monkeypatch.setenv(name, value)
        yield kit

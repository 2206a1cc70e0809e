"""A whole midstream for a test: `Kit` (docs/testing.md), and `midstream.testing.plugin` with the fixtures of pytest."""

from midstream.testing.kit import Kit
from midstream.testing.provider.script import Script

__all__ = ["Kit", "Script"]

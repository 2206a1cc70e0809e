"""Each fuzzing target for a moment, by Hypothesis; `scripts/fuzz` runs them for long, guided by coverage.

PROTOCOL: Http/Request ids (the content of a request leads to no 500), Entries/Codec, Read/Bad.
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=400)
@given(data=st.binary(max_size=400))
def test_a_target_refuses_what_it_cannot_read(target: str, data: bytes) -> None:
    TARGETS[target](data)

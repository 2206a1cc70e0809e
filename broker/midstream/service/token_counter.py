"""Counts tokens for `trim.max_tokens`, by the encoding that the settings name (PROTOCOL: Threads/Tokens)."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

logger = logging.getLogger(__name__)

LOAD_S: Final = 10.0
"""A broker that starts waits so long for a vocabulary, which tiktoken fetches where it is not in its cache."""

PIECE_CHARS: Final = 100_000
"""A longer text is counted in pieces: tiktoken's patterns fail at a million blanks in a row, and its time is more than
linear in the length of a run of letters. Each cut adds a token or two at most."""


async def open_token_counter(encoding: str) -> Callable[[str], int] | None:
    """Return what counts the tokens of a text; None where no encoding is named, or where it cannot be had.

    Why it cannot is logged, and the broker runs without it: only starts that ask for tokens depend on it.
    """
    if not encoding:
        return None
    try:
        async with asyncio.timeout(LOAD_S):
            return await asyncio.to_thread(_counter, encoding)
    except ImportError as error:
        logger.error("no token counts: MIDSTREAM_TOKENIZER asks for them; install midstream[tokens] (%s)", error.name)  # noqa: TRY400
    except Exception as error:  # noqa: BLE001 - an unknown name, or whatever the fetch of its vocabulary raises
        logger.error("no token counts: the vocabulary of MIDSTREAM_TOKENIZER cannot be read: %r", error)  # noqa: TRY400
    return None


def _counter(encoding: str) -> Callable[[str], int]:
    import tiktoken  # noqa: PLC0415 - an extra, and nothing of it is imported where no encoding is named

    encode = tiktoken.get_encoding(encoding).encode_ordinary
    return lambda text: sum(len(encode(text[at : at + PIECE_CHARS])) for at in range(0, len(text), PIECE_CHARS))

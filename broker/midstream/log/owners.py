"""The word that an owner claims a stream with: it names the worker, and ends in what nobody can guess.

The state of a stream so tells which worker holds it, or held it last, without another question to the server.
"""

import secrets
from typing import Final

SEPARATOR: Final = "."
SECRET_CHARS: Final = 16


def new_owner(worker: str) -> str:
    """Return a new word for a claim of this worker; at most 64 characters, which a small hash of Redis holds."""
    return f"{worker}{SEPARATOR}{secrets.token_hex(SECRET_CHARS // 2)}"


def worker_of(owner: str) -> str:
    """Return the name of the worker in an owner's word; empty for none, or for the word of an older version."""
    worker, _, secret = owner.rpartition(SEPARATOR)
    return worker if len(secret) == SECRET_CHARS else ""


def place_of(worker: str) -> str:
    """Return `<host>:<pid>` of a worker's name, as people know it."""
    return worker.rpartition(":")[0] or worker

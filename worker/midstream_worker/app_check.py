"""`python -m midstream_worker.app_check`: imports each app as a worker does, and prints what is wrong with it.

A line of JSON for each: `[name, path, problem]`, the problem null where there is none. `midstream up` asks before it
greets.
"""

import contextlib
import json
import sys
from pathlib import Path

from midstream.app_registry import with_app_modules
from midstream.settings import Settings
from midstream_worker.sources.app_import import AppImportError, import_app
from midstream_worker.sources.app_signature import signature_of


def main() -> None:
    """Print one line for each app."""
    sys.path.append(str(Path.cwd()))
    with contextlib.redirect_stdout(sys.stderr):  # keeps what the user's code prints out of our output
        apps = with_app_modules(Settings()).apps
    for name, path in apps.items():
        with contextlib.redirect_stdout(sys.stderr):
            problem = _problem(path)
        print(json.dumps([name, path, problem]), flush=True)  # noqa: T201


def _problem(path: str) -> str | None:
    try:
        signature_of(import_app(path))
    except AppImportError as error:
        return str(error)
    return None


if __name__ == "__main__":
    main()

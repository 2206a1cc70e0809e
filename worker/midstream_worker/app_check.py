"""`python -m midstream_worker.app_check`: imports each app as a worker does, and prints what is wrong with it.

A line of JSON for each: `[name, problem]`, the problem null where there is none. `midstream up` asks before it greets.
"""

import contextlib
import json
import sys
from pathlib import Path

from midstream.settings import Settings
from midstream_worker.sources.app_import import AppImportError, import_app


def main() -> None:
    """Print one line for each app."""
    sys.path.append(str(Path.cwd()))
    for name, path in Settings().apps.items():
        with contextlib.redirect_stdout(sys.stderr):  # keeps what the user's code prints out of our output
            problem = _problem(path)
        print(json.dumps([name, problem]), flush=True)  # noqa: T201


def _problem(path: str) -> str | None:
    try:
        import_app(path)
    except AppImportError as error:
        return str(error)
    return None


if __name__ == "__main__":
    main()

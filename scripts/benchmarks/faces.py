"""What each face costs: a frame is made once for all tails of a stream, so this is not paid per delivery."""

import time
from functools import partial
from typing import Any, Final

from midstream.faces.chat import ChatFace
from midstream.faces.face import Face
from midstream.faces.messages import MessagesFace
from midstream.faces.native import NativeFace
from midstream.faces.objects import ObjectsFace
from midstream.faces.responses import ResponsesFace
from midstream.faces.ui_messages import UiMessagesFace
from midstream.log.entries import COMPLETED, END, START, Entry, Stored, encode, text
from scripts.benchmarks.benchmark import Benchmark, Figures

ENTRIES: Final = 20_000
QUICK_ENTRIES: Final = 2_000
WORDS: Final = "six or so words of text "
ID: Final = "0123456789abcdef0123456789abcdef"
BATCH: Final = 1_000
"""After so many entries a face begins anew: an answer is about that long."""

END_DATA: Final = {
    "outcome": COMPLETED,
    "finish_reason": "stop",
    "error": None,
    "usage": None,
    "timings": {"queued_ms": 0, "first_delta_ms": 0, "total_ms": 0},
}

FACES: Final[dict[str, Face[Any]]] = {
    "native": NativeFace(),
    "WebSocket": ObjectsFace(),
    "chat completions": ChatFace(ID, 0, "bench"),
    "messages": MessagesFace(ID, "bench"),
    "Responses": ResponsesFace(ID, 0, "{}"),
    "AI SDK": UiMessagesFace(ID, ID[:8], 6),
}


def _log() -> list[Stored]:
    entries = [
        Entry(START, {"model": "bench"}),
        *(text(WORDS) for _ in range(BATCH)),
        Entry(END, END_DATA),
    ]
    return [Stored(offset, 1, encode(entry)) for offset, entry in enumerate(entries, 1)]


def _run(face: Face[Any], quick: bool) -> Figures:
    log = _log()
    rounds = (QUICK_ENTRIES if quick else ENTRIES) // BATCH
    size_bytes = 0
    began_s = time.process_time()
    for _ in range(rounds):
        state: Any = face.begin()
        for entry in log:
            frame, state = face.frame(entry, state)
            size_bytes += len(frame)
    used_s = time.process_time() - began_s
    count = rounds * len(log)
    return {"CPU per entry, µs": used_s / count * 1e6, "bytes per entry": size_bytes / count}


FACES_COST: Final = Benchmark(
    name="faces",
    title="What a face costs per entry",
    note=f"Making the frames of {BATCH:,} entries of {len(WORDS)} bytes, a start and an end, in one process. Paid once "
    "per stream and process, however many tails there are; what a delivery costs besides is the same on each face.",
    systems={name: partial(_run, face) for name, face in FACES.items()},
    plotted=("CPU per entry, µs", "bytes per entry"),
    ratio=None,
)

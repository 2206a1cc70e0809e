"""Takes a share of a core, and does nothing with it, for `neighbours.py`: python -m scripts.benchmarks.burn SHARE."""

import sys
import time
from typing import Final

SLICE_S: Final = 0.002
"""About as long as a broker is busy with what came at once."""


def burn(share: float) -> None:
    """Take this share of a core until the process is ended."""
    while True:
        began_s, used_s = time.perf_counter(), time.process_time()
        while time.process_time() - used_s < SLICE_S:
            pass
        time.sleep(max(0.0, SLICE_S / share - (time.perf_counter() - began_s)))


if __name__ == "__main__":
    burn(max(0.001, float(sys.argv[1])))

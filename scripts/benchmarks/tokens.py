"""What one worker generates, by a provider's official SDK: its tokens a second, and what each costs."""

import asyncio
import json
import time
from typing import Final

import httpx2

from scripts.benchmarks.benchmark import OBVIOUS, OURS, Benchmark, Figures, percentile
from scripts.benchmarks.rig import KEY, Rig, cpu_s

GENERATIONS: Final = 200
PROVIDER_KEEPS_UP: Final = "at 30 tokens/s each"
PACES: Final[dict[str, tuple[int, int]]] = {PROVIDER_KEEPS_UP: (300, 33), "at 100 tokens/s each": (600, 10)}
"""Tokens of each answer, and the pause between them in ms."""
QUICK_SHARE: Final = 4
ENDED_S: Final = 60
WARM_UP: Final = json.dumps({"script": {"words": 10}})
MICRO: Final = 1e6


def _prompt(pace: str, quick: bool) -> tuple[int, str]:
    """Return the number of tokens of an answer, and what has the provider give it."""
    tokens, delay_ms = PACES[pace]
    tokens = tokens // QUICK_SHARE if quick else tokens
    return tokens, json.dumps({"script": {"words": tokens, "delay_ms": delay_ms}})


def _figures(pace: str, tokens: int, took_s: float, used_s: float, firsts_ms: list[float]) -> Figures:
    figures = {f"{pace}: tokens/s": tokens / took_s, f"{pace}: CPU, µs a token": MICRO * used_s / tokens}
    if pace == PROVIDER_KEEPS_UP:
        figures[f"{pace}: first text p99, ms"] = percentile(firsts_ms, 0.99)
    return figures


def _plain(quick: bool) -> Figures:
    figures: dict[str, float] = {}
    for pace in PACES:
        tokens, prompt = _prompt(pace, quick)
        with Rig() as rig:
            arguments = [rig.provider(), rig.redis_url, str(GENERATIONS), prompt]
            process = rig.spawn("plain", ["scripts.benchmarks.plain_generations", *arguments], {}, piped=True)
            assert process.stdin is not None  # noqa: S101
            assert process.stdout is not None  # noqa: S101
            process.stdout.readline()
            used_s = cpu_s(process.pid)
            process.stdin.write(b"go\n")
            process.stdin.flush()
            took_s, *firsts_ms = json.loads(process.stdout.readline())
            used_s = cpu_s(process.pid) - used_s
            figures |= _figures(pace, GENERATIONS * tokens, took_s, used_s, firsts_ms)
    return figures


async def _generate(port: int, prompt: str, count: int) -> list[float]:
    """Have so many answers given at once; return when each had its first text, in ms after its start."""
    url, headers = f"http://127.0.0.1:{port}/v1/streams", {"Authorization": f"Bearer {KEY}"}
    limits = httpx2.Limits(max_connections=GENERATIONS)
    async with httpx2.AsyncClient(headers=headers, timeout=2 * ENDED_S, limits=limits) as http:

        async def one() -> float:
            answer = (await http.post(url, json={"model": "fake/bench", "input": prompt})).raise_for_status()
            where = f"{url}/{answer.json()['id']}"
            state = (await http.get(where, params={"wait": ENDED_S})).raise_for_status().json()
            if state.get("outcome") != "completed":
                raise RuntimeError(f"a generation is {state['status']}: {state.get('error')}")
            return float(state["timings"]["first_delta_ms"])

        return await asyncio.gather(*(one() for _ in range(count)))


def _midstream(quick: bool) -> Figures:
    figures: dict[str, float] = {}
    for pace in PACES:
        tokens, prompt = _prompt(pace, quick)
        with Rig() as rig:
            settings: dict[str, object] = {
                "providers": json.dumps({"fake": f"{rig.provider()}/v1"}),
                "tenant_starts_per_minute": 0,  # all are started at once, by one tenant
            }
            worker, front = rig.worker(**settings), rig.front(**settings)
            asyncio.run(_generate(front.port, WARM_UP, 1))  # the SDK makes its types when they are first used
            used_s, began_s = cpu_s(worker), time.monotonic()
            firsts_ms = asyncio.run(_generate(front.port, prompt, GENERATIONS))
            took_s, used_s = time.monotonic() - began_s, cpu_s(worker) - used_s
            figures |= _figures(pace, GENERATIONS * tokens, took_s, used_s, firsts_ms)
    return figures


TOKENS: Final = Benchmark(
    name="tokens",
    title=f"{GENERATIONS} answers of a provider at once, by one worker process",
    note="The provider, in a process of its own, sends each token in an event. At 100 tokens/s each it wants 20,000/s, "
    "which is more than the machine does: that row is what goes through provider, worker, Redis and broker together, "
    "and its first texts wait in the provider. "
    "The obvious way is a program with the provider's SDK and an XADD for each delta, without a lease, an end or a "
    "client. First text: after the POST, or after the call of the SDK.",
    systems={OBVIOUS: _plain, OURS: _midstream},
    plotted=tuple(f"{pace}: tokens/s" for pace in PACES),
    headlines={"at 100 tokens/s each: tokens/s": "One worker's tokens per second, from 200 answers of a provider"},
)

"""The commands that act on streams as an operator (PROTOCOL: Operate)."""

import asyncio
import json
import os
import pty
import sys
from collections.abc import AsyncIterator

import httpx2
import pytest
from click.testing import CliRunner, Result
from redis.asyncio import Redis

from midstream.cli.main import main
from midstream.log.log import Log
from midstream.log.values import NewStream
from midstream.settings import Settings
from tests import inside
from tests.contract.scripted_broker import Exchange, scripted_broker


@pytest.fixture
async def url(settings: Settings) -> AsyncIterator[str]:
    async with inside.broker(settings.model_copy(update={"lease_ms": 60_000, "requeue_ms": 60_000})) as client:
        yield str(client.base_url)


@pytest.fixture
async def streams(redis: Redis) -> Log:
    """Create five queued streams."""
    log = Log(redis, "ms")
    new = NewStream(digest="d", tenant="default", model="demo/count", ttl_s=60, request=b'{"input":"hi"}')
    await asyncio.gather(*(log.create(f"s{n}", new, look_in_ms=9_000) for n in range(5)))
    return log


async def run(url: str, *words: str) -> Result:
    """Run a command away from a terminal."""
    return await asyncio.to_thread(CliRunner().invoke, main, [*words, "--url", url])


async def test_what_fits_is_counted_and_done_without_a_terminal_only_if_told(url: str, streams: Log) -> None:
    """Operation/Acts."""
    dry = await run(url, "rm", "--where", "status=queued", "--dry-run")
    assert (dry.exit_code, dry.stderr) == (0, "5 streams fit\n")
    refused = await run(url, "rm", "--where", "status=queued")
    assert (refused.exit_code, "add --yes" in refused.stderr) == (2, True)
    assert len([state for state in await streams.states([f"s{n}" for n in range(5)]) if state]) == 5
    sealed = await run(url, "seal", "--reason", "it hangs\x1b[2J\n2026", "--where", "q=s1", "--yes", "--json")
    assert json.loads(sealed.stdout) == {"act": "seal", "done": 1, "refused": {}, "refusals": []}
    mixed = await run(url, "seal", "--reason", "again", "--where", "model=demo/count", "--yes")
    assert mixed.exit_code == 1
    assert mixed.stderr == "4 streams done, 1 refused\n  stream_ended: 1, such as default/s1\n"
    lines = (await run(url, "audit")).stdout.splitlines()
    assert [line for line in lines if "it hangs" in line] == [line for line in lines if "q=s1" in line]
    assert not any("\x1b" in line for line in lines)
    gone = await run(url, "rm", "--where", "status=ended", "--where", "tenant=default", "--yes")
    assert gone.stderr == "5 streams done, 0 refused\n"
    assert (await run(url, "rm", "--where", "status=ended", "--yes")).stderr == "0 streams fit\n"


@pytest.mark.usefixtures("streams")
async def test_one_stream_is_acted_on_by_its_tenant_and_id(url: str) -> None:
    """Operation/Acts."""
    cancelled = await run(url, "cancel", "s0", "--tenant", "default", "--json")
    assert json.loads(cancelled.stdout)["outcome"] == "cancelled"
    assert json.loads((await run(url, "retain", "s0", "--ttl-s", "30", "--json")).stdout)["ttl_s"] == 30
    assert (await run(url, "trim", "s0")).exit_code == 0
    refused = await run(url, "requeue", "s0", "--pay-again")
    assert (refused.exit_code, refused.stderr) == (1, "error stream_ended: The stream has ended: cancelled.\n")
    assert json.loads((await run(url, "rm", "default/s1", "--json")).stdout)["tenant"] == "default"
    for n in (0, 2, 3, 4):
        assert (await run(url, "rm", f"s{n}", *(["--tenant", "default"] if n > 1 else []))).exit_code == 0
    rows = (await run(url, "audit", "--limit", "100")).stdout.splitlines()
    assert len(rows) == 8
    assert rows[3].endswith("anybody  requeue  default/s0  refused  stream_ended")
    last_two = [json.loads(line) for line in (await run(url, "audit", "--limit", "2", "--json")).stdout.splitlines()]
    assert [(row["act"], row["stream"]) for row in last_two] == [("delete", "s3"), ("delete", "s4")]
    newer = await run(url, "audit", "--after", last_two[0]["id"])
    assert newer.stdout.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ("cancel",),
        ("cancel", "s0", "--where", "q=s"),
        ("rm", "s0", "--dry-run"),
        ("rm", "s0", "--yes"),
        ("rm", "s0", "--user", "ada"),
        ("trim", "--where", "queued", "--yes"),
    ],
)
async def test_words_that_do_not_fit_do_nothing(url: str, streams: Log, words: tuple[str, ...]) -> None:
    """Operation/Acts."""
    assert (await run(url, *words)).exit_code == 2
    assert {state and state.status for state in await streams.states([f"s{n}" for n in range(5)])} == {"queued"}
    await run(url, "rm", "--where", "status=queued", "--yes")


@pytest.mark.parametrize(("answer", "left"), [("6", 5), ("5", 0)])
async def test_a_terminal_is_asked_for_the_count(url: str, streams: Log, answer: str, left: int) -> None:
    """Operation/Acts."""
    ours, its = pty.openpty()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "midstream.cli", "rm", "--where", "status=queued", "--url", url),
            stdin=its,
            stdout=asyncio.subprocess.PIPE,
            stderr=its,
        )
        os.write(ours, f"{answer}\n".encode())
        await process.communicate()
    finally:
        os.close(its)
        os.close(ours)
    assert process.returncode == (1 if left else 0)
    assert len([state for state in await streams.states([f"s{n}" for n in range(5)]) if state]) == left
    await run(url, "rm", "--where", "status=queued", "--yes")


async def test_an_act_that_is_stopped_says_how_far_it_came() -> None:
    """Operation/Acts."""
    step = {"done": 2, "refused": {}, "refusals": [], "next_cursor": "c"}

    async def answer(exchange: Exchange) -> None:
        order = json.loads(exchange.body)
        if "cursor" in order:
            problem = {"code": "log_unavailable", "detail": "The log does not answer."}
            await exchange.send(503, problem, "Connection: close\r\n")
        else:
            await exchange.send(200, {"count": 5} if order.get("dry_run") else step, "Connection: close\r\n")

    async with scripted_broker(answer) as broker:
        stopped = await run(broker.url, "rm", "--where", "q=s", "--yes")
    assert (stopped.exit_code, stopped.stderr.splitlines()) == (
        1,
        [
            "stopped after 2 of 5 streams, or some more; the command can be repeated",
            "error log_unavailable: The log does not answer.",
        ],
    )


@pytest.mark.usefixtures("streams")
async def test_the_audit_can_be_followed(url: str) -> None:
    """Operation/Acts."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "midstream.cli", "audit", "--follow", "--json", "--url", url),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with httpx2.AsyncClient(base_url=url) as client:
        for n in range(2):
            await client.delete(f"/v1/operate/streams/default/s{n}")
            assert json.loads(await process.stdout.readline())["stream"] == f"s{n}"
    process.terminate()
    await process.wait()
    await run(url, "rm", "--where", "status=queued", "--yes")

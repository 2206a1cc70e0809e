"""PROTOCOL: Log/One server: what can hold no log is refused at the start, in one sentence."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from midstream.log.errors import UnfitServer
from midstream.service.services import open_services
from midstream.settings import Settings
from tests import fork_server
from tests.servers import SERVER_KINDS, SentinelProcess, ValkeyProcess, free_port
from tests.system import ROOT

PROCESSES = {
    "midstream broker": ("midstream", "broker", "--port", "0"),
    "midstream broker --workers 2": ("midstream", "broker", "--port", "0", "--workers", "2"),
    "midstream worker": ("midstream", "worker"),
    "a worker by itself": ("worker",),
}


@pytest.fixture(params=[(kind, mode) for kind in SERVER_KINDS for mode in ("Cluster", "Sentinel")], ids="-".join)
def unfit(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """URL and mode of a server of each kind that is part of a cluster, or a Sentinel."""
    kind, mode = request.param
    cluster = {"cluster-enabled": "yes", "cluster-port": str(free_port())}
    process = SentinelProcess if mode == "Sentinel" else ValkeyProcess
    with process(tmp_path, cluster, SERVER_KINDS[kind]) as server:
        yield server.url, mode


@pytest.mark.parametrize("words", PROCESSES.values(), ids=PROCESSES)
async def test_a_process_says_so_in_one_sentence(
    unfit: tuple[str, str], words: tuple[str, ...], tmp_path: Path
) -> None:
    url, mode = unfit
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "MIDSTREAM_REDIS_URL": url}
    log = tmp_path / "process.log"
    process = await fork_server.shared().fork(log, environment, [*words], tmp_path)
    await asyncio.wait_for(process.wait(), 20)
    output = log.read_text()
    lines = output.splitlines()
    assert len(lines) == 1, output
    assert "MIDSTREAM_REDIS_URL" in lines[0]
    assert mode in lines[0]
    assert process.returncode == 2


async def test_another_asgi_server_is_told_as_well(unfit: tuple[str, str]) -> None:
    url, _ = unfit
    with pytest.raises(UnfitServer):
        async with open_services(Settings(redis_url=SecretStr(url))):
            pass

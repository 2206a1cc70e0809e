"""docs/backup.md, as it stands there: what had ended is kept, what was live is not paid again."""

import asyncio
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from pydantic import SecretStr

from midstream.settings import Settings
from midstream.testing.provider.script import Script
from tests import inside
from tests.contract.worker_runs import MODELS, client_alone, paid_by, read, start
from tests.provider.client import ProviderServer
from tests.servers import ValkeyProcess

PAGE = (Path(__file__).parents[2] / "docs" / "backup.md").read_text()
_, ANTHROPIC, _ = MODELS
SCRIPT = Script(words=5)
OUTDATED_AFTER_S = 1.0

pytestmark = pytest.mark.skipif(shutil.which("redis-cli") is None, reason="there is no redis-cli")


def run(what: str, environment: dict[str, str]) -> None:
    """Run a block of the page."""
    block = re.search(f"<!-- {what} -->\n```bash\n(.*?)```", PAGE, re.DOTALL)
    assert block
    subprocess.run(["bash", "-euc", block[1]], env=os.environ | environment, check=True, stdout=subprocess.DEVNULL)


async def test_a_restored_log_is_read_and_not_paid_again(tmp_path: Path, provider: ProviderServer) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    data.mkdir()
    backup.mkdir()
    with ValkeyProcess(data) as server:
        base = Settings(redis_url=SecretStr(server.url), port=0, lease_ms=1_000, requeue_ms=500)
        settings = paid_by(provider.url, base, outdated_after_s=OUTDATED_AFTER_S, drain_s=5.0)
        places = {"REDIS_PORT": str(server.port), "REDIS_DIR": str(data), "BACKUP_DIR": str(backup)}
        async with client_alone(settings) as client:
            async with inside.worker(settings):
                ended = await start(client, SCRIPT, ANTHROPIC)
                assert (await read(client, ended)).end == ("completed", None)
            queued = await start(client, SCRIPT, ANTHROPIC, on_worker_loss="restart")
            await asyncio.to_thread(run, "backup", places)
            async with inside.worker(settings):
                assert (await read(client, queued)).end == ("completed", None)
        paid = len(await provider.calls())
        server.kill()
        run("restore", places)
        await asyncio.sleep(settings.lease_ms / 1_000 + OUTDATED_AFTER_S)
        server.start()
        async with inside.worker(settings), client_alone(settings) as client:
            assert (await read(client, queued)).end == ("interrupted", "outdated")
            assert (await read(client, ended)).joined("text") == SCRIPT.text()
        assert len(await provider.calls()) == paid == 2

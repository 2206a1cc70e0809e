"""What docs/webhooks.md shows works as printed (PROTOCOL: Ends/Webhook, Ends/Hook)."""

import asyncio
import base64
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest

from midstream.ends import deliverer
from midstream.settings import Settings
from tests import inside
from tests.contract.receivers import SECRET, webhooks_file
from tests.system import ROOT

PAGE = (ROOT / "docs/webhooks.md").read_text()
RECEIVER, FUNCTION = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
MAKE = re.findall(r'`python3 -c "(.*?)"`', PAGE)[0]


async def saved(folder: dict[str, Any], stream_id: str) -> Any:
    async with asyncio.timeout(10):
        while stream_id not in folder:
            await asyncio.sleep(0.01)
    return folder[stream_id]


def hook_of(folder: Path) -> str:
    (folder / "of_the_page.py").write_text(FUNCTION)
    return "of_the_page:save"


async def test_the_receiver_and_the_function_of_the_page_save_the_answer(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliverer, "LOOK_S", 0.02)
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    monkeypatch.syspath_prepend(str(tmp_path))
    names: dict[str, Any] = {}
    exec(compile(RECEIVER, "docs/webhooks.md", "exec", flags=0, dont_inherit=True), names)  # noqa: S102
    hook = hook_of(tmp_path)
    async with inside.served(settings, names["app"]) as sink:
        file = webhooks_file(tmp_path / "webhooks.toml", ("default", f"{sink.base_url}/ends"), text=True)
        own = settings.model_copy(update={"webhooks_file": file, "on_end": hook})
        async with inside.worker(own), inside.broker(own) as client:
            start = {"model": "demo/count", "input": "x", "params": {"words": 3}}
            stream_id = (await client.post("/v1/streams", json=start)).json()["id"]
            received = await saved(names["SAVED"], stream_id)
            from of_the_page import SAVED  # type: ignore[import-not-found]  # noqa: PLC0415

            called = await saved(SAVED, stream_id)
        async with httpx2.AsyncClient() as stranger:
            forged = {"webhook-id": "1", "webhook-timestamp": "1", "webhook-signature": "v1,x"}
            assert (await stranger.post(f"{sink.base_url}/ends", headers=forged)).status_code == 401
    assert (received["id"], received["outcome"]) == (stream_id, "completed")
    assert called == ("default", "completed", received["text"])
    assert set(re.findall(r'"(\w+)":', PAGE.split("```json")[1].split("```")[0])) >= set(received)


def test_the_secret_that_the_page_makes_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    exec(MAKE, {})  # noqa: S102
    assert len(base64.b64decode(capsys.readouterr().out.strip().removeprefix("whsec_"))) == 32

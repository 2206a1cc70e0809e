"""Another version of arq is named at the start, and one that no stream could be taken with ends the worker."""

import logging
import tomllib
from pathlib import Path

import pytest

from midstream.settings import Settings
from midstream_worker import tested_arq
from midstream_worker.process import Process
from midstream_worker.tested_arq import TESTED, UnfitArqError
from tests import inside

ROOT = Path(__file__).parents[2]


def test_the_tested_versions_are_bounds_of_what_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "arq>={},<{}".format(*TESTED) in project["optional-dependencies"]["server"]


async def test_an_unknown_version_is_named_and_works(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tested_arq, "version", lambda _: "0.29.1")
    with caplog.at_level(logging.WARNING):
        async with inside.worker(settings), inside.broker(settings) as client:
            body = {"model": "demo/count", "input": "x", "params": {"words": 2}}
            stream_id = (await client.post("/v1/streams", json=body)).json()["id"]
            state = (await client.get(f"/v1/streams/{stream_id}", params={"wait": 10})).json()
    assert "arq 0.29.1 is installed, and this worker was tested with arq 0.28" in caplog.text
    assert state["outcome"] == "completed"


@pytest.mark.parametrize("where", ["METHODS", "ATTRIBUTES"])
async def test_a_worker_says_what_arq_lacks(settings: Settings, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.setattr(tested_arq, where, ("main", "no_such_name"))
    with pytest.raises(UnfitArqError, match=r"has no Worker\.no_such_name: install arq>=0\.28,<0\.29"):
        Process(settings)


async def test_a_worker_says_that_arq_polls_in_another_way(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tested_arq, "METHODS", ("main", "close"))
    with pytest.raises(UnfitArqError, match=r"does not call Worker\.close"):
        Process(settings)

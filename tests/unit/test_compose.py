"""The compose file and the Dockerfile: valid by the official schema, and safe in what they set."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from midstream.access.access_settings import LOOPBACK_HOSTS
from midstream.settings import Settings
from midstream_worker.producers import CANCEL_S, END_S
from midstream_worker.production import LINGER_S
from tests.compose import ROOT, MissingVariableError, compose_file, seconds

GRACE_S = 10
SCHEMA = json.loads((Path(__file__).parents[1] / "data" / "compose-spec.json").read_text())


@pytest.fixture
def compose() -> dict[str, Any]:
    return compose_file({"MIDSTREAM_API_KEYS": "key:tenant"})


def test_the_file_is_valid_by_the_official_schema(compose: dict[str, Any]) -> None:
    validator = Draft7Validator(SCHEMA)
    assert [error.message for error in validator.iter_errors(compose)] == []

    compose["services"]["broker"]["restrat"] = "always"
    assert not validator.is_valid(compose)


def test_the_log_is_durable_and_never_evicted(compose: dict[str, Any]) -> None:
    valkey = compose["services"]["valkey"]
    options = dict(zip(valkey["command"][1::2], valkey["command"][2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"
    volume, _, target = valkey["volumes"][0].partition(":")
    assert target == "/data"
    assert volume in compose["volumes"]
    assert "ports" not in valkey, "Redis is reachable for the services alone"


def test_services_come_back_and_wait_for_the_log(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert {name: service["restart"] for name, service in services.items()} == dict.fromkeys(services, "unless-stopped")
    assert services["valkey"]["healthcheck"]["test"]
    assert "/readyz" in services["broker"]["healthcheck"]["test"][-1]
    for name in ("broker", "worker"):
        assert services[name]["depends_on"]["valkey"]["condition"] == "service_healthy"


def test_a_worker_can_be_scaled_and_has_time_to_drain(compose: dict[str, Any]) -> None:
    worker = compose["services"]["worker"]
    assert "container_name" not in worker
    assert "ports" not in worker


@pytest.mark.parametrize("drain_s", [None, "900", "2.5"])
def test_a_worker_is_killed_only_after_its_drain(drain_s: str | None) -> None:
    chosen = {"MIDSTREAM_DRAIN_S": drain_s} if drain_s else {}
    worker = compose_file({"MIDSTREAM_API_KEYS": "key:tenant", **chosen})["services"]["worker"]
    drains_for_s = float(worker["environment"]["MIDSTREAM_DRAIN_S"])
    assert drains_for_s == (float(drain_s) if drain_s else Settings().drain_s)
    assert seconds(worker["stop_grace_period"]) == drains_for_s + GRACE_S
    assert END_S + CANCEL_S + LINGER_S < GRACE_S, "what a worker may take after its drain"


def test_the_docs_say_how_long_a_stop_takes(compose: dict[str, Any]) -> None:
    text = " ".join((ROOT / "docs/deployment.md").read_text().split())
    settings = Settings()
    assert f"`MIDSTREAM_DRAIN_S` ({settings.drain_s:g} s)" in text
    assert f"`MIDSTREAM_GENERATION_TIMEOUT_S` ({settings.generation_timeout_s:g} s)" in text
    assert f"`MIDSTREAM_QUEUE_TIMEOUT_S` ({settings.queue_timeout_s:g} s)" in text
    assert f"is {GRACE_S} s longer than `MIDSTREAM_DRAIN_S`" in text
    timeout = float(compose["services"]["worker"]["environment"]["MIDSTREAM_GENERATION_TIMEOUT_S"])
    assert timeout == settings.generation_timeout_s


def test_the_broker_is_published_on_loopback_and_never_open(compose: dict[str, Any]) -> None:
    command = compose["services"]["broker"]["command"]
    assert command[command.index("--host") + 1] not in LOOPBACK_HOSTS
    assert compose["services"]["broker"]["ports"] == ["127.0.0.1:8080:8080"]
    with pytest.raises(MissingVariableError, match="MIDSTREAM_API_KEYS"):
        compose_file({})


def test_every_variable_is_a_setting(compose: dict[str, Any]) -> None:
    aliases = {str(field.validation_alias.choices[0]) for field in Settings.model_fields.values()  # type: ignore[union-attr]
               if field.validation_alias}  # fmt: skip
    variables = aliases | {f"MIDSTREAM_{name.upper()}" for name in Settings.model_fields}
    for name in ("broker", "worker"):
        assert set(compose["services"][name]["environment"]) <= variables


def test_the_image_is_built_from_the_lock_and_runs_without_root() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert any(
        "pip install" in line and "--constraint constraints.txt" in line and ".[server]" in line for line in lines
    )
    last_stage = lines[max(number for number, line in enumerate(lines) if line.startswith("FROM")) :]
    users = [line.split()[1] for line in last_stage if line.startswith("USER")]
    assert users
    assert users[-1] not in ("root", "0")
    assert any(line.startswith("HEALTHCHECK") for line in last_stage)

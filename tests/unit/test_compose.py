"""The compose file and the Dockerfile: valid by the official schema, and safe in what they set."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from midstream.access.access_settings import LOOPBACK_HOSTS
from midstream.settings import Settings, secret_variables, variable_of
from midstream.traces.trace_settings import ENDPOINTS
from midstream_worker.producers import CANCEL_S, END_S
from midstream_worker.production import LINGER_S
from tests.compose import ROOT, compose_file, seconds

GRACE_S = 10
SCHEMA = json.loads((Path(__file__).parents[1] / "data" / "compose-spec.json").read_text())


@pytest.fixture
def compose() -> dict[str, Any]:
    return compose_file({})


def test_the_file_is_valid_by_the_official_schema(compose: dict[str, Any]) -> None:
    validator = Draft7Validator(SCHEMA)
    assert [error.message for error in validator.iter_errors(compose)] == []

    compose["services"]["broker"]["restrat"] = "always"
    assert not validator.is_valid(compose)


def test_the_log_is_durable_and_never_evicted(compose: dict[str, Any]) -> None:
    valkey = compose["services"]["valkey"]
    options = dict(zip(valkey["command"][::2], valkey["command"][1::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory"] == "1gb"
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
    worker = compose_file(chosen)["services"]["worker"]
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
    assert Settings(host="0.0.0.0").why_not_listen(), "without keys it would not start"


def test_every_variable_is_a_setting(compose: dict[str, Any]) -> None:
    variables = {variable_of(name) for name in Settings.model_fields} | {f"{name}_FILE" for name in secret_variables()}
    for name in ("broker", "worker"):
        assert set(compose["services"][name]["environment"]) <= {*variables, *ENDPOINTS}


def test_each_service_has_its_own_secrets_alone(compose: dict[str, Any]) -> None:
    """Operation/Secrets, Operation/Provider keys."""
    services = compose["services"]
    for name in ("broker", "worker"):
        environment = services[name]["environment"]
        files = {value.removeprefix("/run/secrets/") for value in environment.values() if "/run/secrets" in value}
        assert files == set(services[name]["secrets"])
        assert not {*environment} & {*secret_variables()} - {"MIDSTREAM_REDIS_URL"}, "no secret is in a variable"
        assert "password" not in environment["MIDSTREAM_REDIS_URL"].replace("_password", "")
    assert {*services["broker"]["secrets"]} & {*services["worker"]["secrets"]} == set()
    assert not any("provider" in each or each.endswith("ai_api_key") for each in services["broker"]["secrets"])
    assert "api_keys" not in services["worker"]["secrets"]
    made = (ROOT / "scripts/secrets").read_text()
    assert [each for each in compose["secrets"] if f"write {each} " not in made] == []
    assert {each["file"] for each in compose["secrets"].values()} == {
        f"./secrets/{each}" for each in compose["secrets"]
    }


def test_every_container_is_confined(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["tmpfs"] == ["/tmp"]
    assert compose["networks"][compose["services"]["valkey"]["networks"][0]] == {"internal": True}


def test_the_image_is_built_from_the_lock_and_runs_without_root_and_shell() -> None:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    installs = re.findall(r"pip (?:--python \S+ )?install (.*?)(?:&&|$)", text, re.MULTILINE)
    assert [each for each in installs if "--require-hashes" not in each and "--no-index" not in each] == []
    assert "requirements/server.txt" in text
    last_stage = text[text.rindex("\nFROM") :]
    assert re.findall(r"^USER (.*)$", last_stage, re.MULTILINE) == ["10001:10001"]
    assert "HEALTHCHECK" in last_stage
    (removal,) = re.findall(r"^RUN rm (.*)$", last_stage, re.MULTILINE)
    assert {"/bin/sh", "/bin/dash", "/bin/bash", "/usr/bin/apt*", "/usr/local/bin/pip*"} <= {*removal.split()}
    assert "RUN" not in last_stage.partition(removal)[2], "there is no shell left to run it"
    assert "root" not in last_stage

"""What the command line prints without a broker: settings, their errors, a broker that is away."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from midstream.cli.main import main
from midstream.settings import Settings
from tests.servers import free_port

SECRETS = {
    "MIDSTREAM_API_KEYS": "hidden-1:acme",
    "MIDSTREAM_REDIS_URL": "redis://user:hidden-2@10.0.0.1:6379/0?password=hidden-3",
    "MIDSTREAM_PROVIDERS": '{"ours": "http://me:hidden-4@10.0.0.2/v1"}',
    "OPENAI_API_KEY": "hidden-5",
    "ANTHROPIC_API_KEY": "hidden-6",
    "OPENAI_BASE_URL": "https://me:hidden-7@10.0.0.3/v1",
}


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_config_shows_no_secret(flags: list[str]) -> None:
    shown = CliRunner().invoke(main, ["config", *flags], env=SECRETS).output
    assert "hidden" not in shown
    assert "10.0.0.1:6379/0" in shown
    assert all(variable in shown for variable in SECRETS)


def test_config_tells_each_setting_with_its_default_and_meaning() -> None:
    done = CliRunner().invoke(main, ["config", "--json"], env={"MIDSTREAM_PORT": "8181"})
    rows = {row["variable"]: row for row in json.loads(done.output)}
    assert len(rows) == len(Settings.model_fields)
    assert rows["MIDSTREAM_PORT"]["value"] == 8181
    assert rows["MIDSTREAM_PORT"]["default"] == 8080
    assert all(row["meaning"] for row in rows.values())


@pytest.mark.parametrize("command", ["up", "broker", "worker", "config"])
@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"MIDSTREAM_PORT": "99999"}, "Error: MIDSTREAM_PORT: Input should be less than or equal to 65535\n"),
        ({"MIDSTREAM_PROVIDERS": "hidden"}, "Error: MIDSTREAM_PROVIDERS: not JSON\n"),
        ({"MIDSTREAM_API_KEYS": "hidden"}, "Error: MIDSTREAM_API_KEYS: each API key is `key:tenant`"),
        ({"MIDSTREAM_HOST": "0.0.0.0"}, "Error: MIDSTREAM_HOST=0.0.0.0 is reachable from other machines"),
    ],
)
def test_a_wrong_setting_is_named_and_not_shown(command: str, environment: dict[str, str], told: str) -> None:
    done = CliRunner().invoke(main, [command], env=environment)
    assert done.exit_code == 2
    assert done.output.startswith(told)
    assert "hidden" not in done.output


def test_a_data_directory_that_can_not_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = CliRunner().invoke(main, ["up", "--port", "0", "--data-dir", str(tmp_path / "file" / "data")])
    assert done.exit_code == 2
    assert done.output.startswith(f"Error: MIDSTREAM_DATA_DIR={tmp_path}/file/data: ")


def test_a_broker_that_is_away_is_told_in_a_line() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = CliRunner().invoke(main, ["ls", "--url", url])
    assert done.exit_code == 1
    assert done.output.startswith(f"error unreachable: {url}")
    assert len(done.output.splitlines()) == 1


def test_a_param_without_value_is_a_usage_error() -> None:
    done = CliRunner().invoke(main, ["start", "hi", "--param", "seed", "--url", f"http://127.0.0.1:{free_port()}"])
    assert done.exit_code == 2
    assert "'seed' is not NAME=JSON" in done.output

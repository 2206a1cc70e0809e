"""What the command line prints without a broker: settings, their errors, a broker that is away.

Operation/Refused, Operation/Keys.
"""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from midstream.cli.main import main
from midstream.cli.setup import load_settings
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
    printed = CliRunner().invoke(main, ["config", *flags], env=SECRETS).output
    assert "hidden" not in printed
    assert "10.0.0.1:6379/0" in printed
    assert all(variable in printed for variable in SECRETS)


def test_config_tells_each_setting_with_its_default_and_meaning() -> None:
    done = CliRunner().invoke(main, ["config", "--json"], env={"MIDSTREAM_PORT": "8181"})
    rows = {row["variable"]: row for row in json.loads(done.output)}
    assert len(rows) == len(Settings.model_fields)
    assert rows["MIDSTREAM_PORT"]["value"] == 8181
    assert rows["MIDSTREAM_PORT"]["default"] == 8080
    assert all(row["meaning"] for row in rows.values())


@pytest.mark.parametrize("command", ["up", "broker", "worker", "config"])
@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"MIDSTREAM_PORT": "99999"}, "Error: MIDSTREAM_PORT: Input should be less than or equal to 65535\n"),
        ({"MIDSTREAM_PROVIDERS": "hidden"}, "Error: MIDSTREAM_PROVIDERS: not JSON\n"),
        ({"MIDSTREAM_API_KEYS": "hidden"}, "Error: MIDSTREAM_API_KEYS: each API key is `key:tenant`"),
        (
            {"MIDSTREAM_API_KEYS": "hidden:a,hidden:b"},
            "Error: MIDSTREAM_API_KEYS: a key of the tenant b is there twice",
        ),
        (
            {"MIDSTREAM_LEASE_S": "5"},
            "Error: MIDSTREAM_LEASE_S: there is no such setting; did you mean MIDSTREAM_LEASE_MS?",
        ),
        ({"MIDSTREAM_APP": "{}"}, "Error: MIDSTREAM_APP: there is no such setting; did you mean MIDSTREAM_APPS?"),
        ({"MIDSTREAM_DEFAULT_MODEL": "gpt-5"}, "Error: MIDSTREAM_DEFAULT_MODEL: There is no model 'gpt-5'."),
        ({"MIDSTREAM_DEFAULT_MODEL": "app/mine"}, "Error: MIDSTREAM_DEFAULT_MODEL: There is no model 'app/mine'."),
        (
            {"MIDSTREAM_DEFAULT_MODEL": "openai/gpt-5"},
            "Error: MIDSTREAM_DEFAULT_MODEL: Models of openai need an API key: set OPENAI_API_KEY.",
        ),
        (
            {"MIDSTREAM_APPS": '{"mine": "shop.agent"}'},
            "Error: MIDSTREAM_APPS: mine: 'shop.agent' is not `module:function`",
        ),
        (
            {"MIDSTREAM_APP_TIMEOUTS": '{"mine": {"generation_timeout_s": 901}}'},
            "Error: MIDSTREAM_APP_TIMEOUTS: mine: `generation_timeout_s` is at most 900 (MIDSTREAM_GENERATION_",
        ),
        ({"MIDSTREAM_APPS": '{"mine": "shop/agent.py:answer"}'}, "Error: MIDSTREAM_APPS: mine: "),
        (
            {"MIDSTREAM_PROVIDERS": '{"ollama": "127.0.0.1:11434/hidden"}'},
            "Error: MIDSTREAM_PROVIDERS: ollama: the URL ",
        ),
        ({"MIDSTREAM_PROVIDERS": '{"openai": "http://h/v1"}'}, "Error: MIDSTREAM_PROVIDERS: 'openai' cannot be "),
        (
            {"MIDSTREAM_REDIS_URL": "me:hidden@h:6379"},
            "Error: MIDSTREAM_REDIS_URL: the URL begins with none of redis://",
        ),
        ({"MIDSTREAM_REDIS_URL": "redis://h:hidden/0"}, "Error: MIDSTREAM_REDIS_URL: the URL names no host, or a port"),
        (
            {"MIDSTREAM_LOCAL_URL": "localhost:8000/hidden"},
            "Error: MIDSTREAM_LOCAL_URL: the URL begins with none of http",
        ),
        ({"OPENAI_BASE_URL": "hidden"}, "Error: OPENAI_BASE_URL: the URL begins with none of http"),
        ({"ANTHROPIC_BASE_URL": "https://"}, "Error: ANTHROPIC_BASE_URL: the URL names no host"),
    ],
)
def test_a_wrong_setting_is_named_and_not_shown(command: str, environment: dict[str, str], message: str) -> None:
    done = CliRunner().invoke(main, [command], env=environment)
    assert done.exit_code == 2
    assert done.output.startswith(message)
    assert "hidden" not in done.output


SHORT, LONG = "k" * 31, "k" * 32


@pytest.mark.parametrize("command", ["up", "broker", "config"])
@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("", "set MIDSTREAM_API_KEYS or MIDSTREAM_KEYS_FILE; `midstream keys new` makes a key"),
        ("key:tenant", "MIDSTREAM_API_KEYS has keys of less than 32 characters (of tenant)"),
        (f"{LONG}:acme,{SHORT}:zeta", "MIDSTREAM_API_KEYS has keys of less than 32 characters (of zeta)"),
    ],
)
def test_beyond_loopback_keys_that_cannot_be_guessed_are_required(command: str, keys: str, message: str) -> None:
    environment = {"MIDSTREAM_HOST": "0.0.0.0", "MIDSTREAM_API_KEYS": keys}
    done = CliRunner().invoke(main, [command], env=environment)
    assert done.exit_code == 2
    assert done.output.startswith(f"Error: MIDSTREAM_HOST=0.0.0.0 is reachable from other machines: {message}")
    assert SHORT not in done.output


def test_the_lines_on_keys_work_as_printed(tmp_path: Path) -> None:
    """docs/access.md, Access/Keys."""
    environment = {"MIDSTREAM_KEYS_FILE": str(tmp_path / "keys.toml")}
    page = (Path(__file__).parents[2] / "docs" / "access.md").read_text()
    commands = [line for line in page.splitlines() if line.startswith("midstream keys ")]
    lines = [shlex.split(line, comments=True)[1:] for line in commands]
    outputs = []
    for line in lines:
        done = CliRunner().invoke(main, line, env=environment)
        assert done.exit_code == 0, (line, done.output)
        outputs.append(done.output)
    made, narrow, table, *_ = outputs
    assert made.startswith("ms_backend_")
    assert narrow.startswith("ms_viewer_")
    assert "viewer  tenant acme  every user  read  20" in table
    for wrong in (["keys", "new", "--tenant", "acme"], ["keys", "new", "x"], ["keys", "revoke", "nobody"]):
        assert CliRunner().invoke(main, wrong, env=environment).exit_code != 0


def test_a_new_key_is_long_and_another_one_each_time() -> None:
    first, second = (CliRunner().invoke(main, ["keys", "new"]).output.strip() for _ in range(2))
    assert first != second
    for host in ("0.0.0.0", "127.0.0.1"):
        environment = {"MIDSTREAM_HOST": host, "MIDSTREAM_API_KEYS": f"{first}:acme,{second}:acme"}
        assert CliRunner().invoke(main, ["config"], env=environment).exit_code == 0


def test_a_worker_listens_to_nothing_and_needs_no_keys() -> None:
    """Its command line and the process itself, which then fails for another reason."""
    assert load_settings(listens=False, host="0.0.0.0").host == "0.0.0.0"
    environment = os.environ | {"MIDSTREAM_HOST": "0.0.0.0", "MIDSTREAM_LOG_LEVEL": "loud"}
    done = CliRunner().invoke(main, ["worker"], env=environment)
    assert done.output.startswith("Error: MIDSTREAM_LOG_LEVEL: ")
    words = [sys.executable, "-P", "-m", "midstream_worker"]
    process = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert "log_level" in process.stderr
    assert "MIDSTREAM_HOST" not in process.stderr


def test_a_worker_that_is_started_without_the_command_line_shows_no_value_either() -> None:
    words = [sys.executable, "-P", "-m", "midstream_worker"]
    environment = os.environ | {"MIDSTREAM_API_KEYS": "hidden", "MIDSTREAM_REDIS_URL": "me:hidden@h:6379"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "api_keys" in done.stderr
    assert "redis_url" in done.stderr
    assert "hidden" not in done.stderr
    environment = os.environ | {"MIDSTREAM_PROVIDERS": "hidden"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert '"providers"' in done.stderr
    assert "hidden" not in done.stderr


def test_a_variable_that_is_no_settings_typo_is_warned_of_alone() -> None:
    """Kubernetes makes up MIDSTREAM_SERVICE_HOST for a service of that name; MIDSTREAM_URL is the client's."""
    environment = {"MIDSTREAM_SERVICE_HOST": "10.0.0.1", "MIDSTREAM_URL": "http://h", "MIDSTREAM_API_KEY": "k"}
    done = CliRunner().invoke(main, ["config"], env=environment)
    assert done.exit_code == 0
    assert done.stderr == ("Warning: MIDSTREAM_SERVICE_HOST: there is no such setting; `midstream config` lists them\n")


def test_the_local_model_may_be_the_default_one_before_up_has_started_it() -> None:
    assert CliRunner().invoke(main, ["config"], env={"MIDSTREAM_DEFAULT_MODEL": "local/smollm2"}).exit_code == 0


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


def test_the_environment_says_which_broker_is_meant() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = CliRunner().invoke(main, ["ls"], env={"MIDSTREAM_URL": url})
    assert done.output.startswith(f"error unreachable: {url}")
    printed = CliRunner().invoke(main, ["ls", "--help"]).output
    assert "MIDSTREAM_URL" in printed
    assert "MIDSTREAM_API_KEY" in printed


@pytest.mark.parametrize("url", ["nonsense", "ftp://h", "http://", "http://h:p", "http://h:99999"])
def test_an_address_of_no_broker_is_a_usage_error(url: str) -> None:
    done = CliRunner().invoke(main, ["ls"], env={"MIDSTREAM_URL": url})
    assert done.exit_code == 2, done.output
    assert "MIDSTREAM_URL" in done.output


def test_a_param_without_value_is_a_usage_error() -> None:
    done = CliRunner().invoke(main, ["start", "hi", "--param", "seed", "--url", f"http://127.0.0.1:{free_port()}"])
    assert done.exit_code == 2
    assert "'seed' is not NAME=JSON" in done.output

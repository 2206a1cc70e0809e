"""The chart's values: valid by its schema, which refuses what the chart does not know. `scripts/chart` renders it."""

import copy
import json
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft7Validator

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/charts/midstream"
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())


def faults(*path: str, value: object) -> list[str]:
    """Return what the schema has against the values with one of them set."""
    values = copy.deepcopy(VALUES)
    place = values
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return [error.json_path for error in Draft7Validator(SCHEMA).iter_errors(values)]


def test_the_values_are_valid_and_mistakes_are_not() -> None:
    Draft7Validator.check_schema(SCHEMA)
    assert faults("broker", "replicas", value=3) == []
    assert faults("redis", "brokerUrl", value="redis+sentinel://a:26379,b:26379/log/0") == []
    assert faults("settings", value={"MIDSTREAM_AVAILABLE": "openai", "GROQ_BASE_URL": "https://x"}) == []
    assert faults("broker", "replica", value=3) == ["$.broker"]
    assert faults("redis", "brokerUrl", value="http://redis") == ["$.redis.brokerUrl"]
    assert faults("settings", value={"midstream_available": "openai"}) == ["$.settings"]
    assert faults("secrets", "worker", "keys", value=["openai-api-key"]) == ["$.secrets.worker.keys[0]"]
    both = {"maxUnavailable": 1, "minAvailable": 1}
    assert faults("worker", "podDisruptionBudget", value=both) == ["$.worker.podDisruptionBudget"]


def test_the_chart_is_of_this_version() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert f'version = "{chart["appVersion"]}"' in project

"""The chart of deploy/charts as Helm renders it, and what a cluster's schemas say of it.

`scripts/chart` runs this by name, with `HELM` and the schemas in reach. No cluster has run what is rendered.
"""

import os
import subprocess
from functools import cache
from typing import Any

import pytest
import yaml

from midstream.settings import Settings, secret_variables, variable_of
from midstream.traces.trace_settings import ENDPOINTS
from midstream_worker.producers import CANCEL_S, END_S
from midstream_worker.production import LINGER_S
from tests.system import ROOT

kubernetes_validate = pytest.importorskip("kubernetes_validate")

HELM = os.environ.get("HELM", "helm")
CHART = ROOT / "deploy/charts/midstream"
KUBERNETES = ("1.30", "1.37")
"""The oldest version that the chart allows, and the newest whose schemas are here."""
PROVIDERS = ("OPENAI", "ANTHROPIC", "GEMINI")
EVERYTHING = (
    "keda.enabled=true",
    "broker.ingress.enabled=true",
    "broker.ingress.host=chat.example",
    "broker.ingress.tlsSecret=chat-tls",
    "redis.brokerQueueUrl=redis://queue:6379/0",
    "redis.workerQueueUrl=redis://queue:6379/0",
    "settings.MIDSTREAM_AVAILABLE=openai",
    "settings.MIDSTREAM_MAX_BODY_BYTES=33554432",
    "broker.settings.MIDSTREAM_JWT_JWKS=https://id.example/keys",
    f"image.digest=sha256:{'a' * 64}",
    "image.pullSecrets={registry}",
)
Object = dict[str, Any]


def helm(*words: str) -> str:
    done = subprocess.run((HELM, *words), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


@cache
def rendered(*values: str) -> dict[tuple[str, str], Object]:
    """Return the objects by kind and name."""
    text = helm("template", "chat", str(CHART), "--namespace", "shop", *(f"--set={value}" for value in values))
    objects = [each for each in yaml.safe_load_all(text) if each]
    return {(each["kind"], each["metadata"]["name"]): each for each in objects}


def pod(room: str, *values: str) -> Object:
    spec: Object = rendered(*values)["Deployment", f"chat-midstream-{room}"]["spec"]["template"]["spec"]
    return spec


def environment(room: str, *values: str) -> dict[str, str]:
    (container,) = pod(room, *values)["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


@pytest.mark.parametrize("values", [(), EVERYTHING])
def test_it_is_valid_for_helm_and_for_a_cluster(values: tuple[str, ...]) -> None:
    helm("lint", "--strict", str(CHART), *(f"--set={value}" for value in values))
    objects = rendered(*values)
    for (kind, _), each in objects.items():
        for version in KUBERNETES:
            if kind != "ScaledObject":  # KEDA's own, of which no schema is here
                kubernetes_validate.validate(each, version, strict=True)
    kinds = [kind for kind, _ in objects]
    assert kinds.count("Deployment") == kinds.count("PodDisruptionBudget") == kinds.count("NetworkPolicy") == 2
    assert ("ScaledObject" in kinds) == ("Ingress" in kinds) == bool(values)


def test_a_fault_is_seen() -> None:
    broken = rendered()["Deployment", "chat-midstream-broker"] | {"spec": {"replica": 2}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, KUBERNETES[-1], strict=True)
    with pytest.raises(AssertionError, match="replica"):
        helm("lint", str(CHART), "--set=broker.replica=3")


def test_every_variable_is_a_setting_and_every_secret_a_file() -> None:
    variables = {variable_of(name) for name in Settings.model_fields} | {f"{name}_FILE" for name in secret_variables()}
    for room in ("broker", "worker"):
        names = environment(room, *EVERYTHING)
        assert set(names) <= {*variables, *ENDPOINTS}
        assert not {*names} & {*secret_variables()} - {"MIDSTREAM_REDIS_URL", "MIDSTREAM_QUEUE_REDIS_URL"}
        (mount,) = (each for each in pod(room)["containers"][0]["volumeMounts"] if each["name"] == "secrets")
        files = [value for name, value in names.items() if name.endswith("_FILE")]
        assert files
        assert all(file.startswith(f"{mount['mountPath']}/") for file in files)
    assert not [name for name in environment("broker") if any(each in name for each in PROVIDERS)]
    assert "MIDSTREAM_API_KEYS_FILE" not in environment("worker")
    assert environment("broker", *EVERYTHING)["MIDSTREAM_MAX_BODY_BYTES"] == "33554432"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("settings.MIDSTREAM_METRICS_PORT=9999", "the chart sets it"),  # the probes would ask another port
        ("worker.settings.MIDSTREAM_DRAIN_S=5000", "the chart sets it"),  # the pod would be killed in the middle
        ("broker.settings.MIDSTREAM_API_KEYS=key:tenant", "secrets.broker.keys"),
        ("settings.OPENAI_API_KEY=sk-1", "secrets.worker.keys"),
        ("redis.brokerUrl=redis://broker:word@valkey:6379/0", "/redis/brokerUrl"),
        ("worker.podDisruptionBudget.maxUnavailable=0", "maxUnavailable"),  # no node could be drained
    ],
)
def test_what_would_be_unsafe_is_refused(value: str, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        helm("template", "chat", str(CHART), f"--set={value}")


def test_the_names_of_a_long_release_fit() -> None:
    text = helm("template", "a" * 53, str(CHART))
    names = {each["metadata"]["name"] for each in yaml.safe_load_all(text) if each and each["kind"] == "Service"}
    assert [len(name) for name in names] == [63]


def test_a_list_of_nobody_lets_nobody_in_or_out() -> None:
    """An empty list within a rule would be everybody."""
    nobody = 'networkPolicy={"metricsFrom":[],"redisTo":[],"providersTo":[]}'
    text = helm("template", "chat", str(CHART), f"--set-json={nobody}")
    policies = [each["spec"] for each in yaml.safe_load_all(text) if each and each["kind"] == "NetworkPolicy"]
    assert [policy["ingress"] for policy in policies] == [[{"ports": [{"port": "http"}]}], None]
    assert [[port["port"] for rule in policy["egress"] for port in rule["ports"]] for policy in policies] == [
        [53, 53]
    ] * 2


def test_nothing_is_killed_before_it_is_done() -> None:
    broker, worker = pod("broker", "broker.unreadyMs=7500"), pod("worker")
    (container,) = broker["containers"]
    wait_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    names = environment("broker", "broker.unreadyMs=7500")
    stop_s = (int(names["MIDSTREAM_BROKER_UNREADY_MS"]) + int(names["MIDSTREAM_BROKER_DRAIN_MS"])) / 1_000
    assert broker["terminationGracePeriodSeconds"] >= wait_s + stop_s + 5
    # A stopped pod is asked no more before the hook is over: as many failed checks as take it off the list.
    assert wait_s > container["readinessProbe"]["periodSeconds"] * container["readinessProbe"]["failureThreshold"]
    after_s = END_S + CANCEL_S + LINGER_S
    assert worker["terminationGracePeriodSeconds"] > float(environment("worker")["MIDSTREAM_DRAIN_S"]) + after_s
    assert float(environment("worker")["MIDSTREAM_DRAIN_S"]) >= Settings().generation_timeout_s
    probes = {name: container[name]["httpGet"]["path"] for name in ("livenessProbe", "readinessProbe", "startupProbe")}
    assert probes == {"livenessProbe": "/healthz", "readinessProbe": "/readyz", "startupProbe": "/healthz"}


def test_containers_are_confined_and_reach_what_they_need() -> None:
    for room in ("broker", "worker"):
        spec = pod(room)
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert spec["securityContext"]["runAsNonRoot"]
        assert not spec["automountServiceAccountToken"]
        assert not spec["enableServiceLinks"]
    policies = {room: rendered()["NetworkPolicy", f"chat-midstream-{room}"]["spec"] for room in ("broker", "worker")}
    assert [rule["ports"] for rule in policies["worker"]["ingress"]] == [[{"port": "metrics"}]]
    ports = {room: {port["port"] for rule in it["egress"] for port in rule["ports"]} for room, it in policies.items()}
    assert ports == {"broker": {53, 6379}, "worker": {53, 6379, 443}}


def test_keda_counts_workers_by_what_waits_and_what_runs() -> None:
    objects = rendered(*EVERYTHING)
    assert "replicas" not in objects["Deployment", "chat-midstream-worker"]["spec"]
    scaled = objects["ScaledObject", "chat-midstream-worker"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == "chat-midstream-worker"
    (trigger,) = scaled["triggers"]
    metrics = (ROOT / "broker/midstream/metrics/catalogue.py").read_text()
    for name in ("queue_depth", "generations"):
        assert f'midstream_{name}{{namespace="shop"}}' in trigger["metadata"]["query"]
        assert f'Metric("{name}", "gauge"' in metrics
    assert int(trigger["metadata"]["threshold"]) <= int(environment("worker", *EVERYTHING)["MIDSTREAM_MAX_GENERATIONS"])

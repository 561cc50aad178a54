"""The chart, rendered: Helm and the API schemas accept it, and it keeps its own rules. No cluster was asked."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from app import __version__
from app.config import load
from tests.ops import chart, tools
from tests.ops.chart import Object, config_text, of_kind, pods, refused, render

KUBERNETES = ("1.31", "1.37")
"""The oldest and the newest minor that the chart supports."""
CUSTOM = ("keda.sh", "gateway.networking.k8s.io", "monitoring.coreos.com")
SECRETS = {
    "convey-tokens": {
        "meta-token": "t0ken-one",
        "tiktok-token": "t0ken-two",
        "store-key-a": "a1" * 32,
        "store-key-b": "b2" * 32,
    },
    "convey-redis": {"password": "s3cret-word", "ca.crt": "-"},
}


def values(name: str) -> tuple[str, str]:
    return "--values", str(tools.CHART / "ci" / f"{name}-values.yaml")


@pytest.fixture(params=chart.VALUE_SETS, ids=lambda file: file.name.removesuffix("-values.yaml"))
def objects(request: pytest.FixtureRequest) -> Sequence[Object]:
    return render("--values", str(request.param))


def is_custom(each: Object) -> bool:
    return str(each["apiVersion"]).split("/")[0] in CUSTOM


# --- Helm and the schemas -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", [None, *chart.VALUE_SETS], ids=lambda file: file.name if file else "defaults")
def test_helm_lints_it(file: Path | None) -> None:
    given: list[str | Path] = ["--values", file] if file else []
    linted = tools.run("helm", "lint", "--strict", tools.CHART, *given)
    assert linted.returncode == 0, linted.stdout + linted.stderr


@pytest.mark.parametrize("minor", KUBERNETES)
def test_every_object_is_valid_strictly(objects: Sequence[Object], minor: str) -> None:
    for each in objects:
        if not is_custom(each):
            kubernetes_validate.validate(each, minor, strict=True)


def test_the_strict_check_finds_a_misspelt_field() -> None:
    (workload,) = of_kind(render(*values("default")), "StatefulSet")
    broken = json.loads(json.dumps(workload))
    broken["spec"]["template"]["spec"]["containers"][0]["securityContext"]["readOnlyRootFileSystem"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, KUBERNETES[-1], strict=True)


def crd_faults(objects: Sequence[Object]) -> list[str]:
    """What the published schemas of the custom resources say against these objects."""
    schemas = tools.find_crds()
    checked = subprocess.run(
        [tools.find_node(), str(tools.ROOT / "tests" / "ops" / "crds" / "check.mjs"), str(schemas)],
        input=json.dumps(objects), capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return checked.stdout.splitlines()


def test_custom_resources_fit_their_published_schemas() -> None:
    custom = [each for each in (*render(*values("everything")), *render(*values("monitoring-on"))) if is_custom(each)]
    assert {each["kind"] for each in custom} == {"HTTPRoute", "PodMonitor", "PrometheusRule", "ScaledObject"}
    assert crd_faults(custom) == []
    (route,) = of_kind(custom, "HTTPRoute")
    assert crd_faults([{**route, "spec": {**route["spec"], "parentRef": [], "hostnames": 1}}])


# --- values that cannot be meant ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "path"),
    [
        ("api.replicas=2", "/api/replicas"),
        ("mode=split", "/mode"),
        ("api.autoscaling.enabled=true", "/api/autoscaling/enabled"),
        ("store.durability=replicated", "/store/durability"),
        ("store.durability=sometimes", "/store/durability"),
        ("store.url=sqlite:///./x.db", "/store/url"),
        ("store.url=redis://:hunter22@redis:6379/0", "/store/url"),
        ("store.persistence.accessMode=ReadWriteMany", "/store/persistence/accessMode"),
        ("image.tag=latest", "/image/tag"),
        ("image.digest=sha256:abc", "/image/digest"),
        ("config.server.port=80", "/config/server/port"),
        ("config.store.url=x", "/config/store"),
        ("destinations.meta.type=meta,destinations.meta.access_token=EAAB", "/destinations/meta/access_token"),
        ("destinations.meta.type=meta,destinations.meta.pixel_id=1234567890", "/destinations/meta/pixel_id"),
        ("sources[0].name=shop,sources[0].keys[0]=ck_plain", "/sources/0/keys/0"),
        ("drain.preStopSeconds=0", "/drain/preStopSeconds"),
        ("httpRoute.enabled=true", "/httpRoute/parentRefs"),
        ("ingress.enabled=true", "/ingress/hosts"),
        ("replicas=3", "'replicas' not allowed"),
        ("api.replica=3", "'replica' not allowed"),
        ("metrics.prometheusRule.overrides.X.fro=1m", "'fro' not allowed"),
        ("externalRedis.host=r,store.url=redis://r:6379/0", "/store/url"),
        ("externalRedis.host=r,externalRedis.caKey=ca.crt", "/externalRedis/tls"),
        ("externalRedis.host=r,store.durability=declared", "/store/promise"),
        ("externalRedis.host=r,store.promise=whatever", "/store/promise"),
        ("externalRedis.host=r,worker.autoscaling.enabled=true", "/worker/autoscaling/prometheusAddress"),
    ],
)
def test_values_that_cannot_be_meant_are_refused_by_path(bad: str, path: str) -> None:
    assert path in refused("--set", bad)


def test_a_secret_that_is_nowhere_is_refused_by_path() -> None:
    told = refused("--set", "destinations.meta.type=meta,destinations.meta.secrets.access_token=meta-token")
    assert "destinations.meta.secrets needs secrets.existingSecret" in told


def test_an_encryption_key_that_is_nowhere_is_refused_by_path() -> None:
    told = refused("--set", "store.encryptionKeys[0].id=k1,store.encryptionKeys[0].secret=store-key")
    assert "store.encryptionKeys needs secrets.existingSecret" in told
    assert "/store/encryptionKeys/0" in refused(
        "--set", "store.encryptionKeys[0].id=k1,store.encryptionKeys[0].key=AAAA"
    )


def test_an_override_of_no_rule_is_refused_by_path() -> None:
    told = refused("--set", "metrics.prometheusRule.enabled=true,metrics.prometheusRule.overrides.ConveyX.for=1m")
    assert "metrics.prometheusRule.overrides.ConveyX" in told


# --- what is rendered ---------------------------------------------------------------------------------------------


def test_the_configuration_is_one_that_convey_takes(objects: Sequence[Object], tmp_path: Path) -> None:
    (workload, *_) = of_kind(objects, "Deployment", "StatefulSet")
    pod = chart.Pod(tmp_path, workload, objects, SECRETS)
    settings = load(pod.place("/etc/convey") / "convey.yaml", {})
    assert next(destination.name for destination in settings.destinations) == "meta"
    assert (settings.server.host, settings.server.port, settings.server.docs) == ("0.0.0.0", 8000, False)
    container = pod.container
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": settings.server.port, "metrics": settings.server.metrics_port}
    for secret in ("t0ken-one", "s3cret-word"):
        assert secret not in config_text(objects)


def test_the_grace_is_what_the_process_needs(objects: Sequence[Object], tmp_path: Path) -> None:
    (workload, *_) = of_kind(objects, "Deployment", "StatefulSet")
    settings = load(chart.Pod(tmp_path, workload, objects, SECRETS).place("/etc/convey") / "convey.yaml", {})
    for pod in pods(objects):
        pause_s = pod["spec"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        needed = pause_s + settings.server.graceful_shutdown.total_seconds() + settings.server.drain.total_seconds()
        assert pod["spec"]["terminationGracePeriodSeconds"] == needed + 5


def test_pods_are_restricted(objects: Sequence[Object]) -> None:
    smoke = list(of_kind(objects, "Pod"))
    assert len(smoke) == 1
    for pod in (*pods(objects), *smoke):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert {spec["securityContext"][who] for who in ("runAsUser", "runAsGroup", "fsGroup")} == {65532}
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}


def test_nothing_secret_is_in_the_environment(objects: Sequence[Object]) -> None:
    for pod in pods(objects):
        for variable in pod["spec"]["containers"][0]["env"]:
            assert "secretKeyRef" not in variable.get("valueFrom", {})


def test_selectors_hold_only_what_never_changes(objects: Sequence[Object]) -> None:
    allowed = {f"app.kubernetes.io/{name}" for name in ("name", "instance", "component")}
    for each in of_kind(objects, "Deployment", "StatefulSet", "PodDisruptionBudget", "PodMonitor"):
        assert set(each["spec"]["selector"]["matchLabels"]) <= allowed
    for each in of_kind(objects, "Deployment", "StatefulSet"):
        labels = each["spec"]["template"]["metadata"]["labels"]
        assert each["spec"]["selector"]["matchLabels"].items() <= labels.items()
    (service,) = of_kind(objects, "Service")
    assert any(service["spec"]["selector"].items() <= pod["metadata"]["labels"].items() for pod in pods(objects))


def test_liveness_and_readiness_ask_different_things(objects: Sequence[Object]) -> None:
    for pod in pods(objects):
        container = pod["spec"]["containers"][0]
        paths = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
        assert paths == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}


def test_the_version_is_one() -> None:
    described = yaml.safe_load((tools.CHART / "Chart.yaml").read_text("utf-8"))
    assert described["appVersion"] == __version__
    (pod,) = pods(render(*values("default")))
    assert pod["spec"]["containers"][0]["image"] == f"convey:{__version__}"
    assert all("@sha256:" in pod["spec"]["containers"][0]["image"] for pod in pods(render(*values("hardened"))))


def test_the_engines_have_their_shapes() -> None:
    sqlite, redis = render(*values("default")), render(*values("redis-split"))
    assert [each["spec"]["replicas"] for each in of_kind(sqlite, "StatefulSet")] == [1]
    assert not of_kind(sqlite, "Deployment", "PodDisruptionBudget", "HorizontalPodAutoscaler")
    (claim,) = of_kind(sqlite, "StatefulSet")[0]["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
    assert {each["metadata"]["name"]: each["spec"]["replicas"] for each in of_kind(redis, "Deployment")} == {
        "shop-convey-api": 3,
        "shop-convey-worker": 2,
    }
    assert {tuple(pod["spec"]["containers"][0]["args"]) for pod in pods(redis)} == {
        ("serve", "--role", "api"),
        ("serve", "--role", "worker"),
    }
    assert {each["spec"]["maxUnavailable"] for each in of_kind(redis, "PodDisruptionBudget")} == {1}
    assert len(of_kind(redis, "PodDisruptionBudget")) == 2
    assert not of_kind(redis, "StatefulSet")


def test_who_scales_is_the_only_one_who_counts() -> None:
    scaled = render(*values("everything"))
    assert all("replicas" not in each["spec"] for each in of_kind(scaled, "Deployment"))
    (hpa,), (keda,) = of_kind(scaled, "HorizontalPodAutoscaler"), of_kind(scaled, "ScaledObject")
    targets = {hpa["spec"]["scaleTargetRef"]["name"], keda["spec"]["scaleTargetRef"]["name"]}
    assert targets == {each["metadata"]["name"] for each in of_kind(scaled, "Deployment")}


def test_kedas_queries_are_good_promql_about_what_the_pod_monitor_names(tmp_path: Path) -> None:
    scaled = render(*values("everything"))
    (keda,), (monitor,) = of_kind(scaled, "ScaledObject"), of_kind(scaled, "PodMonitor")
    queries = [trigger["metadata"]["query"] for trigger in keda["spec"]["triggers"]]
    (relabeling,) = monitor["spec"]["podMetricsEndpoints"][0]["relabelings"]
    for query in queries:
        assert set(re.findall(r'job="([^"]+)"', query)) == {relabeling["replacement"]}
    path = tmp_path / "keda.yaml"
    rules = [{"record": f"keda:{number}", "expr": query} for number, query in enumerate(queries)]
    path.write_text(yaml.safe_dump({"groups": [{"name": "keda", "rules": rules}]}))
    assert tools.run("promtool", "check", "rules", path).returncode == 0


def test_a_new_configuration_makes_new_pods() -> None:
    checksum = "checksum/config"
    (old,), (new,) = (
        pods(render(*values("default"))),
        pods(render(*values("default"), "--set", "config.logging.level=debug")),
    )
    assert old["metadata"]["annotations"][checksum] != new["metadata"]["annotations"][checksum]


def rule_groups() -> list[dict[str, Any]]:
    files = sorted(tools.RULES.glob("*.yaml"))
    return [group for file in files for group in yaml.safe_load(file.read_text("utf-8"))["groups"]]


def test_the_rules_ship_as_they_are_tested() -> None:
    (made,) = of_kind(render(*values("everything")), "PrometheusRule")
    assert made["spec"]["groups"] == rule_groups()


def test_overrides_change_what_they_name_and_nothing_else() -> None:
    (made,) = of_kind(render(*values("monitoring-on")), "PrometheusRule")
    wanted = rule_groups()
    for group in wanted:
        group["rules"] = [rule for rule in group["rules"] if rule.get("alert") != "ConveyConsentGap"]
        for rule in group["rules"]:
            if rule.get("alert") == "ConveyDeadLettersGrowing":
                rule["for"] = "30m"
                rule["labels"]["team"] = "growth"
            if "alert" in rule:
                links = rule["annotations"]
                links["runbook_url"] = f"https://wiki.example/convey/{links['runbook_url']}"
                links["dashboard_url"] = f"https://grafana.example/{links['dashboard_url']}"
    assert made["spec"]["groups"] == wanted


def test_the_dashboards_ship_as_they_are_tested() -> None:
    shipped = {
        name.removeprefix("convey-"): text
        for each in of_kind(render(*values("monitoring-on")), "ConfigMap")
        if each["metadata"]["labels"].get("grafana_dashboard") == "1"
        for name, text in each["data"].items()
    }
    assert shipped == {file.name: file.read_text("utf-8") for file in tools.DASHBOARDS.glob("*.json")}


def test_the_network_is_closed_but_for_what_is_needed() -> None:
    (policy,) = of_kind(render(*values("hardened")), "NetworkPolicy")
    opened = [(port["port"], bool(rule.get("to"))) for rule in policy["spec"]["egress"] for port in rule["ports"]]
    assert opened == [(53, False), (53, False), (443, True), (6379, True)]
    assert all(rule["from"] for rule in policy["spec"]["ingress"])
    (everywhere, _) = policy["spec"]["egress"][1]["to"]
    assert {"10.0.0.0/8", "169.254.0.0/16"} <= set(everywhere["ipBlock"]["except"])


def test_the_package_holds_what_it_needs_and_no_tests(tmp_path: Path) -> None:
    packed = tools.run("helm", "package", tools.CHART, "--destination", tmp_path)
    assert packed.returncode == 0, packed.stderr
    listed = subprocess.check_output(["tar", "tzf", str(next(tmp_path.glob("*.tgz")))], text=True).splitlines()
    assert "convey/files/rules/alerts.yaml" in listed
    assert "convey/files/dashboards/lanes.json" in listed
    assert not [name for name in listed if "/ci/" in name or "/rules/tests/" in name]


def leaves(tree: Any, path: str = "") -> set[str]:
    if not isinstance(tree, dict) or not tree:
        return {path}
    return set().union(*(leaves(value, f"{path}.{key}".lstrip(".")) for key, value in tree.items()))


def test_every_value_is_described_and_in_the_readme() -> None:
    text = (tools.CHART / "values.yaml").read_text("utf-8")
    described = set(re.findall(r"^## @param (\S+)", text, re.MULTILINE))
    given = leaves(yaml.safe_load(text))
    for name in described:  # an object that is described as a whole stands for its parts
        given = {path for path in given if not path.startswith(f"{name}.")} | ({name} if any(
            path.startswith(f"{name}.") for path in given) else set())  # fmt: skip
    assert given == described
    readme = (tools.CHART / "README.md").read_text("utf-8")
    assert set(re.findall(r"^\| `([^`]+)`", readme, re.MULTILINE)) == described

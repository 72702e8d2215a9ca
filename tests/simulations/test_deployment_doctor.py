"""The doctor's way to a real SuperLink."""

from pathlib import Path

import pytest

from client.doctor.network import examine_network
from simulations.deployment import LoopbackDeployment, app_folder

pytestmark = pytest.mark.slow


def test_a_superlink_answers_tells_the_time_and_takes_the_probe(tmp_path: Path) -> None:
    with LoopbackDeployment(tmp_path, app=app_folder(tmp_path), sites={"north": {}}) as deployment:
        findings, line = examine_network(deployment.address, deployment.authority, environment={})
    assert {finding.check: finding.status for finding in findings} == dict.fromkeys(
        ("proxy", "name", "port", "TLS", "round trip", "clock", "line"), "pass"
    ), findings
    assert line is not None
    assert line.megabytes_per_second is not None

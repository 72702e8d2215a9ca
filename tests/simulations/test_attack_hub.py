"""A malicious hub against the real app of four hospitals; the control without protection must succeed."""

import json
import logging
from pathlib import Path

import pytest
from typer.testing import CliRunner

from common.secagg.abort import Reason
from simulations.attacks import cli
from simulations.attacks.hub.attacks import ATTACKS, Finding, run_attacks

STOPPED_BY = {
    "curious": None,
    "A both secrets": Reason.SIGNATURE,
    "B key substitution": Reason.SIGNATURE,
    "C shrunken threshold": Reason.THRESHOLD,
    "D weak words": None,
    "E cohort of one": Reason.COHORT,
    "G downgrade": Reason.REPLAYED,
    "bypass": Reason.OUT_OF_ORDER,
    "sybil": Reason.STRANGER,
    "split view": Reason.SHARE,
    "replay": Reason.SIGNATURE,
    "model inconsistency": Reason.SIGNATURE,
    "tampered shares": Reason.SHARE,
    "late vector": None,
    "second query": Reason.SECOND_COHORT,
}
"""Why each attack fails; None where it comes to its end and holds noise."""


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Finding]:
    return {finding.attack: finding for finding in run_attacks(tmp_path_factory.mktemp("attacks"))}


@pytest.mark.slow
def test_without_protection_the_same_curiosity_reads_the_update(findings: dict[str, Finding]) -> None:
    assert findings["curious, plain"].likeness > 0.999
    assert not findings["curious, plain"].failed


@pytest.mark.slow
@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_fails_for_its_own_reason(findings: dict[str, Finding], name: str) -> None:
    assert findings[name].failed
    assert findings[name].stopped_by == STOPPED_BY[name]


def told(monkeypatch: pytest.MonkeyPatch, *found: Finding) -> tuple[int, str, str]:
    """Exit code 0, or the refusal, and what the command printed."""
    monkeypatch.setattr("simulations.attacks.hub.attacks.run_attacks", lambda folder: found)
    answer = CliRunner().invoke(cli.attack, ["hub", "--json"])
    return answer.exit_code, answer.stdout, str(answer.exception)


def test_refusals_in_the_hospitals_logs_stay_out_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []

    def attacks(folder: Path) -> list[Finding]:
        logging.getLogger("fedvlp").warning("train.share refused")
        logged.append((folder / cli.LOG).read_text())
        return [Finding("control", "", None, 1.0), Finding("curious", "", None, 0.01)]

    monkeypatch.setattr("simulations.attacks.hub.attacks.run_attacks", attacks)
    assert CliRunner().invoke(cli.attack, ["hub"]).exit_code == 0
    assert "train.share refused" in logged[0]


def test_the_command_fails_where_an_attack_succeeds_or_the_control_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen, noise = Finding("control", "", None, 1.0), Finding("curious", "", None, 0.01)
    code, said, _ = told(monkeypatch, seen, noise)
    assert code == 0
    assert [finding["failed"] for finding in json.loads(said)] == [False, True]
    assert "broken by: curious" in told(monkeypatch, seen, Finding("curious", "", None, 0.9))[2]
    assert "control failed" in told(monkeypatch, noise, noise)[2]

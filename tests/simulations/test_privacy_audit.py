"""The audit of privacy finds nothing in our code, everything broken on purpose, and every mutant."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from common.errors import PolicyError
from simulations.attacks.privacy import audit, canaries, final_model, noise, sensitivity
from simulations.attacks.privacy.audit import verdict, write_page
from simulations.attacks.privacy.finding import Finding
from simulations.cli import cli

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def towers() -> dict[str, Finding]:
    return {finding.name: finding for finding in sensitivity.attack_towers(patients=64, draws=12)}


def test_our_pipelines_stay_within_the_bound(towers: dict[str, Finding]) -> None:
    assert {
        name: each.measured for name, each in towers.items() if each.kind == "check" and not each.as_expected
    } == {}
    assert towers["R, InfoNCE against public pairs"].measured > 0.99  # the bound is tight


def test_what_only_looks_private_is_found(towers: dict[str, Finding]) -> None:
    assert towers["per-sample clipping of in-batch InfoNCE"].measured > 1.2
    assert towers["per-sample clipping of in-batch SigLIP"].measured > 1.05
    assert towers["per-patient losses through BatchNorm"].measured > 15
    assert towers["division by the realised batch"].measured > 1.02


def test_every_objective_of_the_model_stays_within_the_bound() -> None:
    sets = [(name,) for name in sensitivity.TABLES]
    findings = list(sensitivity.attack_model([*sets, sensitivity.EVERY_OBJECTIVE], seeds=1))
    assert len(findings) == 3 * len(sets) + 3
    assert {finding.name for finding in findings} >= {
        "R, all objectives",
        "G, all objectives",
        "R, masked_image",
    }
    assert [finding.name for finding in findings if not finding.as_expected] == []
    assert max(finding.measured for finding in findings if finding.name.startswith("G")) > 1  # needs the 2C


def test_joint_shares_are_wide_enough_and_a_missing_one_is_noticed() -> None:
    findings = list(noise.attack_joint_noise(coordinates=50_000))
    assert [finding.name for finding in findings if not finding.as_expected] == []
    assert [finding.kind for finding in findings] == ["check", "check", "control"] * 2


def test_a_proof_by_canaries_is_the_textbook_bound() -> None:
    # Gaussians one apart: epsilon 4.38 at delta 1e-5 (Balle and Wang 2018).
    assert canaries.gaussian_epsilon(1.0) == pytest.approx(4.3773, abs=2e-3)
    assert canaries.gaussian_epsilon(0.0) == 0
    chance = np.random.default_rng(0)
    assert canaries.proven_epsilon(chance.normal(size=500), chance.normal(size=500)) == 0


def test_who_took_part_is_told_from_a_model_without_noise_and_from_no_private_one() -> None:
    findings = list(
        final_model.attack_final_model(canaries=400, steps=audit.STEPS, epsilon=audit.MODEL_EPSILON)
    )
    assert [finding.name for finding in findings if not finding.as_expected] == []
    assert [finding.kind for finding in findings] == ["check", "control"] * 2


def test_a_proof_by_counting_stays_below_the_truth() -> None:
    member = np.arange(4000) % 2 == 0
    chance = np.random.default_rng(0)
    assert final_model.proven_epsilon(chance.normal(size=4000), member) == 0
    found = final_model.proven_epsilon(chance.normal(size=4000) + member, member)
    assert 0.5 < found < canaries.gaussian_epsilon(1.0)
    apart = final_model.proven_epsilon(member[:400].astype(float), member[:400])
    assert apart == pytest.approx(2.43, abs=0.02)  # of 100 members and 100 others none is mistaken


# --- the command -------------------------------------------------------------------------------------------


def finding(kind: str, measured: float) -> Finding:
    return Finding.model_validate(
        {
            "part": "noise",
            "name": f"<{kind}>",
            "kind": kind,
            "measured": measured,
            "bound": 1.0,
            "words": "so",
        }
    )


@pytest.mark.parametrize(
    ("findings", "words"),
    [
        (
            [finding("check", 0.5), finding("control", 2.0)],
            "1 attacks found no violation, and all 1 pipelines",
        ),
        ([finding("check", 1.5), finding("control", 2.0)], "1 of the promises were broken: <check>"),
        ([finding("check", 0.5), finding("control", 0.9)], "no power: it missed <control>"),
    ],
)
def test_the_verdict_says_what_was_found_and_what_could_not_be(
    findings: list[Finding], words: str, tmp_path: Path
) -> None:
    assert words in verdict(findings)
    page = write_page(tmp_path, findings, full=False).read_text()
    assert "&lt;check&gt;" in page
    assert ("NO" in page) == any(not each.as_expected for each in findings)


@pytest.mark.parametrize("measured", [0.5, 1.5])
def test_the_command_reports_and_fails_where_a_promise_is_broken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, measured: float
) -> None:
    monkeypatch.setattr(audit, "_all", lambda full: iter([finding("check", measured)]))
    ran = CliRunner().invoke(cli, ["attack", "privacy", "--out", str(tmp_path), "--json"])
    assert json.loads(ran.output)["findings"][0]["measured"] == measured
    assert isinstance(ran.exception, PolicyError) == (measured > 1)
    assert (tmp_path / "privacy-audit.html").exists()

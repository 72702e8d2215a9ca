"""The audit of privacy finds nothing in our code, everything broken on purpose, and every mutant."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from common.errors import PolicyError
from common.privacy import lattice, mechanism, units
from common.privacy.entropy import Entropy
from common.privacy.lattice import GRID, LatticeSum
from common.privacy.step import sum_units
from simulations.attacks.privacy import audit, canaries, noise, sensitivity
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
    sets = [(name,) for name in sensitivity.EVERY_OBJECTIVE]
    findings = list(sensitivity.attack_model([*sets, sensitivity.EVERY_OBJECTIVE], seeds=1))
    assert len(findings) == 2 * len(sets) + 2
    assert {finding.name for finding in findings} >= {
        "R, all objectives",
        "G, all objectives",
        "R, masked_image",
    }
    assert [finding.name for finding in findings if not finding.as_expected] == []
    assert max(finding.measured for finding in findings if finding.name.startswith("G")) > 1  # needs the 2C


def test_a_proof_by_canaries_is_the_textbook_bound() -> None:
    # Gaussians one apart: epsilon 4.38 at delta 1e-5 (Balle and Wang 2018).
    assert canaries.gaussian_epsilon(1.0) == pytest.approx(4.3773, abs=2e-3)
    assert canaries.gaussian_epsilon(0.0) == 0
    chance = np.random.default_rng(0)
    assert canaries.proven_epsilon(chance.normal(size=500), chance.normal(size=500)) == 0


# --- mutants -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mutant:
    """A known mistake, put into the shipped code, and the attack that must notice it."""

    row: int
    """Of the list of known mistakes in the notes on privacy."""
    name: str
    break_: Callable[[pytest.MonkeyPatch], None]
    alarms: Callable[[], bool]


def bad(findings: object) -> bool:
    """Whether a check that the shipped code passes has failed."""
    return any(each.kind == "check" and not each.as_expected for each in findings)  # type: ignore[attr-defined]


def noise_alarms() -> bool:
    return bad(noise.attack_noise(coordinates=40_000))


def sampling_alarms() -> bool:
    return bad(noise.attack_sampling(steps=400))


def canaries_alarm() -> bool:
    return bad(canaries.attack_with_canaries(canaries=300, steps=5, epsilon=8.0))


def unit(weight: Tensor, direction: Tensor) -> Callable[[], Tensor]:
    return lambda: (weight * direction).sum()


def length_alarms() -> bool:
    """Many lengths and types: none may exceed C, and none may stop or poison the step."""
    for scale in (1e-30, 1.0, 1e4, 1e30):
        weight = nn.Parameter(torch.zeros(3001))
        direction = torch.randn(3001, generator=torch.Generator().manual_seed(1)) * scale
        try:
            total = sum_units([weight], [unit(weight, direction)]).total
        except AssertionError:
            return True
        if float(total.double().norm()) / GRID > 1 + 1e-12:
            return True
    return False


def poison_alarms() -> bool:
    """A patient whose gradient is not a number must weigh nothing."""
    weight = nn.Parameter(torch.zeros(4))
    healthy = unit(weight, torch.ones(4))
    try:
        found = sum_units([weight], [healthy, unit(weight, torch.full((4,), torch.nan))]).total
    except (ValueError, RuntimeError, AssertionError):
        return True
    return not torch.equal(found, sum_units([weight], [healthy]).total)


def divisor_alarms() -> bool:
    """The mean of one unit and that of two must differ by a whole unit, whoever came."""
    weight, direction = nn.Parameter(torch.zeros(4)), torch.ones(4)
    one, two = (sum_units([weight], [unit(weight, direction)] * count) for count in (1, 2))
    means = [total.mean([weight], 5)[0] for total in (one, two)]
    return not torch.allclose(means[1], 2 * means[0])


def turning_alarms() -> bool:
    return not sensitivity.turn_a_group().as_expected


def model_alarms() -> bool:
    return bad(sensitivity.attack_model([("global_contrastive",)], seeds=1))


def shuffled(bits: object, patients: int, numerator: int) -> np.ndarray:
    count = round(patients * numerator / 2**32)
    return np.sort(np.random.default_rng().permutation(patients)[:count])


def cut(bits: object, patients: np.ndarray, groups: int) -> list[np.ndarray]:
    return np.array_split(patients, groups)


def truncated(bits: object, patients: int, numerator: int) -> np.ndarray:
    from common.privacy.sampling import sample_patients

    return sample_patients(bits, patients, numerator)[: round(patients * numerator / 2**32)]  # type: ignore[arg-type]


def realised(self: LatticeSum, tensors: list[Tensor], denominator: int) -> list[Tensor]:
    came = max(1, round(float(self.total.double().norm()) / GRID))
    return [(self.total / (GRID * came)).float().view_as(tensors[0])]


def unchecked(length: float) -> bool:
    return True


def half_precision(gradient: Tensor) -> Tensor:
    return torch.linalg.vector_norm(gradient.detach().bfloat16()).float()


def by_chunk(parameters: list[Tensor], losses: list[Callable[[], Tensor]]) -> LatticeSum:
    """Clips every tensor by itself, so that the whole is longer than C."""
    total = LatticeSum(parameters)
    for loss in losses:
        value = loss()
        gradients = torch.autograd.grad(value, parameters, allow_unused=True)
        for place in range(len(parameters)):
            total.add([g if place == i else None for i, g in enumerate(gradients)])
    return total


def batched(population: units.Population, terms: object, bits: object) -> object:
    """All sampled patients in one batch: a coupled loss, clipped as a whole but charged as R."""
    everybody = np.arange(len(population))
    yield population.unit(everybody, terms, torch.Generator().manual_seed(0))  # type: ignore[arg-type]


def seeded(self: Entropy, count: int) -> np.ndarray:
    return torch.randint(-(2**63), 2**63 - 1, (count,)).numpy().view(np.uint64)


def rooted(multiplier: float, sensitivity_: int) -> int:
    return round(multiplier * sensitivity_ * GRID / 8**0.5)


def halved(multiplier: float, sensitivity_: int) -> int:
    return round(multiplier * sensitivity_ * GRID / 2)


MUTANTS = [
    Mutant(
        1,
        "all patients in one batch under R",
        lambda m: m.setattr(units.Population, "units", batched),
        model_alarms,
    ),
    Mutant(2, "a shuffled loader", lambda m: m.setattr(noise, "sample_patients", shuffled), sampling_alarms),
    Mutant(
        2, "a shuffled list cut into groups", lambda m: m.setattr(noise, "draw_groups", cut), sampling_alarms
    ),
    Mutant(3, "G with noise for C", lambda m: m.setitem(mechanism.SENSITIVITY, "G", 1), turning_alarms),
    Mutant(
        3,
        "G with noise for C, seen from outside",
        lambda m: m.setitem(mechanism.SENSITIVITY, "G", 1),
        canaries_alarm,
    ),
    Mutant(4, "division by who came", lambda m: m.setattr(LatticeSum, "mean", realised), divisor_alarms),
    Mutant(7, "no look at NaN", lambda m: m.setattr(lattice.math, "isfinite", unchecked), poison_alarms),
    Mutant(10, "a fixed key", lambda m: m.setattr("os.urandom", lambda size: bytes(size)), noise_alarms),
    Mutant(10, "a seeded generator", lambda m: m.setattr(Entropy, "words", seeded), noise_alarms),
    Mutant(
        11,
        "noise over the root of the batch",
        lambda m: m.setattr(lattice, "noise_scale", rooted),
        noise_alarms,
    ),
    Mutant(
        11,
        "half the noise, seen from outside",
        lambda m: m.setattr(lattice, "noise_scale", halved),
        canaries_alarm,
    ),
    Mutant(
        20, "clipping tensor by tensor", lambda m: m.setattr(sensitivity, "sum_units", by_chunk), model_alarms
    ),
    Mutant(21, "lengths in bfloat16", lambda m: m.setattr(lattice, "_length", half_precision), length_alarms),
    Mutant(
        25, "big batches cut short", lambda m: m.setattr(noise, "sample_patients", truncated), sampling_alarms
    ),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.row}: {mutant.name}")
def test_a_known_mistake_in_our_code_is_noticed(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant.break_(monkeypatch)
    assert mutant.alarms()


@pytest.mark.parametrize(
    "alarms",
    [
        noise_alarms,
        sampling_alarms,
        canaries_alarm,
        length_alarms,
        poison_alarms,
        divisor_alarms,
        turning_alarms,
    ],
)
def test_without_a_mistake_there_is_no_alarm(alarms: Callable[[], bool]) -> None:
    assert not alarms()


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

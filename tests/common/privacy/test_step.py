"""The private step: lengths below the bound, integers, public denominators, all trained tensors covered."""

import dataclasses
from collections.abc import Iterable
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from privacy_samples import Seeded, joint_spec, private_spec, terms
from scipy import stats
from torch import Tensor, nn

from common.errors import ConfigurationError, IntegrityError
from common.model.vlp import build_model
from common.privacy.entropy import Entropy
from common.privacy.joint import joint_noise
from common.privacy.lattice import GRID, UNITS_IN_INT32, LatticeSum
from common.privacy.mechanism import Terms
from common.privacy.step import Covered, UnitLoss, private_gradient, sum_units
from common.privacy.training import sum_jointly, take_private_step, train_privately, unit_losses
from common.privacy.units import Population
from common.project import Project, weights_of
from common.spec.run import NOT_IN_JOINT_STEPS, NOT_IN_PRIVATE_STEPS
from common.spec.train import TrainSpec
from common.training.optimizer import build_optimizer, learning_rate_at
from common.update import digest_weights

TERMS = Terms(
    mechanism="R",
    rate_numerator=2**31,
    noise_multiplier=1.0,
    groups=1,
    denominator=5,
    studies_per_patient=1,
    views_per_study=1,
)

vectors = st.lists(
    st.floats(width=32) | st.sampled_from([0.0, -0.0, 1e-38, 3e38, -3e38, 1e-45]), min_size=1, max_size=40
)


def exact_norm_squared(total: LatticeSum) -> int:
    return sum(int(value) ** 2 for value in total.total.tolist())


@given(vectors)
def test_no_gradient_is_longer_than_the_bound_in_exact_integers(values: list[float]) -> None:
    gradient = torch.tensor(values)
    total = LatticeSum([gradient])
    total.add([gradient])
    assert exact_norm_squared(total) <= GRID**2
    assert total.not_finite == (not bool(torch.isfinite(gradient).all()))
    if total.not_finite:
        assert not total.total.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_low_precision_gradients_are_measured_in_high_precision(dtype: torch.dtype) -> None:
    """Norms taken in bfloat16 let half of the gradients through too long, by up to 0.9 %."""
    for seed in range(20):
        gradient = torch.randn(5000, generator=torch.Generator().manual_seed(seed)).mul(30).to(dtype)
        total = LatticeSum([gradient])
        total.add([gradient])
        assert exact_norm_squared(total) <= GRID**2
        assert exact_norm_squared(total) > 0.99 * GRID**2


def test_a_clipped_gradient_keeps_its_direction() -> None:
    gradient = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    total = LatticeSum([gradient])
    total.add([gradient])
    assert torch.cosine_similarity(total.total.double(), gradient.double(), dim=0) > 0.99999


def test_a_missing_gradient_is_zero() -> None:
    a, b = torch.ones(3), torch.ones(2, 2)
    total = LatticeSum([a, b])
    total.add([None, b])
    assert not total.total[:3].any()
    assert total.total[3:].all()


@given(st.permutations(range(7)), st.integers(1, 6))
def test_the_sum_is_the_same_for_any_order_and_any_cut_into_chunks(order: list[int], cut: int) -> None:
    chance = torch.Generator().manual_seed(1)
    gradients = [torch.randn(9, generator=chance) for _ in range(7)]
    whole, first, second = (LatticeSum([gradients[0]]) for _ in range(3))
    for gradient in gradients:
        whole.add([gradient])
    for place, number in enumerate(order):
        (first if place < cut else second).add([gradients[number]])
    assert torch.equal(whole.total, first.total + second.total)


def test_more_units_than_32_bits_hold_are_summed_exactly() -> None:
    gradient, count = torch.tensor([-3e30]), UNITS_IN_INT32 + 5
    alone, all_of_them = LatticeSum([gradient]), LatticeSum([gradient])
    alone.add([gradient])
    for _ in range(count):
        all_of_them.add([gradient])
    assert all_of_them.total.item() == count * alone.total.item() < -(2**31)


def unit(weight: Tensor, values: Tensor) -> UnitLoss:
    return lambda: (weight * values).sum()


def units(weight: Tensor, count: int) -> Iterable[UnitLoss]:
    return [unit(weight, torch.full_like(weight, 3.0)) for _ in range(count)]


def test_an_empty_step_is_noise_like_any_other() -> None:
    weight = nn.Parameter(torch.zeros(100_000))
    (gradient,) = private_gradient([weight], [], TERMS, Entropy())
    low, high = stats.chi2.ppf([5e-7, 1 - 5e-7], len(weight) - 1)
    deviation = TERMS.noise_multiplier / TERMS.denominator
    assert low < gradient.double().var().item() * (len(weight) - 1) / deviation**2 < high


@pytest.mark.parametrize("count", [0, 1, 2, 37])
def test_the_divisor_is_public_whoever_takes_part(count: int) -> None:
    weight = nn.Parameter(torch.zeros(4))
    quiet = sum_units([weight], units(weight, count)).mean([weight], TERMS.denominator)[0]
    assert torch.allclose(quiet, torch.full((4,), count * 0.5 / TERMS.denominator), rtol=0.01)


@pytest.mark.parametrize(("mechanism", "sensitivity"), [("R", 1), ("G", 2)])
def test_noise_covers_what_a_patient_can_change_under_each_mechanism(
    mechanism: str, sensitivity: int
) -> None:
    spec = private_spec(mechanism=mechanism, group_size=1 if mechanism == "R" else 2, noise_multiplier=1.5)
    weight = nn.Parameter(torch.zeros(50_000))
    (gradient,) = private_gradient([weight], [], terms(spec), Entropy())
    deviation = gradient.double().std().item() * terms(spec).denominator
    assert deviation == pytest.approx(1.5 * sensitivity, rel=0.02)


def test_a_unit_that_is_not_finite_changes_nothing_and_says_nothing() -> None:
    weight = nn.Parameter(torch.zeros(6))
    poisons = [float("nan"), float("inf"), -float("inf")]
    poisoned = [*units(weight, 3), *(unit(weight, torch.full((6,), poison)) for poison in poisons)]
    found = sum_units([weight], poisoned)
    assert torch.equal(found.total, sum_units([weight], units(weight, 3)).total)
    assert found.not_finite == 3


# --- the whole model ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["R", "G"])
def test_every_trained_tensor_is_in_the_step(
    private_project: Project, population: Population, mechanism: str
) -> None:
    spec = private_spec(mechanism=mechanism, group_size=1 if mechanism == "R" else 2)
    model = private_project.fresh_model()
    covered = Covered(model)
    named = {id(weight) for _, weight in model.named_parameters()}
    assert {id(weight) for weight in covered.parameters} == named
    before = {name: tensor.clone() for name, tensor in model.named_parameters()}
    optimizer = build_optimizer(model, spec.train)
    take_private_step(model, covered, optimizer, population, terms(spec), spec.train, Entropy())
    for name, tensor in model.named_parameters():
        assert tensor.grad is not None, name
        assert not torch.equal(tensor, before[name]), name
    covered.require_unmoved()


def test_what_leaves_is_exactly_what_the_step_covers(private_project: Project) -> None:
    model = private_project.fresh_model()
    covered = {id(weight) for weight in Covered(model).parameters}
    parameters = dict(model.named_parameters())
    assert {id(parameters[name]) for name in weights_of(model)} == covered


def test_projections_alone_can_be_trained(private_project: Project, population: Population) -> None:
    spec, model = private_spec(), private_project.fresh_model()
    for name, weight in model.named_parameters():
        weight.requires_grad_("projection" in name)
    before = weights_of(model)
    train_privately(model, population, terms(spec), spec, first_step=0, steps=2, total_steps=2)
    moved = {name for name, now in weights_of(model).items() if not np.array_equal(now, before[name])}
    assert moved == {"image_projection.weight", "text_projection.weight"}


class Read:
    """The settings of `[train]`, which remembers which of them were read."""

    def __init__(self, spec: TrainSpec) -> None:
        self._spec, self.keys = spec, set[str]()

    def __getattr__(self, key: str) -> object:
        self.keys.add(key)
        return getattr(self._spec, key)


OBEYED_ELSEWHERE = {"local_steps", "device"}
"""By whoever asks for the steps, and by the spec, which takes no device but the CPU."""


def test_every_key_of_train_is_read_by_a_private_step_or_refused(
    private_project: Project, population: Population
) -> None:
    spec, model = private_spec(), private_project.fresh_model()
    read = Read(spec.train)
    spied = spec.model_copy(update={"train": read})
    train_privately(model, population, terms(spec), spied, first_step=1, steps=1, total_steps=2)
    assert read.keys | OBEYED_ELSEWHERE == TrainSpec.model_fields.keys() - set(NOT_IN_PRIVATE_STEPS)


def test_every_key_of_train_is_read_by_a_joint_step_or_refused(
    private_project: Project, population: Population
) -> None:
    spec, model = joint_spec(), private_project.fresh_model()
    read = Read(spec.train)
    train_spec = cast(TrainSpec, read)
    sum_jointly(model, population, terms(spec), joint_noise(spec, 4), train_spec)
    learning_rate_at(1, 2, train_spec)  # the pace at which the hub takes the sum
    refused = {*NOT_IN_PRIVATE_STEPS, *NOT_IN_JOINT_STEPS["train"]}
    assert read.keys | OBEYED_ELSEWHERE == TrainSpec.model_fields.keys() - refused


def test_a_tensor_that_moves_outside_the_step_stops_everything(private_project: Project) -> None:
    model = private_project.fresh_model()
    model.register_buffer("statistics", torch.zeros(3))
    covered = Covered(model)
    covered.require_unmoved()
    model.get_buffer("statistics").add_(1)
    with pytest.raises(IntegrityError, match="statistics changed outside the private step"):
        covered.require_unmoved()


@pytest.mark.parametrize(
    "layer",
    [
        nn.BatchNorm1d(4),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.SyncBatchNorm(4),
        nn.InstanceNorm2d(4, track_running_stats=True),
    ],
)
def test_layers_that_mix_patients_or_keep_statistics_are_refused(layer: nn.Module) -> None:
    with pytest.raises(ConfigurationError, match="mixes patients"):
        Covered(nn.Sequential(nn.Linear(4, 4), layer))


def test_layers_that_see_one_row_at_a_time_are_welcome() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4))
    assert len(Covered(model).parameters) == len([*model.parameters()])


def test_a_model_without_anything_to_train_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="nothing to make private"):
        Covered(nn.Linear(2, 2).requires_grad_(False))


def test_training_twice_takes_other_patients_and_other_noise(
    private_project: Project, population: Population
) -> None:
    spec, digests = private_spec(), set()
    for _ in range(2):
        torch.manual_seed(0)
        model = private_project.fresh_model()
        train_privately(model, population, terms(spec), spec, first_step=0, steps=1, total_steps=2)
        digests.add(digest_weights(weights_of(model)))
    assert len(digests) == 2


def quiet_sum(model: nn.Module, population: Population, terms_: Terms, seed: int) -> Tensor:
    spec = private_spec()
    losses = unit_losses(model, population.units(terms_, Seeded(seed)), spec.train)
    return sum_units(Covered(model).parameters, losses).total


@pytest.mark.parametrize(("mechanism", "bound"), [("R", 1), ("G", 2)])
def test_one_patient_changes_the_sum_by_no_more_than_the_bound(
    private_project: Project, population: Population, mechanism: str, bound: int
) -> None:
    spec = private_spec(mechanism=mechanism, group_size=1 if mechanism == "R" else 2)
    model = private_project.fresh_model()
    fewer = Population(population.batches, population.studies[:-1])
    changes = []
    for seed in range(12):
        with_all, without = (quiet_sum(model, each, terms(spec), seed) for each in (population, fewer))
        changes.append((with_all - without).double().norm().item() / GRID)
    assert 0 < max(changes) <= bound
    assert min(changes) == 0  # not sampled: bit for bit the same


def test_a_step_encodes_the_bank_once_and_gives_each_patient_the_gradient_it_would_have_alone(
    private_project: Project, population: Population, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encoded anew for each patient, the bank's vectors are the same constants."""
    spec = private_spec(
        mechanism="R",
        group_size=1,
        sampling_rate=1.0,
        objectives__bank_contrastive={},
        data__anchor_pairs=0,
        data__public_negatives=5,
    )
    batches = dataclasses.replace(population.batches, spec=spec)
    patients = dataclasses.replace(population, batches=batches)
    model = build_model(spec, private_project.tokenizer.vocabulary_size)
    weights = Covered(model).parameters
    units = list(patients.units(terms(spec), Seeded(3)))
    assert len(units) == len(patients) > 1
    alone = sum_units(
        weights, (loss for one in units for loss in unit_losses(model, iter([one]), spec.train))
    )
    encoded = []
    embed = model.embed_texts
    monkeypatch.setattr(model, "embed_texts", lambda *texts: encoded.append(1) or embed(*texts))
    together = sum_units(weights, unit_losses(model, iter(units), spec.train))
    assert len(encoded) == 1
    assert together.total.any()
    assert torch.equal(together.total, alone.total)

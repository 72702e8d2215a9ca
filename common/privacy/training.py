"""Local training in private steps: the same optimiser and learning rates, on gradients with noise."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from common.data.batch import Batch, PublicPairs
from common.model.vlp import VLPModel
from common.privacy.entropy import Bits, Entropy
from common.privacy.joint import JointNoise, noisy_sum
from common.privacy.mechanism import Terms
from common.privacy.step import Covered, UnitLoss, private_gradient
from common.privacy.units import Population
from common.spec.run import Spec
from common.spec.train import TrainSpec
from common.training.device import precision_of
from common.training.optimizer import build_optimizer, learning_rate_at, ramp_at, set_learning_rate

log = logging.getLogger("fedvlp")


def train_privately(
    model: VLPModel,
    population: Population,
    terms: Terms,
    spec: Spec,
    *,
    first_step: int,
    steps: int,
    total_steps: int,
    on_step: Callable[[int], None] | None = None,
) -> None:
    """Take `steps` private steps from global step `first_step` of `total_steps`; `model` is changed in place.

    Exactly `steps` steps are taken whatever the data is: a patient's rows stop or prolong nothing. Nothing
    about them is returned. Bits are fresh in each step, so a repeated call takes other patients and draws
    other noise.

    Raises:
        ConfigurationError: the model mixes patients, or trains nothing.
        IntegrityError: something of the model moved outside the private steps.
    """
    torch.set_num_threads(spec.train.threads)
    covered = Covered(model)
    optimizer = build_optimizer(model, spec.train)
    model.train()
    with model.remembering():
        for step in range(first_step, first_step + steps):
            rate = learning_rate_at(step, total_steps, spec.train) * ramp_at(step - first_step, spec.train)
            set_learning_rate(optimizer, rate)
            take_private_step(model, covered, optimizer, population, terms, spec.train, Entropy())
            if on_step is not None:
                on_step(step)
    covered.require_unmoved()


def take_private_step(
    model: VLPModel,
    covered: Covered,
    optimizer: torch.optim.Optimizer,
    population: Population,
    terms: Terms,
    spec: TrainSpec,
    bits: Bits,
) -> None:
    """Sample, sum, add noise, step."""
    units = unit_losses(model, population.units(terms, bits), spec)
    gradients = private_gradient(covered.parameters, units, terms, bits)
    optimizer.zero_grad(set_to_none=True)
    for weight, gradient in zip(covered.parameters, gradients, strict=True):
        weight.grad = gradient
    optimizer.step()
    model.after_step()


def sum_jointly(
    model: VLPModel, population: Population, terms: Terms, noise: JointNoise, spec: TrainSpec
) -> dict[str, Tensor]:
    """One hospital's part of a joint step, by name of the trained tensor, int64; `model` is not moved.

    A tensor that has two names is there under both. Bits are fresh, so a repeated call takes other patients
    and draws other noise.

    Raises:
        ConfigurationError: the model mixes patients, or trains nothing.
        IntegrityError: something of the model moved.
    """
    torch.set_num_threads(spec.threads)
    covered, bits = Covered(model), Entropy()
    model.train()
    with model.remembering():
        units = unit_losses(model, population.units(terms, bits), spec)
        total = noisy_sum(covered.parameters, units, noise, bits)
    covered.require_unmoved()
    parts = torch.split(total, [weight.numel() for weight in covered.parameters])
    found = {id(weight): part for weight, part in zip(covered.parameters, parts, strict=True)}
    named = model.named_parameters(remove_duplicate=False)
    return {name: found[id(weight)] for name, weight in named if id(weight) in found}


def unit_losses(model: VLPModel, units: Iterator[Batch], spec: TrainSpec) -> Iterator[UnitLoss]:
    """What each unit has to learn from: the weighted sum of all objectives on its rows alone.

    The public pairs, the same in all `units` of a step, are encoded once: constants made of public data and
    of the weights that the step begins with, so that no unit's loss depends on another's rows.
    """
    encoded: PublicPairs | None = None
    for batch in units:
        device = batch.images.device
        if batch.public is not None and encoded is None:
            with precision_of(spec, device):
                encoded = model.with_public(batch).public
        unit = replace(batch, public=encoded)

        def loss(unit: Batch = unit, device: torch.device = device) -> Tensor | None:
            with precision_of(spec, device):
                found = model.losses(unit)
                return model.total(found) if found else None

        yield loss

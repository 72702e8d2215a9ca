"""The private step: one gradient per unit, their integer sum, noise, a mean that any optimiser may use.

Units go through autograd one by one, whatever is in them. Hooks that give a gradient per row (Opacus 1.6,
GradSampleModule) were measured and are not used: for mechanism R they take as long on a CPU (64 images
through a ViT of width 192 and depth 6: 1.74 CPU seconds each way); they could not serve G, whose rows are
coupled, nor objectives over masked pieces, whose rows are no patients; and of our text tower, which has a
parameter of its own and answers with more than a tensor, they find no gradient at all.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from common.errors import ConfigurationError, IntegrityError
from common.privacy.entropy import Bits
from common.privacy.lattice import GRID, LatticeSum
from common.privacy.mechanism import Terms

UnitLoss = Callable[[], Tensor | None]
"""Computes the loss of one unit, the weighted sum of all objectives; None where there is nothing to learn."""


class Covered:
    """The tensors that a private step moves; made once per training, it finds what would leave uncovered."""

    def __init__(self, model: nn.Module) -> None:
        """Look through `model`.

        Raises:
            ConfigurationError: a module keeps statistics of what it saw, or there is nothing to train.
        """
        for name, module in model.named_modules():
            if isinstance(module, _NormBase) and (
                module.track_running_stats or "Batch" in type(module).__name__
            ):
                raise ConfigurationError(
                    f"module {name} is a {type(module).__name__}: it mixes patients, and its statistics "
                    "would leave without noise; use GroupNorm or LayerNorm"
                )
        self.parameters = [weight for weight in model.parameters() if weight.requires_grad]
        if not self.parameters:
            raise ConfigurationError("no parameter of the model is trained: there is nothing to make private")
        self._model = model
        self._before = {name: tensor.detach().clone() for name, tensor in self._uncovered()}

    def require_unmoved(self) -> None:
        """Refuse a model of which anything but the covered parameters has changed.

        Raises:
            IntegrityError: a buffer or a frozen parameter did; nothing of it may leave.
        """
        now = dict(self._uncovered())
        for name in now.keys() | self._before.keys():
            old, new = self._before.get(name), now.get(name)
            if old is None or new is None or not torch.equal(old, new):
                raise IntegrityError(
                    f"{name} changed outside the private step; nothing leaves",
                    outward="model changed unprotected",
                )

    def _uncovered(self) -> Iterable[tuple[str, Tensor]]:
        """Frozen parameters and all buffers, by name."""
        trained = {id(weight) for weight in self.parameters}
        named = chain(self._model.named_parameters(), self._model.named_buffers())
        return [(name, tensor) for name, tensor in named if id(tensor) not in trained]


def sum_units(parameters: Sequence[Tensor], units: Iterable[UnitLoss], *, grid: int = GRID) -> LatticeSum:
    """The sum of the units' clipped gradients, without noise: it must not leave, nor be looked at.

    One unit is in memory at a time. The result does not depend on the order of the units. A length of C has
    `grid` lattice steps.
    """
    total = LatticeSum(parameters, grid=grid)
    for unit in units:
        loss = unit()
        if loss is not None and loss.requires_grad:
            total.add(torch.autograd.grad(loss, parameters, allow_unused=True))
    return total


def private_gradient(
    parameters: Sequence[Tensor], units: Iterable[UnitLoss], terms: Terms, bits: Bits
) -> list[Tensor]:
    """The noisy mean gradient, a tensor per parameter; see `common.privacy.mechanism` for what it promises.

    Args:
        parameters: all that is trained.
        units: sampled patients (R) or groups (G); there may be none.
        terms: public constants.
        bits: fresh in every step.
    """
    total = sum_units(parameters, units)
    total.add_noise(bits, noise_multiplier=terms.noise_multiplier, sensitivity=terms.sensitivity)
    return total.mean(parameters, terms.denominator)

"""Gradients of bounded length as integers, their sum, and the noise on it: no rounding error to attack.

A unit's gradient g becomes trunc(g 2^20 / (|g| + 0.01)): scaled to a length below C = 1 (automatic clipping,
Bu et al. 2023, arXiv:2206.07136, with their gamma) and rounded toward zero on a lattice of 2^-20, so that the
length never grows. Sums of integers do not depend on their order. What floating point alone would leak:
Mironov 2012; Jin et al. 2022, arXiv:2112.05307.
Shapes: N coordinates of all trained tensors together.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from common.privacy.entropy import Bits
from common.privacy.gaussian import sample_discrete_gaussian

GRID = 2**20
"""Lattice steps in C = 1."""
STABILITY = 0.01
"""Gamma of automatic clipping: what keeps a tiny gradient tiny. Public, the same for all."""
ROUNDING_ROOM = 1 - 2.0**-40
"""Keeps the length below C whatever float64 rounds."""


class LatticeSum:
    """The sum of the units of one step, N integers."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        """Begin with zero; `tensors` are all that is trained, in order."""
        self._sizes = [tensor.numel() for tensor in tensors]
        self.total = torch.zeros(sum(self._sizes), dtype=torch.int64)
        """(N,) int64."""
        self._unit = torch.empty(len(self.total), dtype=torch.int32)
        self.not_finite = 0
        """Units that counted as zero; stays in the hospital."""

    def add(self, gradients: Sequence[Tensor | None]) -> None:
        """Add one unit's gradients, a tensor each, None for zero; what is not finite counts as zero."""
        lengths = [float(_length(gradient)) for gradient in gradients if gradient is not None]
        length = (
            math.sqrt(math.fsum(part**2 for part in lengths)) if all(map(_bounded, lengths)) else math.inf
        )
        if not math.isfinite(length):
            self.not_finite += 1
            return
        factor = GRID * ROUNDING_ROOM / (length + STABILITY)
        squares = 0
        for part, gradient in zip(_split(self._unit, self._sizes), gradients, strict=True):
            if gradient is None:
                part.zero_()
                continue
            scaled = gradient.detach().reshape(-1).double().mul_(factor).trunc_()
            squares += int(scaled.square().sum())  # of integers, below 2^53: exact
            part.copy_(scaled)
        assert squares <= GRID**2
        self.total += self._unit

    def add_noise(self, bits: Bits, *, noise_multiplier: float, sensitivity: int) -> None:
        """Add a discrete Gaussian to every coordinate; its deviation is never below `noise_scale`."""
        scale = noise_scale(noise_multiplier, sensitivity)
        self.total += torch.from_numpy(sample_discrete_gaussian(bits, scale, len(self.total)))

    def mean(self, tensors: Sequence[Tensor], denominator: int) -> list[Tensor]:
        """The sum over the public `denominator`, in the shapes and types of `tensors`."""
        parts = _split(self.total, self._sizes)
        return [
            (part.double() / (GRID * denominator)).to(tensor.dtype).view_as(tensor)
            for part, tensor in zip(parts, tensors, strict=True)
        ]


def noise_scale(noise_multiplier: float, sensitivity: int) -> int:
    """Standard deviation of the noise in lattice steps: the multiplier times what a patient can change."""
    return math.ceil(noise_multiplier * sensitivity * GRID)


def _split(flat: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
    parts: tuple[Tensor, ...] = torch.functional.split(flat, sizes)
    return parts


def _length(gradient: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(gradient.detach(), dtype=torch.float64)
    return length


def _bounded(length: float) -> bool:
    return math.isfinite(length) and length < 1e150

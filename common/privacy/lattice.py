"""Gradients of bounded length as integers, their sum, and the noise on it: no rounding error to attack.

A unit's gradient g becomes trunc(g 2^20 / (|g| + 0.01)): scaled to a length below C = 1 (automatic clipping,
Bu et al. 2023, arXiv:2206.07136, with their gamma) and rounded toward zero on a lattice of 2^-20, so that the
length never grows. Its length is taken in float64; it is scaled in float32, whose two roundings, 2^-24 each,
the room below C covers. Sums of integers do not depend on their order. What floating point alone would leak:
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
ROUNDING_ROOM = 1 - 2.0**-20
"""Keeps the length below C whatever float32 rounds."""
UNITS_IN_INT32 = (2**31 - 1) // GRID
"""Of so many units the sum fits into 32 bits in every coordinate."""

BLOCK = 1 << 15
"""Coordinates that are measured at a time: torch copies them to float64 first, which stays in the cache."""


class LatticeSum:
    """The sum of the units of one step, N integers."""

    def __init__(self, tensors: Sequence[Tensor], *, grid: int = GRID) -> None:
        """Begin with zero; `tensors` are all that is trained, in order, `grid` the lattice steps in C."""
        assert grid <= GRID
        self._grid = grid
        self._sizes = [tensor.numel() for tensor in tensors]
        device = tensors[0].device
        self._total = torch.zeros(sum(self._sizes), dtype=torch.int64)
        self._recent = torch.zeros(len(self._total), dtype=torch.int32, device=device)
        self._num_recent = 0
        self._unit = torch.empty(len(self._total), device=device)
        self._parts = _split(self._unit, self._sizes)
        self.not_finite = 0
        """Units that counted as zero; stays in the hospital."""

    @property
    def total(self) -> Tensor:
        """(N,) int64."""
        self._gather()
        return self._total

    def add(self, gradients: Sequence[Tensor | None]) -> None:
        """Add one unit's gradients, a tensor each, None for zero; what is not finite counts as zero."""
        for part, gradient in zip(self._parts, gradients, strict=True):
            if gradient is None:
                part.zero_()
            else:
                part.copy_(gradient.detach().reshape(-1))
        length = _length(self._unit)
        if not math.isfinite(length):
            self.not_finite += 1
            return
        self._unit.mul_(self._grid * ROUNDING_ROOM / (length + STABILITY))
        assert _length(self._unit) <= self._grid
        if self._num_recent == UNITS_IN_INT32:
            self._gather()
        self._recent += self._unit.to(torch.int32)  # toward zero
        self._num_recent += 1

    def add_noise(self, bits: Bits, *, noise_multiplier: float, sensitivity: int) -> None:
        """Add a discrete Gaussian to every coordinate; its deviation is never below `noise_scale`."""
        self.add_share(bits, noise_scale(noise_multiplier, sensitivity))

    def cut(self, bound: int) -> None:
        """Move every coordinate into -bound..bound; no two sums move apart."""
        self.total.clamp_(-bound, bound)

    def add_share(self, bits: Bits, scale: int) -> None:
        """Add a discrete Gaussian of deviation `scale`, in lattice steps, to every coordinate."""
        self._total += torch.from_numpy(sample_discrete_gaussian(bits, scale, len(self._total)))

    def mean(self, tensors: Sequence[Tensor], denominator: int) -> list[Tensor]:
        """The sum over the public `denominator`, in the shapes and types of `tensors`."""
        parts = _split(self.total, self._sizes)
        return [
            (part.double() / (self._grid * denominator)).to(tensor).view_as(tensor)
            for part, tensor in zip(parts, tensors, strict=True)
        ]

    def _gather(self) -> None:
        if self._num_recent:
            self._total += self._recent.cpu()
            self._recent.zero_()
            self._num_recent = 0


def noise_scale(noise_multiplier: float, sensitivity: int) -> int:
    """Standard deviation of the noise in lattice steps: the multiplier times what a patient can change."""
    return math.ceil(noise_multiplier * sensitivity * GRID)


def _split(flat: Tensor, sizes: list[int] | int) -> tuple[Tensor, ...]:
    parts: tuple[Tensor, ...] = torch.functional.split(flat, sizes)
    return parts


def _length(vector: Tensor) -> float:
    parts = [torch.linalg.vector_norm(block, dtype=torch.float64) for block in _split(vector, BLOCK)]
    return float(torch.linalg.vector_norm(torch.stack(parts)))

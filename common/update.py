"""An update as integers: quantised, packed into three bytes a coordinate, summed modulo 2^24.

Plain and secure aggregation share this path; plain is secure aggregation without masks. Integer sums do not
depend on the order in which hospitals answer, so the same seed ends in the same bits everywhere.
Shapes: N coordinates of the whole model, in the order of its state dict; L tensors; K sums.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from common.errors import IntegrityError, PolicyError
from common.seeds import derive_seed

Vector = npt.NDArray[np.float32]
Words = npt.NDArray[np.uint32]
Weights = dict[str, Vector]
"""Tensor name -> float32 array, in the model's order."""

LEVELS = 2**15 - 1
"""A clipped coordinate becomes an integer in -LEVELS..LEVELS (16 bits)."""
WORD_BITS = 24
MAX_SITES = 2 ** (WORD_BITS - 1) // (LEVELS + 1)
"""More sites than this, and the sum could wrap: 256."""
CHUNK = 1 << 20
"""Coordinates worked on at a time, so that scratch memory does not grow with the model."""

FIXED_POINT = 1 << 20
"""Losses travel as integers in units of 2^-20."""


@dataclass(frozen=True)
class Layout:
    """Names and sizes of the tensors in a flat update."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, weights: Mapping[str, Vector]) -> "Layout":
        """The layout of `weights`."""
        return cls(tuple(weights), tuple(array.shape for array in weights.values()))

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """(L,) coordinates per tensor."""
        return np.array([int(np.prod(shape)) for shape in self.shapes], dtype=np.int64)

    @cached_property
    def num_coordinates(self) -> int:
        """N."""
        return int(self.sizes.sum())

    def flatten(self, weights: Mapping[str, Vector]) -> Vector:
        """(N,) all tensors end to end."""
        flat = np.empty(self.num_coordinates, dtype=np.float32)
        for name, part in self.split(flat):
            part[:] = weights[name].reshape(-1)
        return flat

    def unflatten(self, flat: Vector) -> Weights:
        """The inverse of `flatten`; arrays are views into `flat`."""
        shapes = dict(zip(self.names, self.shapes, strict=True))
        return {name: part.reshape(shapes[name]) for name, part in self.split(flat)}

    def split(self, flat: Vector) -> list[tuple[str, Vector]]:
        """Each tensor's name and its (size,) view into `flat`."""
        ends = np.cumsum(self.sizes)
        starts = ends - self.sizes
        return [(name, flat[start:end]) for name, start, end in zip(self.names, starts, ends, strict=True)]

    def require(self, weights: Mapping[str, Vector]) -> None:
        """Refuse weights with other tensors than these.

        Raises:
            IntegrityError: a name, a shape or the order differs.
        """
        if Layout.of(weights) != self:
            raise IntegrityError("the weights are those of another model: tensor names or shapes differ")


def digest_weights(weights: Mapping[str, Vector]) -> str:
    """SHA-256 over names, shapes and little-endian float32 bytes, hex."""
    digest = hashlib.sha256()
    for name, array in weights.items():
        digest.update(f"{name}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array, dtype="<f4").data)
    return digest.hexdigest()


def quantise(
    delta: Vector, clips: Vector, layout: Layout, *, seed: int, site: str, round_number: int
) -> tuple[npt.NDArray[np.int16], int]:
    """Clip each tensor to its bound and round to LEVELS steps, up or down at random, so without bias.

    Args:
        delta: (N,) weighted difference to the global model.
        clips: (L,) bound of one coordinate of each tensor, > 0.
        layout: of the model.
        seed: the run's seed; with `site` and `round_number` it fixes the rounding.
        site: this hospital.
        round_number: from 1.

    Returns:
        (N,) integers in -LEVELS..LEVELS, and how many coordinates were clipped.

    Raises:
        PolicyError: `delta` holds a NaN or an infinity; nothing of it may leave.
    """
    if not np.isfinite(delta).all():
        raise PolicyError(
            "the update is not finite (NaN or infinity) and was withheld; nothing left this site"
        )
    chance = np.random.Generator(np.random.SFC64(derive_seed(seed, "rounding", site, round_number)))
    quantised = np.empty(len(delta), dtype=np.int16)
    clipped = 0
    start = 0
    for (_, part), clip in zip(layout.split(delta), clips, strict=True):
        for begin in range(0, len(part), CHUNK):
            chunk = part[begin : begin + CHUNK] * np.float32(LEVELS / clip)
            clipped += int(np.count_nonzero(np.abs(chunk) > LEVELS))
            np.clip(chunk, -LEVELS, LEVELS, out=chunk)
            whole = np.floor(chunk)
            # Adding the draw before the floor would round the sum: 2^-10 of a step too high near the bound.
            whole += chance.random(len(chunk), dtype=np.float32) < chunk - whole
            quantised[start + begin : start + begin + len(chunk)] = whole.astype(np.int16)
        start += len(part)
    return quantised, clipped


def pack(quantised: npt.NDArray[np.int16]) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint8]]:
    """Integers modulo 2^24 as a plane of low halves and a plane of high bytes: 3 bytes a coordinate."""
    low = quantised.view(np.uint16)
    high = (quantised >> 15).view(np.uint16).astype(np.uint8)
    return low, high


def add_packed(total: Words, low: npt.NDArray[np.uint16], high: npt.NDArray[np.uint8]) -> None:
    """Add one packed update to `total` (N,), modulo 2^32, of which 2^24 is a divisor.

    Raises:
        IntegrityError: the planes have another type or length than the model needs.
    """
    fits = low.shape == high.shape == total.shape and low.dtype == np.uint16 and high.dtype == np.uint8
    if not fits:
        raise IntegrityError("the update has another length or type than the model")
    for begin in range(0, len(total), CHUNK):
        part = slice(begin, begin + CHUNK)
        total[part] += low[part] | (high[part].astype(np.uint32) << 16)


def centred(words: Words) -> npt.NDArray[np.int32]:
    """Words modulo 2^24 -> the integers in -2^23..2^23 - 1 that they stand for."""
    return (words << np.uint32(32 - WORD_BITS)).view(np.int32) >> (32 - WORD_BITS)


def mean_update(total: Words, clips: Vector, layout: Layout, *, weight: float) -> Vector:
    """Sum of quantised updates -> (N,) their weighted mean.

    Args:
        total: (N,) sum modulo 2^24.
        clips: (L,) the bounds that the sites used.
        layout: of the model.
        weight: sum of the sites' weights, > 0.
    """
    mean = np.empty(len(total), dtype=np.float32)
    start = 0
    for (_, part), clip in zip(layout.split(mean), clips, strict=True):
        scale = np.float64(clip) / (LEVELS * weight)
        for begin in range(0, len(part), CHUNK):
            words = total[start + begin : start + min(begin + CHUNK, len(part))]
            part[begin : begin + CHUNK] = centred(words) * scale
        start += len(part)
    return mean


def sum_names(objectives: Iterable[str]) -> tuple[str, ...]:
    """What travels beside the update, as one unsigned integer each, summed over the sites modulo 2^64."""
    lanes = ["weight", "examples", "steps", "clipped", "training_microseconds", "validation_microseconds"]
    for objective in objectives:
        for moment in ("training", "validation"):
            lanes += [f"{moment}/{objective}/rows", f"{moment}/{objective}/loss"]
    return tuple(lanes)


def answer_bytes(coordinates: int, objectives: Iterable[str]) -> int:
    """Bytes that one hospital's answer carries: three a coordinate and eight a sum."""
    return 3 * coordinates + 8 * len(sum_names(objectives))


def instruction_bytes(coordinates: int, tensors: int) -> int:
    """Bytes that go to one hospital in a round: four a coordinate and four a bound."""
    return 4 * (coordinates + tensors)

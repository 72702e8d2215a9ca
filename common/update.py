"""An update as integers: quantised, packed into planes, summed modulo 2^w.

Plain and secure aggregation share this path; plain is secure aggregation without masks. Integer sums do not
depend on the order in which hospitals answer, so the same seed ends in the same bits everywhere.
Shapes: N coordinates of the whole model, in the order of its state dict; L tensors; K sums.
"""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from common.errors import IntegrityError, PolicyError
from common.keystream import Keystream, Scratch
from common.seeds import derive_key

Vector = npt.NDArray[np.float32]
Words = npt.NDArray[np.unsignedinteger]
"""Integers modulo 2^24 in uint32 (the eight bits above are of no account), or modulo 2^16 in uint16."""
Integers = npt.NDArray[np.int32] | npt.NDArray[np.int16]
Weights = dict[str, Vector]
"""Tensor name -> float32 array, in the model's order."""

CHUNK = 1 << 15
"""Coordinates worked on at a time: scratch does not grow with the model, and stays in the cache."""

FIXED_POINT = 1 << 20
"""Losses travel as integers in units of 2^-20."""

FINEST_LEVELS = 2**15 - 1
"""Steps from zero to the bound that a 16-bit integer can hold."""
MAX_SITES = 256
"""More sites than this, and a sum of 16-bit integers could wrap in 24 bits."""

ProfileName = Literal["wide", "thin"]


@dataclass(frozen=True)
class Profile:
    """How wide a word is, and how fine a step, so that no sum can wrap."""

    word_bits: Literal[16, 24]
    levels: int
    """A clipped coordinate becomes an integer in -levels..levels."""

    @classmethod
    def named(cls, name: ProfileName, *, sites: int) -> "Profile":
        """`wide`: 3 bytes a coordinate, 16-bit steps; `thin`: 2 bytes, steps as fine as `sites` allow."""
        word_bits: Literal[16, 24] = 24 if name == "wide" else 16
        return cls(word_bits, min(FINEST_LEVELS, (2 ** (word_bits - 1) - 1) // sites))

    @property
    def bytes_per_coordinate(self) -> int:
        """3 or 2."""
        return self.word_bits // 8

    def holds(self, sites: int) -> bool:
        """Whether the sum of so many updates stays within a word."""
        return sites * self.levels < 1 << (self.word_bits - 1)

    def zeros(self, coordinates: int) -> "Planes":
        """An empty sum."""
        high = np.zeros(coordinates, np.uint8) if self.word_bits == 24 else None
        return Planes(np.zeros(coordinates, np.uint16), high)


@dataclass(frozen=True)
class Planes:
    """Packed words: a plane of low halves and, where words have 24 bits, a plane of high bytes.

    An update, masked or not, and a sum of updates: both stay packed.
    """

    low: npt.NDArray[np.uint16]
    high: npt.NDArray[np.uint8] | None

    def __len__(self) -> int:
        return len(self.low)

    @property
    def nbytes(self) -> int:
        """Bytes that travel."""
        return self.low.nbytes + (0 if self.high is None else self.high.nbytes)

    def integers(self, part: slice = slice(None)) -> Integers:
        """The integers in -2^(w-1)..2^(w-1) - 1 that the words of `part` stand for; not to be written to."""
        if self.high is None:
            return self.low[part].view(np.int16)
        steps = self.high[part].view(np.int8).astype(np.int32)
        steps <<= np.int32(16)
        steps |= self.low[part].astype(np.int32)
        return steps

    def add_words(self, part: slice, words: Words) -> None:
        """Add `words`, which are used up, to those of `part`, in place and modulo 2^w."""
        if self.high is None:
            self.low[part] += words
            return
        words += self.low[part].astype(np.uint32)
        self.low[part] = words
        words >>= np.uint32(16)
        self.high[part] += words.astype(np.uint8)

    def add(self, part: slice, other: "Planes") -> None:
        """Add the words of `other` in `part` to ours, in place and modulo 2^w."""
        low, added = self.low[part], other.low[part]
        low += added
        if self.high is not None and other.high is not None:
            high = self.high[part]
            high += other.high[part]
            high += low < added  # what the low halves carry

    def fit(self, profile: Profile, coordinates: int) -> bool:
        """Whether they are one packed update of a model of so many coordinates."""
        wanted: list[np.dtype[np.unsignedinteger]] = [np.dtype(np.uint16)]
        if profile.word_bits == 24:
            wanted.append(np.dtype(np.uint8))
        found = [plane for plane in (self.low, self.high) if plane is not None]
        return [plane.dtype for plane in found] == wanted and all(
            plane.shape == (coordinates,) for plane in found
        )


def parts(coordinates: int) -> Iterator[slice]:
    """Slices of CHUNK coordinates that cover all."""
    return (slice(begin, min(begin + CHUNK, coordinates)) for begin in range(0, coordinates, CHUNK))


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

    @cached_property
    def _ends(self) -> list[int]:
        """(L,) where each tensor ends in a flat update."""
        ends: list[int] = np.cumsum(self.sizes).tolist()
        return ends

    @cached_property
    def _parts(self) -> list[slice]:
        """(L,) where each tensor lies in a flat update."""
        return [slice(start, end) for start, end in zip([0, *self._ends[:-1]], self._ends, strict=True)]

    @cached_property
    def _heads(self) -> list[bytes]:
        """(L,) what stands before each tensor in a digest."""
        return [_head(name, shape) for name, shape in zip(self.names, self.shapes, strict=True)]

    def spread(self, values: Vector, part: slice) -> Vector:
        """(L,) a value per tensor -> that of each coordinate of `part`; (1,) where it is one tensor's."""
        first = bisect_right(self._ends, part.start)
        last = bisect_left(self._ends, part.stop, lo=first)
        if first == last:
            return values[first : first + 1]
        counts = [min(self._ends[at], part.stop) for at in range(first, last + 1)]
        return np.repeat(values[first : last + 1], np.diff(counts, prepend=part.start))

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
        return [(name, flat[part]) for name, part in zip(self.names, self._parts, strict=True)]

    def digest(self, flat: Vector) -> str:
        """`digest_weights` of what `unflatten` makes of `flat` (N,)."""
        digest = hashlib.sha256()
        for head, part in zip(self._heads, self._parts, strict=True):
            digest.update(head)
            digest.update(_bytes(flat[part]))
        return digest.hexdigest()

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
        digest.update(_head(name, array.shape))
        digest.update(_bytes(array))
    return digest.hexdigest()


def _head(name: str, shape: tuple[int, ...]) -> bytes:
    return f"{name}{shape}".encode()


def _bytes(array: Vector) -> memoryview:
    return np.ascontiguousarray(array, dtype="<f4").data


def quantise(
    delta: Vector,
    clips: Vector,
    layout: Layout,
    profile: Profile,
    *,
    seed: int,
    site: str,
    round_number: int,
) -> tuple[npt.NDArray[np.int16], int]:
    """Clip each tensor to its bound and round to whole steps, up or down at random, so without bias.

    A coordinate in 2^-16 of a step plus a draw from 0..2^16 - 1 fits 32 bits, and its upper half is the
    rounded coordinate.

    Args:
        delta: (N,) weighted difference to the global model.
        clips: (L,) bound of one coordinate of each tensor, > 0.
        layout: of the model.
        profile: of the round.
        seed: the run's seed; with `site` and `round_number` it fixes the rounding.
        site: this hospital.
        round_number: from 1.

    Returns:
        (N,) integers in -levels..levels, and how many coordinates were clipped.

    Raises:
        PolicyError: `delta` holds a NaN or an infinity; nothing of it may leave.
    """
    draws = Keystream(derive_key(seed, "rounding", site, round_number), np.uint16)
    scratch, scaled, fine = Scratch(), np.empty(CHUNK, np.float32), np.empty(CHUNK, np.int32)
    quantised = np.empty(len(delta), dtype=np.int16)
    bound = np.float32(profile.levels << 16)
    scales = ((profile.levels << 16) / clips.astype(np.float64)).astype(np.float32)
    clipped = 0
    for part in parts(len(delta)):
        values = delta[part]
        x, steps = scaled[: len(values)], fine[: len(values)]
        if _scale(values, layout.spread(scales, part), out=x) > bound:
            clipped += int(np.count_nonzero(np.abs(x) > bound))
            np.clip(x, -bound, bound, out=x)
        steps[:] = np.rint(x, out=x)
        steps += draws.next(len(x), scratch)
        np.right_shift(steps, 16, out=steps)
        quantised[part] = steps
    return quantised, clipped


def _scale(values: Vector, scale: Vector, *, out: Vector) -> np.float32:
    """out = values * scale, and its largest magnitude; a product may overflow and is clipped later."""
    if not (np.isfinite(values.max()) and np.isfinite(values.min())):
        raise PolicyError(
            "the update is not finite (NaN or infinity) and was withheld; nothing left this site"
        )
    with np.errstate(over="ignore"):
        np.multiply(values, scale, out=out)
    return np.float32(max(out.max(), -out.min()))


def pack(quantised: npt.NDArray[np.int16], profile: Profile) -> Planes:
    """Integers as words modulo 2^w; the low plane shares their memory."""
    if profile.word_bits == 16:
        return Planes(quantised.view(np.uint16), None)
    high = np.empty(len(quantised), dtype=np.uint8)
    for part in parts(len(quantised)):
        high[part] = (quantised[part] >> 15).view(np.uint16)
    return Planes(quantised.view(np.uint16), high)


def pack_sum(numbers: npt.NDArray[np.int64], profile: Profile) -> Planes:
    """Integers of any size as words modulo 2^24."""
    assert profile.word_bits == 24
    planes = profile.zeros(len(numbers))
    for part in parts(len(numbers)):
        planes.add_words(part, numbers[part].astype(np.uint32))
    return planes


def add_packed(total: Planes, planes: Planes, profile: Profile) -> None:
    """Add one packed update to `total` (N,), in place and modulo 2^w.

    Raises:
        IntegrityError: the planes have another type or length than the model needs.
    """
    if not planes.fit(profile, len(total)):
        raise IntegrityError("the update has another length or type than the model")
    for part in parts(len(total)):
        total.add(part, planes)


def mean_update(total: Planes, clips: Vector, layout: Layout, profile: Profile, *, weight: float) -> Vector:
    """Sum of quantised updates -> (N,) their weighted mean.

    Args:
        total: (N,) sum modulo 2^w.
        clips: (L,) the bounds that the sites used.
        layout: of the model.
        profile: of the round.
        weight: sum of the sites' weights, > 0.
    """
    mean, exact = np.empty(len(total), dtype=np.float32), np.empty(CHUNK, dtype=np.float64)
    start = 0
    for (_, tensor), clip in zip(layout.split(mean), clips, strict=True):
        scale = np.float64(clip) / (profile.levels * weight)
        _scale_into(tensor, total, start, scale, exact)
        start += len(tensor)
    return mean


def scaled(total: Planes, scale: np.float64) -> Vector:
    """(N,) words modulo 2^w, times `scale`, as float32."""
    found = np.empty(len(total), dtype=np.float32)
    _scale_into(found, total, 0, scale, np.empty(CHUNK, dtype=np.float64))
    return found


def _scale_into(
    out: Vector, total: Planes, start: int, scale: np.float64, exact: npt.NDArray[np.float64]
) -> None:
    """The words from `start` on, times `scale`; `exact` (CHUNK,) is worked in."""
    for part in parts(len(out)):
        steps = exact[: part.stop - part.start]
        steps[:] = total.integers(slice(start + part.start, start + part.stop))
        steps *= scale
        out[part] = steps


def sum_names(objectives: Iterable[str]) -> tuple[str, ...]:
    """What travels beside the update, as one unsigned integer each, summed over the sites modulo 2^64."""
    lanes = ["weight", "examples", "steps", "clipped", "training_microseconds", "validation_microseconds"]
    for objective in objectives:
        for moment in ("training", "validation"):
            lanes += [f"{moment}/{objective}/rows", f"{moment}/{objective}/loss"]
    return tuple(lanes)


def answer_bytes(coordinates: int, objectives: Iterable[str], profile: Profile) -> int:
    """Bytes that one hospital's answer carries: three or two a coordinate and eight a sum."""
    return profile.bytes_per_coordinate * coordinates + 8 * len(sum_names(objectives))


def instruction_bytes(coordinates: int, tensors: int) -> int:
    """Bytes that go to one hospital in a round: four a coordinate and four a bound."""
    return 4 * (coordinates + tensors)

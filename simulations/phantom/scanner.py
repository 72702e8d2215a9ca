"""A hospital's X-ray machine: from the attenuation of a patient to 12-bit pixels with its own character."""

import math
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from simulations.phantom.anatomy import SIZE, Map

Pixels = npt.NDArray[np.uint16]
"""(256, 256) uint16, 0 to 4095, as displayed: bright where the beam was weakened."""

BRIGHTEST = 4095
Syntax = Literal["implicit", "explicit", "rle"]


@dataclass(frozen=True)
class Scanner:
    """Everything that makes the images of one machine look alike."""

    maker: str
    model: str
    modality: Literal["CR", "DX"]
    photometric: Literal["MONOCHROME1", "MONOCHROME2"]
    syntax: Syntax
    rescale: tuple[float, float] | None
    """(slope, intercept) of the stored values (CR only; DX fixes it at 1 and 0)."""
    windows: int
    """How many windows the header offers; the first is the one to use."""
    gamma: float
    contrast: float
    """0 a straight curve to 1 a steep sigmoid."""
    noise: float
    """Relative to attenuation, where the beam is unattenuated."""
    blur: float
    """Standard deviation in pixels."""
    scatter: float
    """Share of the signal that arrives as wide glow."""
    edges: float
    """Strength of the machine's own sharpening."""
    vignette: float
    collimation: tuple[int, int]
    """Least and most pixels hidden at each border."""
    grid: float
    """Amplitude of the anti-scatter grid's lines."""
    grid_period: float
    marker: Literal["L", "R", ""]
    marker_height: float
    """Fraction of the image, from the top."""
    range: tuple[int, int]
    """Darkest and brightest stored value of a normal exposure."""
    exposure_spread: float
    """How unevenly exposures come out."""


def expose(attenuation: Map, scanner: Scanner, chance: np.random.Generator) -> Pixels:
    """Take the radiograph: optics, noise, marker, exposure, the machine's curve, collimation, 12 bits."""
    signal = _optics(attenuation + _marker(scanner, chance), scanner)
    quanta = np.exp(0.45 * (signal - 1.0))
    signal = signal + scanner.noise * quanta * chance.standard_normal((SIZE, SIZE), dtype=np.float32)
    if scanner.grid:
        signal = signal + scanner.grid * _grid_lines(scanner.grid_period)
    level = _curve(_normalised(signal, scanner, chance), scanner)
    level = level - scanner.vignette * _from_centre()
    low, high = scanner.range
    values = low + (high - low) * level
    values = _collimated(values, scanner, chance)
    return np.clip(np.rint(values), 0, BRIGHTEST).astype(np.uint16)


def _optics(signal: Map, scanner: Scanner) -> Map:
    """Blur, scatter and sharpening, which are all one filter."""
    return np.fft.irfft2(np.fft.rfft2(signal) * _transfer(scanner), s=(SIZE, SIZE)).astype(np.float32)


@lru_cache(maxsize=64)
def _transfer(scanner: Scanner) -> Map:
    frequency = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None, :])
    gauss = [np.exp(-2 * (np.pi * width * frequency) ** 2) for width in (scanner.blur, 3.0, 40.0)]
    sharpened = gauss[0] * (1 + scanner.edges * (1 - gauss[1]))
    transfer: Map = ((1 - scanner.scatter) * sharpened + scanner.scatter * gauss[2]).astype(np.float32)
    return transfer


def _normalised(signal: Map, scanner: Scanner, chance: np.random.Generator) -> Map:
    """0 to 1 between the 2nd and the 99th percentile, which the machine does not hit exactly."""
    low, high = np.percentile(signal[16:-16:3, 16:-16:3], (2, 99))
    span = high - low
    low += span * 0.5 * scanner.exposure_spread * float(np.clip(chance.normal(), -1.5, 1.5))
    span *= math.exp(scanner.exposure_spread * float(np.clip(chance.normal(), -1.5, 1.5)))
    level: Map = np.clip((signal - low) / span, 0, 1.08)
    return level


def _curve(linear: Map, scanner: Scanner) -> Map:
    bent = linear**scanner.gamma
    steep = 1 / (1 + np.exp(-7 * (bent - 0.5)))
    level: Map = (1 - scanner.contrast) * bent + scanner.contrast * steep
    return level


@cache
def _from_centre() -> Map:
    """Squared distance from the centre: 0 there, 1 in the middle of a border."""
    axis = np.linspace(-1, 1, SIZE, dtype=np.float32)
    return axis[:, None] ** 2 + axis[None, :] ** 2


@cache
def _grid_lines(period: float) -> Map:
    lines = np.cos(2 * np.pi * np.arange(SIZE) / period).astype(np.float32)
    return np.broadcast_to(lines, (SIZE, SIZE))


def _collimated(values: Map, scanner: Scanner, chance: np.random.Generator) -> Map:
    """Black borders where the shutters were closed, a little skew from exposure to exposure."""
    fewest, most = scanner.collimation
    if not most:
        return values
    top, bottom, left, right = (int(width) for width in chance.integers(fewest, most + 1, size=4))
    framed = np.full_like(values, scanner.range[0] * 0.4)
    framed[top : SIZE - bottom, left : SIZE - right] = values[top : SIZE - bottom, left : SIZE - right]
    return framed


_LETTERS = {
    "L": ("1....", "1....", "1....", "1....", "1....", "1....", "11111"),
    "R": ("1111.", "1...1", "1...1", "1111.", "1.1..", "1..1.", "1...1"),
}


@cache
def _letter(name: str, scale: int) -> Map:
    rows = [[float(dot == "1") for dot in row] for row in _LETTERS[name]]
    letter: Map = np.array(rows, np.float32).repeat(scale, axis=0).repeat(scale, axis=1)
    return letter


def _marker(scanner: Scanner, chance: np.random.Generator) -> Map:
    """A lead letter on the side that it names: L at the right of the image, R at the left."""
    lead = np.zeros((SIZE, SIZE), np.float32)
    if not scanner.marker:
        return lead
    letter = _letter(scanner.marker, 2)
    height, width = letter.shape
    row = int(scanner.marker_height * SIZE + chance.integers(-8, 9))
    inset = int(chance.integers(18, 34))
    column = SIZE - inset - width if scanner.marker == "L" else inset
    row = min(max(row, 16), SIZE - 16 - height)
    lead[row : row + height, column : column + width] = 1.1 * letter
    return lead

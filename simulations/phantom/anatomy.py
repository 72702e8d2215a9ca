"""The healthy chest on a frontal radiograph, as a map of how much it weakens the beam.

Shapes: S = 256 pixels a side. Maps are (S, S) float32. A body unit is half the width of the radiograph,
`across` runs from the patient's right (-1, the left of the image) to the patient's left (+1), `down` from
the neck (-1) to the abdomen (+1). A whole chest of soft tissue has an
attenuation of about 1.6.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

Map = npt.NDArray[np.floating[Any]]
"""(S, S) float32."""
LungSide = Literal["left", "right"]

SIZE = 256
SIDES: tuple[LungSide, ...] = ("right", "left")
SIGN = {"right": -1.0, "left": 1.0}
"""Direction of a patient's side along `across`."""


@dataclass(frozen=True)
class Body:
    """What stays the same in one patient from study to study; lengths in body units."""

    thorax: float
    """Inner half width of the rib cage at its widest."""
    apex: float
    angle: float
    """Heights (`down`) of the lung apex and of the costophrenic angle."""
    dome: float
    """How far the diaphragm rises above the angle."""
    heart_ratio: float
    """Cardiothoracic ratio when the heart is healthy; 0.38 to 0.48."""
    heart_tilt: float
    heart_height: float
    """Radians, and height over width of the heart."""
    scoliosis: float
    spine: float
    rib_spacing: float
    rib_slope: float
    rib_contrast: float
    clavicle_rise: float
    aorta: float
    fat: float
    """0 slim to 1 obese."""
    breast: float
    """0 none to 1 large."""
    shape_seed: int
    """Of the vessels and of the fine irregularities."""

    @classmethod
    def draw(cls, chance: np.random.Generator, *, sex: str, age: int) -> Self:
        """A random adult; women are drawn smaller and with breast shadows, the old with wider aortas."""
        build = -0.035 if sex == "F" else 0.015
        return cls(
            thorax=float(np.clip(chance.normal(0.64 + build, 0.045), 0.50, 0.76)),
            apex=float(chance.normal(-0.66, 0.05)),
            angle=float(chance.normal(0.56, 0.06)),
            dome=float(chance.uniform(0.12, 0.25)),
            heart_ratio=float(np.clip(chance.normal(0.43 + age / 4000, 0.025), 0.38, 0.485)),
            heart_tilt=float(chance.uniform(0.40, 0.85)),
            heart_height=float(chance.uniform(0.62, 0.78)),
            scoliosis=float(chance.normal(0, 0.02)),
            spine=float(chance.uniform(0.065, 0.085)),
            rib_spacing=float(chance.uniform(0.105, 0.135)),
            rib_slope=float(chance.uniform(0.26, 0.44)),
            rib_contrast=float(chance.uniform(0.10, 0.20)),
            clavicle_rise=float(chance.uniform(0.02, 0.16)),
            aorta=float(chance.uniform(0.045, 0.065) + age / 3500),
            fat=float(chance.beta(1.6, 2.4)),
            breast=float(chance.uniform(0.2, 1)) if sex == "F" else 0.0,
            shape_seed=int(chance.integers(2**62)),
        )


@dataclass(frozen=True)
class Pose:
    """How the patient stood or lay at one exposure."""

    tilt: float
    """Radians in the plane of the image."""
    turn: float
    """Body units by which the midline leaves the centre when the patient turns."""
    shift: tuple[float, float]
    zoom: float
    inspiration: float
    """Body units by which the diaphragm is lower (+) or higher (-) than usual."""
    heart_zoom: float
    """Magnification of the heart: 1 in PA, a little more in AP, where it is far from the detector."""

    @classmethod
    def draw(cls, chance: np.random.Generator, *, view: str) -> Self:
        """A random pose; AP (bedside) views are more crooked and less inspired than PA."""
        supine = view == "AP"
        spread = 1.5 if supine else 1.0
        return cls(
            tilt=float(np.clip(chance.normal(0, 0.035 * spread), -0.13, 0.13)),
            turn=float(np.clip(chance.normal(0, 0.018 * spread), -0.05, 0.05)),
            shift=(float(chance.normal(0, 0.05)), float(chance.normal(0, 0.045))),
            zoom=float(np.clip(chance.normal(1.18 if supine else 1.13, 0.06), 0.98, 1.32)),
            inspiration=float(chance.normal(-0.05 if supine else 0.01, 0.035)),
            heart_zoom=1.04 if supine else 1.0,
        )

    def to_pixels(self, across: npt.ArrayLike, down: npt.ArrayLike) -> tuple[Map, Map]:
        """(row, column) in pixels of points given in body units."""
        u, v = np.asarray(across, np.float32) * self.zoom, np.asarray(down, np.float32) * self.zoom
        cosine, sine = math.cos(self.tilt), math.sin(self.tilt)
        x = cosine * u - sine * v + (self.shift[0])
        y = sine * u + cosine * v + (self.shift[1])
        return (y + 1) * (SIZE / 2) - 0.5, (x + 1) * (SIZE / 2) - 0.5


@dataclass(frozen=True)
class Chest:
    """A healthy chest in one pose, with the geometry that findings are drawn into."""

    body: Body
    pose: Pose
    across: Map
    down: Map
    attenuation: Map
    """Everything but the vessels."""
    vessels: Map
    lungs: dict[LungSide, Map]
    """0 outside to 1 inside."""
    heart: Map
    """0 outside to 1 inside."""
    heart_centre: tuple[float, float]
    heart_half_width: float

    @property
    def angle(self) -> float:
        """Height of the costophrenic angle in this breath."""
        return self.body.angle + self.pose.inspiration

    def lateral(self, side: LungSide) -> Map:
        """Distance from the midline towards `side`."""
        return (self.across - self.pose.turn) * SIGN[side]


def chest(body: Body, pose: Pose, *, heart_ratio: float) -> Chest:
    """Draw a healthy chest, but for a heart of `heart_ratio` times the width of the thorax."""
    chance = np.random.default_rng(body.shape_seed)
    across, down = _coordinates(pose, chance)
    middle = across - (pose.turn + body.scoliosis) * (1 + np.sin(down * 3))
    angle = body.angle + pose.inspiration
    lateral = {side: (across - pose.turn) * SIGN[side] for side in SIDES}
    lungs = {
        side: soft(lung_depth(lateral[side], down, body, angle=angle, side=side), 0.03) for side in SIDES
    }
    both = lungs["right"] + lungs["left"]
    half_width = heart_ratio * body.thorax * pose.heart_zoom
    centre = (pose.turn * 1.5 + 0.30 * half_width, angle - body.dome * 0.75 - 0.45 * half_width)
    heart = _heart(across, down, body, centre=centre, half_width=half_width)
    attenuation = _torso(across, down, body, angle)
    attenuation -= both * (0.98 + 0.09 * smooth_noise(chance, waves=5)) * (1 - 0.75 * heart)
    attenuation += 0.22 * heart
    attenuation += _mediastinum(middle, across, down, body, pose)
    attenuation += _spine(middle, down, body)
    attenuation += _ribs(lateral, down, body)
    attenuation += _clavicles(lateral, down, body)
    vessels = _vessels(lateral, down, chance) * both * (1 - heart)
    return Chest(body, pose, across, down, attenuation, vessels, lungs, heart, centre, half_width)


def lung_depth(
    lateral: Map,
    down: Map,
    body: Body,
    *,
    angle: float,
    side: LungSide,
    width: float = 1.0,
    drop: float = 0.0,
) -> Map:
    """Distance to the nearest border of the lung in body units, positive inside.

    `width` and `drop` shrink it as a collapse does: narrower by that factor, its apex lower by `drop`.
    """
    outer = lung_width(down, body, angle=angle, width=width, drop=drop) - lateral
    inner = lateral - 0.075
    floor = angle - 0.02 * (side == "right") - diaphragm_rise(lateral, body) - down
    nearest: Map = np.minimum(np.minimum(outer, inner), floor)
    return nearest


def lung_width(down: Map, body: Body, *, angle: float, width: float = 1.0, drop: float = 0.0) -> Map:
    """Distance from the midline to the chest wall at each height; 0 above the apex."""
    apex = body.apex + drop
    from_apex = np.clip((down - apex) / (0.72 * (angle - apex)), 0, 1)
    rest = 1 - from_apex
    half_width: Map = np.sqrt(1 - rest * rest * np.sqrt(rest)) * (body.thorax * width)
    return half_width


def diaphragm_rise(lateral: Map, body: Body) -> Map:
    """How far the diaphragm stands above the costophrenic angle."""
    from_top = (lateral - 0.42 * body.thorax) / (0.62 * body.thorax)
    rise: Map = np.maximum(1 - from_top * from_top, 0) * body.dome
    return rise


def soft(depth: Map, width: float) -> Map:
    """0 outside to 1 inside a border of `width` body units: a smooth step, half at depth 0."""
    step = depth * (1 / width)
    step += 0.5
    np.maximum(step, 0, out=step)
    np.minimum(step, 1, out=step)
    smooth = step * step
    step *= -2
    step += 3
    smooth *= step
    return smooth


def length(across: Map, down: Map) -> Map:
    """Euclidean length, element by element; `np.hypot`, safe from overflow, takes ten times as long."""
    return np.sqrt(across * across + down * down)


def smooth_noise(chance: np.random.Generator, *, waves: int, steepness: float = 1.0) -> Map:
    """A random cosine series of up to `waves` half periods a side.

    The mean of each field is 0; the expected variance over the field is 1.
    """
    order = np.arange(waves, dtype=np.float32)
    weight = (1 + np.hypot(order[:, None], order[None, :])) ** -steepness
    weight[0, 0] = 0
    coefficients = chance.standard_normal((waves, waves), dtype=np.float32) * weight
    scale = 1 / np.sqrt((weight**2).sum())
    basis = _cosines(waves)
    noise: Map = (basis @ coefficients @ basis.T) * scale
    return noise


@cache
def _cosines(waves: int) -> Map:
    """(S, waves) columns of mean square 1, orthogonal to each other."""
    position = (np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE
    order = np.arange(waves, dtype=np.float32)
    waves_at = np.cos(np.pi * position[:, None] * order[None, :]) * np.where(order > 0, np.sqrt(2), 1)
    return waves_at.astype(np.float32)


@cache
def _grid() -> tuple[Map, Map]:
    axis = (np.arange(SIZE, dtype=np.float32) + 0.5) / (SIZE / 2) - 1
    x, y = np.meshgrid(axis, axis)
    return x, y


def _coordinates(pose: Pose, chance: np.random.Generator) -> tuple[Map, Map]:
    x, y = _grid()
    x, y = x - pose.shift[0], y - pose.shift[1]
    cosine, sine = math.cos(pose.tilt) / pose.zoom, math.sin(pose.tilt) / pose.zoom
    across = cosine * x + sine * y + 0.008 * smooth_noise(chance, waves=6)
    down = cosine * y - sine * x + 0.008 * smooth_noise(chance, waves=6)
    return across, down


def _torso(across: Map, down: Map, body: Body, angle: float) -> Map:
    """Soft tissue of trunk, shoulders, neck, breasts and abdomen."""
    from_middle = np.abs(across)
    wall = 0.09 + 0.13 * body.fat
    armpit = np.clip(-0.18 - down, 0, None)
    side = (body.thorax + wall) + 2.2 * armpit
    slope = np.clip(from_middle - 0.14, 0, None)
    top = down + 0.88 - 0.42 * slope + 0.12 * slope * slope
    neck = (0.20 + 0.05 * body.fat) - from_middle
    inside = soft(np.maximum(np.minimum(side - from_middle, top), neck), 0.035)
    bulge = from_middle / (side + 0.08)
    thickness = np.sqrt(np.clip(1 - 0.8 * bulge * bulge, 0.05, 1))
    tissue = (1.35 + 0.35 * body.fat) * thickness
    tissue = tissue + 0.30 * soft(down - (angle - body.dome * 0.6), 0.25)
    if body.breast:
        tissue += _breasts(from_middle, down, body)
    covered: Map = tissue * inside
    return covered


def _breasts(from_middle: Map, down: Map, body: Body) -> Map:
    radius = 0.17 + 0.11 * body.breast
    distance = length(from_middle - 0.60 * body.thorax, down - 0.33)
    return (0.20 * body.breast + 0.05) * soft(radius - distance, 0.14)


def _heart(across: Map, down: Map, body: Body, *, centre: tuple[float, float], half_width: float) -> Map:
    """A tilted ellipse that reaches exactly `half_width` to either side of `centre`; vessels above."""
    cosine, sine = math.cos(body.heart_tilt), math.sin(body.heart_tilt)
    long_axis = half_width / math.hypot(cosine, body.heart_height * sine)
    u, v = across - (centre[0]), down - (centre[1])
    along = (cosine * u + sine * v) / long_axis
    aside = (cosine * v - sine * u) / (long_axis * body.heart_height)
    muscle = soft((1 - length(along, aside)) * half_width, 0.035)
    waist = (0.07 + 0.20 * half_width) + 0.30 * (v + 0.2) - np.abs(u)
    vessels = soft(waist, 0.04) * soft(-v, 0.1) * soft(v + 0.38, 0.15)
    return np.maximum(muscle, vessels)


def _mediastinum(middle: Map, across: Map, down: Map, body: Body, pose: Pose) -> Map:
    """Great vessels, aortic knob, hila, and the dark trachea with its two bronchi."""
    above = soft(0.25 - down, 0.3)
    vessels = soft(0.095 + 0.03 * (down + 0.3) - np.abs(middle), 0.04) * above
    knob = length(across - (0.075 + pose.turn), down + 0.30)
    dense = 0.34 * vessels + 0.28 * soft(body.aorta - knob, 0.03)
    for sign, height in ((-1.0, -0.04), (1.0, -0.08)):
        hilum = length(across - (0.15 * sign + pose.turn), (down - height) * 0.75)
        dense += 0.20 * soft(0.055 - hilum, 0.09)
    carina = -0.20
    fork = np.abs(np.abs(middle) - 0.55 * np.clip(down - carina, 0, None))
    air = soft(0.026 - fork, 0.02) * soft((carina + 0.13) - down, 0.06)
    return dense - 0.30 * air


def _spine(middle: Map, down: Map, body: Body) -> Map:
    column = soft(body.spine - np.abs(middle), 0.03)
    discs = np.cos(down * (2 * math.pi / (1.02 * body.rib_spacing)))
    density: Map = column * (0.20 + 0.07 * discs) * (1 + 0.3 * soft(down - 0.2, 0.5))
    return density


def _ribs(lateral: dict[LungSide, Map], down: Map, body: Body) -> Map:
    """Ten posterior ribs a side, sloping down from the spine, and fainter anterior ones that rise from it."""
    bones = np.zeros_like(down)
    cage = lung_width(down, body, angle=body.angle + 0.1, width=1.05, drop=-0.06)
    for side in SIDES:
        outward = lateral[side] / body.thorax
        inside = soft(cage - lateral[side], 0.02) * soft(lateral[side] - 0.05, 0.03)
        squared = outward * outward
        posterior = down - body.rib_slope * squared + 0.08 * outward
        anterior = down + 0.9 * body.rib_slope * outward - 0.15 * squared - 0.06
        front = soft(outward - 0.35, 0.25)
        bones += inside * (
            _bars(posterior, first=body.apex + 0.02, body=body, half_width=0.020)
            + 0.55 * front * _bars(anterior, first=body.apex + 0.15, body=body, half_width=0.026)
        )
    return bones * body.rib_contrast


def _bars(height: Map, *, first: float, body: Body, half_width: float) -> Map:
    """Ten bars across `height`, each denser at its rims (the cortex)."""
    phase = (height - first) / body.rib_spacing
    from_centre = np.abs(phase - np.rint(phase)) * body.rib_spacing
    bar = soft(half_width - from_centre, 0.014)
    rim = soft(0.008 - np.abs(from_centre - half_width), 0.012)
    return (bar + 0.5 * rim) * ((phase > -0.5) & (phase < 10.5))


def _clavicles(lateral: dict[LungSide, Map], down: Map, body: Body) -> Map:
    bones = np.zeros_like(down)
    for side in SIDES:
        outward = lateral[side]
        line = (body.apex + 0.22) - body.clavicle_rise * np.sin(outward * 3.2)
        shaft = soft(0.026 - np.abs(down - line), 0.02)
        bones += shaft * soft(outward - 0.08, 0.03) * soft(0.72 - outward, 0.1)
    return bones * (1.1 * body.rib_contrast + 0.05)


def _vessels(lateral: dict[LungSide, Map], down: Map, chance: np.random.Generator) -> Map:
    """Branches that leave each hilum like spokes, bend, thin out and fade towards the wall."""
    vessels = np.zeros_like(down)
    for side in SIDES:
        bend = smooth_noise(chance, waves=10, steepness=1.2)
        u, v = lateral[side] - 0.12, down + 0.05
        distance = length(u, v)
        angle = np.arctan2(v, u)
        for spokes, reach in ((5, 0.45), (9, 0.7)):
            wave = np.cos(angle * spokes + 1.1 * bend + chance.uniform(0, 6.28))
            ridge = np.clip(wave - 0.55, 0, None) * 2.2
            vessels += ridge * np.clip(1 - distance / reach, 0, 1) * (lateral[side] > 0)
    return vessels * 0.16 + 0.025 * smooth_noise(chance, waves=40, steepness=0.5)

"""Findings as they weaken the beam: each adds its own map to the healthy chest.

Cardiomegaly is not here: it is a wider heart, so the chest itself is drawn with it.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from simulations.phantom.anatomy import (
    SIGN,
    SIZE,
    Chest,
    LungSide,
    Map,
    diaphragm_rise,
    length,
    lung_depth,
    lung_width,
    smooth_noise,
    soft,
)
from simulations.phantom.findings import Finding, Findings, Name, nodule_radius

Points = npt.NDArray[np.float32]
"""(n, 2) float32: across and down, in body units."""


def draw_findings(chest: Chest, findings: Findings, chance: np.random.Generator) -> Map:
    """What `findings` add to the attenuation of `chest`; zero without findings.

    Fluid and consolidation both take the place of air, so where they overlap the denser one counts.
    """
    added: dict[str, Map] = {
        name: _DRAW[name](chest, finding, chance) for name, finding in findings.items() if name in _DRAW
    }
    nothing: Map = np.zeros((SIZE, SIZE), np.float32)
    opaque = np.maximum(added.pop("effusion", nothing), added.pop("consolidation", nothing))
    return sum(added.values(), start=opaque)


def _effusion(chest: Chest, finding: Finding, chance: np.random.Generator) -> Map:
    """Fluid that fills the base of the lung, with a meniscus that climbs the chest wall."""
    added = np.zeros((SIZE, SIZE), np.float32)
    for side in finding.sides:
        severity = finding.severity * (chance.uniform(0.6, 1.0) if finding.side == "bilateral" else 1.0)
        depth = 0.20 + 0.40 * severity
        lateral = chest.lateral(side)
        outward = np.clip(lateral / chest.body.thorax, 0, 1.1)
        level = chest.angle - depth + 0.30 * depth * (1 - outward * outward)
        level = level + 0.012 * smooth_noise(chance, waves=8)
        fluid = soft(chest.down - level, 0.05) * chest.lungs[side]
        added += fluid * (0.82 * (1 - 0.75 * chest.heart) - chest.vessels)
    return added


def _pneumothorax(chest: Chest, finding: Finding, _chance: np.random.Generator) -> Map:
    """Air between the chest wall and a shrunken lung: a dark rim without vessels, and the pleural line."""
    side = finding.sides[0]
    lateral = chest.lateral(side)
    width, drop = 0.88 - 0.26 * finding.severity, 0.11 + 0.21 * finding.severity
    depth = lung_depth(lateral, chest.down, chest.body, angle=chest.angle, side=side, width=width, drop=drop)
    outline = lung_width(chest.down, chest.body, angle=chest.angle, width=width, drop=drop) - lateral
    collapsed = soft(depth, 0.02) * chest.lungs[side]
    rim = chest.lungs[side] - collapsed
    free = chest.lungs[side] * soft(lateral - 0.1, 0.05)
    line = soft(0.010 - np.abs(outline), 0.012) * free
    return 0.08 * collapsed + 0.32 * line - rim * (chest.vessels + 0.20)


def _consolidation(chest: Chest, finding: Finding, chance: np.random.Generator) -> Map:
    """A patchy cloud with ragged borders that stays inside its lung."""
    side = finding.sides[0]
    u, v = _place(chest, finding, side)
    radius = chance.uniform(0.15, 0.22)
    stretch = chance.uniform(0.75, 1.3)
    x, y = (chest.across - u) * stretch, chest.down - v
    ragged = smooth_noise(chance, waves=24, steepness=0.8)
    cloud = soft(radius - length(x, y) + 0.045 * ragged, 0.12)
    patchy = 1 + 0.35 * smooth_noise(chance, waves=36, steepness=0.4)
    return cloud * patchy * chest.lungs[side] * (1 - 0.6 * chest.heart) * (0.53 + 0.30 * finding.severity)


def _nodule(chest: Chest, finding: Finding, chance: np.random.Generator) -> Map:
    """A ball: dense in the middle, thin at a slightly uneven rim."""
    side = finding.sides[0]
    u, v = _place(chest, finding, side)
    radius = nodule_radius(finding.severity)
    x, y = chest.across - u, chest.down - v
    squared = (x * x + y * y) / (radius * radius)
    uneven = 1 + 0.10 * smooth_noise(chance, waves=30, steepness=0.3)
    ball = np.sqrt(np.clip(1.1 - squared * uneven, 0, 1))
    return ball * chance.uniform(1.1, 1.5)


def _place(chest: Chest, finding: Finding, side: LungSide) -> tuple[float, float]:
    """(across, down) of a finding's centre, from its height and depth in the lung of this breath."""
    body = chest.body
    down = body.apex + finding.height * (chest.angle - 0.4 * body.dome - body.apex)
    wall = float(lung_width(np.full((1, 1), down, np.float32), body, angle=chest.angle)[0, 0])
    lateral = 0.10 + finding.depth * max(wall - 0.14, 0.02)
    floor = chest.angle - 0.09 - float(diaphragm_rise(np.full((1, 1), lateral, np.float32), body)[0, 0])
    return lateral * SIGN[side] + chest.pose.turn, min(down, floor)


def _device(chest: Chest, finding: Finding, chance: np.random.Generator) -> Map:
    """Metal and plastic: a box with leads, a line, a port or a tube."""
    return _DEVICES[finding.kind](chest, finding, chance)


def _pacemaker(chest: Chest, finding: Finding, chance: np.random.Generator) -> Map:
    sign = SIGN[finding.side]
    body = chest.body
    u = sign * body.thorax * (0.55 + 0.35 * finding.depth)
    v = body.apex + 0.20 + 0.30 * finding.height
    half = (0.074 + 0.020 * finding.severity, 0.060 + 0.018 * finding.severity)
    turn = chance.uniform(-0.6, 0.6)
    cosine, sine = math.cos(turn), math.sin(turn)
    x, y = chest.across - u, chest.down - v
    edge = np.maximum(np.abs(cosine * x + sine * y) / half[0], np.abs(cosine * y - sine * x) / half[1])
    box = 1.4 * soft((1 - edge) * half[1], 0.015)
    tip = (chest.heart_centre[0] + 0.5 * chest.heart_half_width, chest.heart_centre[1] + 0.08)
    return box + _wire(chest, _bezier((u, v), _vein(chest, sign), _atrium(chest), tip), 0.013, 1.1)


def _central_line(chest: Chest, finding: Finding, chance: np.random.Generator) -> Map:
    sign = SIGN[finding.side]
    outward = 0.25 + 0.55 * finding.depth
    start = (sign * outward * chest.body.thorax, chest.body.apex + chance.uniform(-0.25, 0.3))
    points = _bezier(start, _vein(chest, sign), (chest.pose.turn - 0.07, -0.4), _atrium(chest))
    return _wire(chest, points, 0.014, 1.0 + 0.2 * finding.severity)


def _port(chest: Chest, finding: Finding, chance: np.random.Generator) -> Map:
    sign = SIGN[finding.side]
    u = sign * chest.body.thorax * (0.5 + 0.3 * finding.depth)
    v = chest.body.apex + 0.25 + 0.3 * finding.height
    radius = length(chest.across - u, chest.down - v)
    size = 0.052 + 0.012 * finding.severity
    chamber = 1.3 * soft(size - radius, 0.02) - 0.25 * soft(size * 0.5 - radius, 0.02)
    above = (sign * chance.uniform(0.15, 0.3), chest.body.apex - 0.1)
    return chamber + _wire(chest, _bezier((u, v), above, _vein(chest, sign), _atrium(chest)), 0.013, 1.0)


def _endotracheal_tube(chest: Chest, finding: Finding, chance: np.random.Generator) -> Map:
    """A tube in the trachea, and the feeding tube that nearly always comes with it."""
    middle = chest.pose.turn + chest.body.scoliosis
    end = -0.34 + 0.08 * finding.severity
    tube = _bezier((middle + chance.normal(0, 0.03), -1.1), (middle, -0.8), (middle, -0.6), (middle, end))
    stomach = (middle + chance.uniform(0.12, 0.3), chest.angle + 0.12)
    feeding = _bezier((middle, -1.1), (middle + 0.03, -0.3), (middle - 0.02, 0.3), stomach)
    return _wire(chest, tube, 0.020, 0.7) + _wire(chest, feeding, 0.012, 0.9)


def _vein(chest: Chest, sign: float) -> tuple[float, float]:
    return sign * 0.22 + chest.pose.turn, chest.body.apex + 0.10


def _atrium(chest: Chest) -> tuple[float, float]:
    """Where the upper caval vein meets the heart, on the patient's right."""
    return chest.pose.turn - 0.085, 0.02


def _bezier(*controls: tuple[float, float]) -> Points:
    """(160, 2) points of the cubic curve from the first to the last of four `controls`."""
    t = np.linspace(0, 1, 160, dtype=np.float32)[:, None]
    weights = np.concatenate(((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3), axis=1)
    return (weights @ np.asarray(controls, np.float32)).astype(np.float32)


def _wire(chest: Chest, points: Points, thickness: float, density: float) -> Map:
    """A soft line of half width `thickness` body units along `points`, drawn by stamping discs."""
    rows, columns = chest.pose.to_pixels(points[:, 0], points[:, 1])
    reach = 5
    offsets = np.arange(-reach, reach + 1)
    row = np.rint(rows).astype(int)[:, None, None] + offsets[None, :, None]
    column = np.rint(columns).astype(int)[:, None, None] + offsets[None, None, :]
    distance = np.hypot(row - rows[:, None, None], column - columns[:, None, None])
    radius = thickness * chest.pose.zoom * SIZE / 2
    stamp = np.clip(radius - distance + 0.5, 0, 1).astype(np.float32)
    row, column = np.broadcast_arrays(row, column)
    seen = (row >= 0) & (row < SIZE) & (column >= 0) & (column < SIZE)
    line = np.zeros((SIZE, SIZE), np.float32)
    np.maximum.at(line, (row[seen], column[seen]), stamp[seen])
    return line * density


_Draw = Callable[[Chest, Finding, np.random.Generator], Map]

_DRAW: dict[Name, _Draw] = {
    "effusion": _effusion,
    "pneumothorax": _pneumothorax,
    "consolidation": _consolidation,
    "nodule": _nodule,
    "device": _device,
}
_DEVICES: dict[str, _Draw] = {
    "pacemaker": _pacemaker,
    "central-line": _central_line,
    "port": _port,
    "endotracheal-tube": _endotracheal_tube,
}

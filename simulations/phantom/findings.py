"""What is wrong with a chest: the findings, how severe they are and where they lie.

`severity` is from 0 (the mildest that a reader should still name) to 1. Lengths are in body units: the
radiograph is 2 units wide, about 43 cm.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

Name = Literal["cardiomegaly", "effusion", "pneumothorax", "consolidation", "nodule", "device"]
Side = Literal["left", "right", "bilateral", ""]
Zone = Literal["upper", "mid", "lower", ""]

NAMES: tuple[Name, ...] = ("cardiomegaly", "effusion", "pneumothorax", "consolidation", "nodule", "device")
ZONES: tuple[Zone, ...] = ("upper", "mid", "lower")
DEVICES = ("pacemaker", "central-line", "port", "endotracheal-tube")

ZONE_HEIGHTS = {"upper": (0.20, 0.38), "mid": (0.42, 0.60), "lower": (0.64, 0.80)}
"""Zone -> range of heights in the lung, from 0 at the apex to 1 at the costophrenic angle."""

TRUTH_COLUMNS = (
    *NAMES,
    "no_finding",
    "effusion_side",
    "pneumothorax_side",
    "consolidation_side",
    "consolidation_zone",
    "nodule_side",
    "nodule_zone",
    "device_side",
    "device_kind",
)


@dataclass(frozen=True)
class Finding:
    """One finding; sides are the patient's, so the left lies at the right of the image."""

    name: Name
    severity: float
    side: Side = ""
    zone: Zone = ""
    height: float = 0.5
    """Where it lies in the lung: 0 at the apex, 1 at the costophrenic angle."""
    depth: float = 0.5
    """Where it lies across the lung: 0 at the mediastinum, 1 at the chest wall."""
    kind: str = ""
    """One of `DEVICES`, for a device."""

    @property
    def sides(self) -> tuple[Literal["left", "right"], ...]:
        """The sides that are affected; none in the midline."""
        if self.side == "bilateral":
            return ("right", "left")
        return (self.side,) if self.side else ()


Findings = Mapping[Name, Finding]
"""The findings of one study, by name; empty for a normal chest."""


def draw_finding(name: Name, chance: np.random.Generator) -> Finding:
    """A finding of random severity, side and place."""
    severity = float(chance.beta(2.6, 1.3))
    left = bool(chance.random() < 0.5)
    side: Side = "left" if left else "right"
    if name == "cardiomegaly":
        return Finding(name, severity)
    if name == "effusion":
        return Finding(name, severity, "bilateral" if chance.random() < 0.2 else side)
    if name == "pneumothorax":
        return Finding(name, severity, side)
    if name == "device":
        return _device(severity, chance)
    zone = ZONES[int(chance.integers(3))]
    lowest, highest = ZONE_HEIGHTS[zone]
    height = float(chance.uniform(lowest, highest))
    shallow = 0.5 if side == "left" and zone != "upper" else 0.3
    return Finding(name, severity, side, zone, height, float(chance.uniform(shallow, 0.85)))


def _device(severity: float, chance: np.random.Generator) -> Finding:
    kind = str(chance.choice(DEVICES, p=(0.4, 0.25, 0.2, 0.15)))
    if kind == "endotracheal-tube":
        return Finding("device", severity, kind=kind)
    usual: Side = "left" if kind == "pacemaker" else "right"
    other: Side = "right" if kind == "pacemaker" else "left"
    side = usual if chance.random() < 0.65 else other
    return Finding(
        "device", severity, side, height=float(chance.random()), depth=float(chance.random()), kind=kind
    )


def cardiothoracic_ratio(findings: Findings, healthy: float) -> float:
    """Heart width over thorax width: `healthy` (below 0.5), or 0.55 to 0.72 with cardiomegaly."""
    heart = findings.get("cardiomegaly")
    return healthy if heart is None else 0.55 + 0.17 * heart.severity


def nodule_radius(severity: float) -> float:
    """Body units; 0.052 to 0.082, which is a diameter of 22 to 35 mm."""
    return 0.052 + 0.030 * severity


def truth_row(findings: Findings) -> list[str]:
    """The values of `TRUTH_COLUMNS`: "1" or "0" for a finding, words for sides, zones and the device."""
    places: dict[str, str] = {}
    for name, finding in findings.items():
        places |= {f"{name}_side": finding.side, f"{name}_zone": finding.zone, f"{name}_kind": finding.kind}
    present: dict[str, str] = {name: str(int(name in findings)) for name in NAMES}
    present["no_finding"] = str(int(not findings))
    return [present.get(column, places.get(column, "")) for column in TRUTH_COLUMNS]

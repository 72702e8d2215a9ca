"""Who the phantom hospitals are: machines, house styles, what their patients have, how many come."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from simulations.phantom.findings import NAMES, Name
from simulations.phantom.randomness import stream
from simulations.phantom.scanner import Scanner
from simulations.phantom.wording import STYLES, HouseStyle, house_style

BANK = "public-bank"

HOSPITAL_NAMES = (
    "lakeside",
    "st-brigid",
    "harbour-general",
    "northfield",
    "elm-park",
    "queen-maud",
    "riverbend",
    "stonegate",
    "westmoor",
    "san-telmo",
    "birch-hill",
    "old-mill",
    "saint-clair",
    "highmarsh",
    "ferry-lane",
    "amberley",
    "monte-verde",
    "kestrel-bay",
    "larkspur",
    "ironbridge",
    "valley-cross",
    "white-sands",
    "orchard-row",
    "tarn-view",
)


@dataclass(frozen=True)
class Hospital:
    """One hospital; `prevalence` is the share of its abnormal chests with each finding."""

    name: str
    scanner: Scanner
    style: HouseStyle
    normal_share: float
    prevalence: Mapping[Name, float]
    bedside_share: float
    """Share of AP views."""
    num_studies: int


@dataclass(frozen=True)
class _Specialty:
    normal_share: float
    bedside_share: float
    common: tuple[Name, ...]
    rare: tuple[Name, ...] = ()


_SPECIALTIES = (
    _Specialty(0.32, 0.15, ("consolidation",), ("device",)),  # a general hospital
    _Specialty(0.18, 0.10, ("nodule", "effusion"), ("pneumothorax",)),  # an oncology centre
    _Specialty(0.12, 0.60, ("device", "pneumothorax"), ("nodule",)),  # an intensive care unit
    _Specialty(0.25, 0.20, ("cardiomegaly", "effusion"), ("nodule",)),  # a heart centre
    _Specialty(0.28, 0.30, ("pneumothorax", "consolidation"), ("cardiomegaly",)),  # a trauma centre
    _Specialty(0.38, 0.05, ("nodule", "cardiomegaly"), ("effusion",)),  # a screening service
    _Specialty(0.20, 0.35, ("consolidation", "device"), ("nodule",)),  # care of the elderly
)

_USUAL, _COMMON, _RARE = 0.23, 0.43, 0.09

# fmt: off
_SCANNERS = (
    Scanner("Lumina", "DR-500", "DX", "MONOCHROME2", "explicit", None, 1, gamma=1.0, contrast=0.30,
            noise=0.030, blur=0.7, scatter=0.05, edges=0.3, vignette=0.04, collimation=(0, 8), grid=0.0,
            grid_period=4.0, marker="L", marker_height=0.08, range=(120, 3900), exposure_spread=0.05),
    Scanner("Okuda", "CR 85", "CR", "MONOCHROME1", "implicit", (1.0, -1024.0), 1, gamma=1.25, contrast=0.0,
            noise=0.055, blur=1.1, scatter=0.12, edges=0.0, vignette=0.10, collimation=(4, 16), grid=0.0,
            grid_period=4.0, marker="R", marker_height=0.10, range=(300, 3500), exposure_spread=0.09),
    Scanner("Brandt", "Mobil X", "DX", "MONOCHROME2", "rle", None, 2, gamma=0.80, contrast=0.15,
            noise=0.065, blur=0.9, scatter=0.20, edges=0.5, vignette=0.07, collimation=(0, 0), grid=0.030,
            grid_period=3.3, marker="", marker_height=0.1, range=(60, 4000), exposure_spread=0.11),
    Scanner("Okuda", "CR 30", "CR", "MONOCHROME2", "explicit", (0.5, 0.0), 1, gamma=0.95, contrast=0.70,
            noise=0.040, blur=1.3, scatter=0.08, edges=0.8, vignette=0.03, collimation=(6, 22), grid=0.0,
            grid_period=4.0, marker="L", marker_height=0.80, range=(200, 3700), exposure_spread=0.07),
    Scanner("Helvia", "Radiant 2", "DX", "MONOCHROME1", "rle", None, 1, gamma=1.10, contrast=0.45,
            noise=0.035, blur=0.6, scatter=0.04, edges=0.1, vignette=0.02, collimation=(0, 12), grid=0.018,
            grid_period=5.6, marker="R", marker_height=0.14, range=(0, 4095), exposure_spread=0.06),
)
# fmt: on


def hospitals_of(*, hospitals: int, studies: int, seed: int) -> list[Hospital]:
    """`hospitals` unlike hospitals with `studies` studies on average, from 0.6 to 1.4 times that."""
    sizes = _sizes(hospitals, studies, stream(seed, "sizes"))
    return [_hospital(index, size, seed) for index, size in enumerate(sizes)]


def hospital_name(index: int) -> str:
    """The name of hospital `index`; the list starts over with numbers when it is used up."""
    name = HOSPITAL_NAMES[index % len(HOSPITAL_NAMES)]
    again = index // len(HOSPITAL_NAMES)
    return f"{name}-{again + 1}" if again else name


def _hospital(index: int, num_studies: int, seed: int) -> Hospital:
    name = hospital_name(index)
    chance = stream(seed, name, "character")
    specialty = _SPECIALTIES[index % len(_SPECIALTIES)]
    usual = dict.fromkeys(NAMES, _USUAL)
    usual |= dict.fromkeys(specialty.common, _COMMON) | dict.fromkeys(specialty.rare, _RARE)
    prevalence = {finding: float(share * chance.uniform(0.85, 1.15)) for finding, share in usual.items()}
    return Hospital(
        name=name,
        scanner=_worn(_SCANNERS[index % len(_SCANNERS)], chance),
        style=house_style(STYLES[index % len(STYLES)], chance),
        normal_share=specialty.normal_share,
        prevalence=prevalence,
        bedside_share=specialty.bedside_share,
        num_studies=num_studies,
    )


def _worn(scanner: Scanner, chance: np.random.Generator) -> Scanner:
    """The same model in another hospital: a little noisier or softer, set up a little differently."""
    return replace(
        scanner,
        gamma=float(scanner.gamma * chance.uniform(0.93, 1.07)),
        noise=float(scanner.noise * chance.uniform(0.8, 1.2)),
        blur=float(scanner.blur * chance.uniform(0.85, 1.15)),
        marker_height=float(np.clip(scanner.marker_height + chance.uniform(-0.03, 0.03), 0.06, 0.85)),
    )


def _sizes(hospitals: int, studies: int, chance: np.random.Generator) -> list[int]:
    """Sizes from 0.6 to 1.4 times `studies`, shuffled, whose sum is exactly `hospitals * studies`."""
    above = np.rint(np.linspace(0.4, 0, hospitals // 2, endpoint=False) * studies).astype(int)
    extra = np.concatenate((above, -above, np.zeros(hospitals % 2, int)))
    return [int(studies + more) for more in chance.permutation(extra)]

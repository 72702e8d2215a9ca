"""The measured process of the masking benchmark: how far the resident set grows while an update is masked."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import psutil

from common.secagg.masks import MaskKeys, mask_planes
from common.update import Profile, ProfileName, pack
from simulations.benchmarks.fresh import peak_bytes

MASKS = 10
"""Of a federation of ten: one of its own and nine that are agreed."""


def growth_while_masking(parameters: int, name: ProfileName) -> int:
    """Bytes of the highest resident set while masking above the one before."""
    profile = Profile.named(name, sites=MASKS)
    planes = pack(np.ones(parameters, np.int16), profile)
    keys = MaskKeys(tuple(os.urandom(32) for _ in range(MASKS)), ())
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from what is resident now
    before = psutil.Process().memory_info().rss
    mask_planes(planes, keys)
    return peak_bytes() - before


def main() -> None:
    """PARAMETERS PROFILE RESULT: write the growth in bytes to RESULT."""
    parameters, name, result = sys.argv[1:]
    known: dict[str, ProfileName] = {"wide": "wide", "thin": "thin"}
    growth = growth_while_masking(int(parameters), known[name])
    Path(result).write_text(json.dumps({"growth": growth}))

"""A small federation to time: hospitals of noise images and short reports, a model that trains in moments.

What is learned means nothing; engines are compared by what they add to the same work.
"""

from pathlib import Path

import numpy as np

from common.imaging.preparation import Preparation
from common.spec.run import Spec, parse_spec
from common.store import Row, Split, write_store

IMAGE_SIZE = 32
PREPARATION = Preparation(image_size=IMAGE_SIZE, burned_in="keep")
PAIRS = 24
"""Training pairs of one hospital."""
REPORTS = (
    "The lungs are clear. The heart is normal in size.",
    "There is a left pleural effusion. No pneumothorax.",
    "Consolidation in the right lower zone.",
    "The heart is enlarged. A pacemaker is in place.",
)


def small_spec(*, sites: int, rounds: int, local_steps: int) -> Spec:
    """The spec that every engine runs: all sites must answer, nothing is judged between rounds."""
    return parse_spec(
        {
            "name": "engine-benchmark",
            "model": {
                "image_size": IMAGE_SIZE,
                "embedding_width": 32,
                "image": {"encoder": "vit", "width": 32, "depth": 2, "heads": 4, "patch_pixels": 8},
                "text": {"width": 32, "depth": 1, "heads": 4, "max_tokens": 24, "vocabulary_size": 256},
            },
            "objectives": {"global_contrastive": {}},
            "data": {"batch_size": 8, "anchor_pairs": 0, "images": {"burned_in": "keep"}},
            "train": {"local_steps": local_steps, "precision": "fp32", "threads": 1},
            "federation": {"rounds": rounds, "min_sites": sites},
            "privacy": {"mode": "none"},
            "secure_aggregation": {"mode": "off"},
            "evaluation": {"every_rounds": rounds, "retrieval": False, "bootstrap_draws": 100},
        },
        where="engine benchmark",
    )


def small_stores(folder: Path, *, sites: int) -> dict[str, Path]:
    """Site name -> a store under `folder`; the same bytes on every call."""
    stores = {f"site-{number:02d}": folder / f"site-{number:02d}" for number in range(1, sites + 1)}
    for number, (name, store) in enumerate(stores.items()):
        noise = np.random.default_rng(number)
        write_store(
            store, name=name, preparation=PREPARATION, rows=[_row(i, noise) for i in range(PAIRS + 2)]
        )
    return stores


def _row(number: int, noise: np.random.Generator) -> Row:
    others: dict[int, Split] = {PAIRS: "validation", PAIRS + 1: "test"}
    return Row(
        instance=f"i{number}",
        study=f"s{number}",
        patient=f"p{number}",
        image=noise.integers(0, 256, (1, IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8),
        modality="CR",
        view="PA",
        split=others.get(number, "train"),
        sections={"findings": REPORTS[number % len(REPORTS)]},
    )

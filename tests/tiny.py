"""A tiny federation to test with: stores of synthetic 16-pixel images, a spec, a project.

The finding is a bright patch on the left or the right, and the report says which; a patient has two studies.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from common.imaging.preparation import Preparation
from common.messages import Instruction
from common.project import Project
from common.spec.run import Spec, parse_spec
from common.store import Row, Split, Store, write_labels, write_store
from server.checkpoint import fresh_global_state

IMAGE_SIZE = 16
PREPARATION = Preparation(image_size=IMAGE_SIZE, burned_in="keep")
SITES = ("east", "north", "west")

SETTINGS: dict[str, Any] = {
    "name": "tiny",
    "seed": 7,
    "model": {
        "image_size": IMAGE_SIZE,
        "embedding_width": 8,
        "image": {"encoder": "vit", "width": 8, "depth": 1, "heads": 2, "patch_pixels": 4},
        "text": {"width": 8, "depth": 1, "heads": 2, "max_tokens": 24, "vocabulary_size": 512},
    },
    "objectives": {
        "global_contrastive": {},
        "masked_image": {"decoder_width": 8, "decoder_heads": 2},
        "masked_language": {},
    },
    "data": {"batch_size": 6, "anchor_pairs": 2, "images": {"burned_in": "keep"}},
    "train": {"local_steps": 2, "precision": "fp32"},
    "federation": {"rounds": 3, "min_sites": 2, "reply_timeout_seconds": 60},
    "privacy": {"mode": "none"},
    "secure_aggregation": {"mode": "off"},
    "evaluation": {
        "bootstrap_draws": 100,
        "zero_shot": [
            {
                "name": "opacity",
                "label": "opacity",
                "positive_prompts": ["opacity on the left", "opacity on the right"],
                "negative_prompts": ["the lungs are clear"],
            }
        ],
    },
}

REPORTS = ("The lungs are clear. The heart is normal.", "Opacity on the left.", "Opacity on the right.")


def settings(**changes: Any) -> dict[str, Any]:
    """`SETTINGS` with some of them changed; a key is a dotted path with `__` for the dot."""
    changed = copy.deepcopy(SETTINGS)
    for path, value in changes.items():
        *tables, key = path.split("__")
        table = changed
        for name in tables:
            table = table.setdefault(name, {})
        table[key] = value
    return changed


def tiny_spec(**changes: Any) -> Spec:
    """The tiny spec; see `settings`."""
    return parse_spec(settings(**changes), where="tiny.toml")


def tiny_row(number: int, finding: int, split: Split, *, size: int, noise: np.random.Generator) -> Row:
    """One study of patient `number // 2`; `finding` is 0 none, 1 left, 2 right."""
    image = noise.integers(0, 90, (1, size, size), dtype=np.uint8)
    if finding:
        side = slice(0, size // 2) if finding == 1 else slice(size // 2, size)
        image[0, size // 4 : size // 2, side] += np.uint8(150)
    return Row(
        instance=f"i{number}",
        study=f"s{number}",
        patient=f"p{number // 2}",
        image=image,
        modality="CR",
        view="PA",
        split=split,
        sections={"findings": REPORTS[finding]},
    )


def tiny_store(folder: Path, *, seed: int = 0, rows: int = 20, size: int = IMAGE_SIZE) -> Store:
    """A store of `rows` studies, of ten 6 for training, 2 for validation and 2 for testing, with labels."""
    noise = np.random.default_rng(seed)
    findings = [(number // 2 + number % 2) % 3 for number in range(rows)]
    splits: list[Split] = ["train", "train", "train", "validation", "test"]
    write_store(
        folder,
        name=folder.name,
        preparation=PREPARATION.model_copy(update={"image_size": size}),
        rows=(
            tiny_row(number, finding, splits[number // 2 % 5], size=size, noise=noise)
            for number, finding in enumerate(findings)
        ),
    )
    labels = {"row": pa.array(range(rows), pa.int32()), "opacity": [str(int(f > 0)) for f in findings]}
    write_labels(folder, pa.table(labels))
    return Store(folder)


def stir(model: nn.Module) -> None:
    """Move every weight a little at random, as training would: fresh blocks start as the identity."""
    chance = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn(weight.shape, generator=chance)


def node_config(project: Project, stores: Mapping[str, Store], site: str, bank: Store) -> dict[str, str]:
    """What the node of `site` is started with."""
    return {
        "site": site,
        "store": str(stores[site].folder),
        "project": str(project.folder),
        "bank": str(bank.folder),
    }


def first_instruction(project: Project) -> Instruction:
    """What the hub says in round 1."""
    state = fresh_global_state(project)
    return Instruction(
        round=1,
        project=project.digest,
        model=project.layout.digest(state.weights),
        weights=state.weights,
        clips=state.clips,
    )

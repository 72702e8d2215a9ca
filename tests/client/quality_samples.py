"""A store in good order, and ways to plant one defect in it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from common.imaging.preparation import Preparation
from common.store import Images, Row, Split, Store, write_store

SIZE = 64
ROWS = 60
SPLITS: tuple[Split, ...] = ("train", "train", "train", "validation", "test")
SIDES = ("left", "right")
SITES = ("upper lobe", "lower lobe", "hilum", "apex", "base")
SIGNS = (
    "An opacity",
    "A nodule",
    "A small effusion",
    "Consolidation",
    "A calcified granuloma",
    "Atelectasis",
)


@cache
def chest(number: int) -> Images:
    """(SIZE, SIZE) a drawn chest of a person of his own build: dark lungs beside a bright middle."""
    chance = np.random.default_rng(number)
    down, across = (np.mgrid[0:SIZE, 0:SIZE] + 0.5) / SIZE
    across = across + chance.uniform(-0.04, 0.04) + chance.uniform(-0.05, 0.05) * down
    down = down + chance.uniform(-0.06, 0.06)
    picture = np.full((SIZE, SIZE), chance.uniform(90, 130))
    picture[(down < 0.22) & (np.abs(across - 0.5) > 0.22 + down)] = 15
    for middle in (0.3, 0.7):
        wide, high = chance.uniform(0.13, 0.18), chance.uniform(0.26, 0.34)
        picture[((across - middle) / wide) ** 2 + ((down - 0.45) / high) ** 2 < 1] = chance.uniform(35, 60)
    picture[(np.abs(across - 0.5) < chance.uniform(0.06, 0.1)) | (down > 0.82)] = chance.uniform(170, 200)
    heart = ((across - 0.56) / chance.uniform(0.12, 0.2)) ** 2 + ((down - 0.63) / 0.15) ** 2 < 1
    picture[heart] = chance.uniform(160, 200)
    for _ in range(6):  # ribs, vessels, whatever tells one person from another
        at, spread = chance.uniform(0.1, 0.9, 2), chance.uniform(0.03, 0.08, 2)
        blob = ((across - at[0]) / spread[0]) ** 2 + ((down - at[1]) / spread[1]) ** 2 < 1
        picture[blob] += chance.uniform(-45, 45)
    return np.clip(picture + chance.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)


def report(number: int) -> str:
    """A report that no other of the first sixty says."""
    sign, site = SIGNS[number % 6], SITES[number // 6 % 5]
    other = SITES[(number // 6 + 1 + number // 30) % 5]
    return (
        f"{sign} in the {SIDES[number // 30 % 2]} {site}. The {other} is clear. The heart is normal in size."
    )


def rows() -> list[Row]:
    """Sixty radiographs of thirty patients, each with its report; of five patients three are trained on."""
    return [
        Row(
            instance=f"i{number}",
            study=f"s{number}",
            patient=f"p{number // 2}",
            image=chest(number)[None],
            modality="CR",
            view="PA",
            split=SPLITS[number // 2 % 5],
            sections={"findings": report(number)},
        )
        for number in range(ROWS)
    ]


Plant = Callable[[Row, int], Row]
"""A row, and the number of defects planted before it, to the row with its defect."""


def planted(folder: Path, plant: Plant | None = None, *, at: Sequence[int] = ()) -> Store:
    """The store of `rows`, those `at` the given places replaced by what `plant` makes of them."""
    made = rows()
    for turn, place in enumerate(at):
        assert plant is not None
        made[place] = plant(made[place], turn)
    preparation = Preparation(image_size=SIZE, burned_in="keep")
    write_store(folder, name="lakeside", preparation=preparation, rows=made)
    return Store(folder)


def repainted(paint: Callable[[Images], Images]) -> Plant:
    """Change the image: `paint` gets and gives (SIZE, SIZE)."""
    return lambda row, _: replace(row, image=np.ascontiguousarray(paint(_pixels(row)))[None])


def reworded(text: str) -> Plant:
    """Replace the report."""
    return lambda row, _: replace(row, sections={"findings": text})


def _pixels(row: Row) -> Images:
    assert row.image is not None
    return row.image[0]

"""A tiny hospital for attacks: ordinary patients, and after them those who try to be noticed."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from common.imaging.preparation import Preparation
from common.store import Images, Row, Store, write_store

SITE = "audit"
ORDINARY = 12
SIZE = 32
REPORTS = ("The lungs are clear.", "Opacity on the left. No effusion.", "The heart is enlarged.")
ADVERSARIES = ("black", "white", "noise", "stripes", "twin", "speechless", "thirty studies")


def audit_store(folder: Path, *, hostile: Sequence[str] = (), seed: int = 0) -> Store:
    """The store; ordinary patients in the order of their pseudonyms, the `hostile` of ADVERSARIES after them.

    Two stores that differ in one hostile patient differ in nothing else. Another `seed` gives other people.
    """
    preparation = Preparation(image_size=SIZE, burned_in="keep")
    rows = [*_ordinary(seed), *(row for kind in hostile for row in _rows_of(kind))]
    write_store(folder, name=SITE, preparation=preparation, rows=rows)
    return Store(folder)


def _ordinary(seed: int) -> Iterator[Row]:
    chance = np.random.default_rng(seed)
    for patient in range(ORDINARY):
        for study in range(1 + patient % 2):
            yield _row(f"a{patient:02d}", study, _image(chance), REPORTS[patient % len(REPORTS)])


def _rows_of(kind: str) -> Iterator[Row]:
    place = ADVERSARIES.index(kind)
    for study, (image, report) in enumerate(_hostile(kind, np.random.default_rng(1 + place))):
        yield _row(f"z{place:02d}", study, image, report)


def _hostile(kind: str, chance: np.random.Generator) -> list[tuple[Images, str]]:
    black = np.zeros((1, SIZE, SIZE), np.uint8)
    stripes = np.broadcast_to(np.arange(SIZE, dtype=np.uint8) % 2 * 255, (1, SIZE, SIZE)).copy()
    return {
        "black": [(black, "no no no no no no no no")],
        "white": [(black + 255, REPORTS[0])],
        "noise": [(_image(chance, 256), "zebra quagga okapi.")],
        "stripes": [(stripes, REPORTS[1])],
        "twin": [(_image(np.random.default_rng(0)), REPORTS[1])],
        "speechless": [(_image(chance), "")],
        "thirty studies": [(_image(chance), REPORTS[study % 3]) for study in range(30)],
    }[kind]


def _image(chance: np.random.Generator, levels: int = 180) -> Images:
    return chance.integers(0, levels, (1, SIZE, SIZE)).astype(np.uint8)


def _row(patient: str, number: int, image: Images, report: str) -> Row:
    return Row(
        instance=f"{patient}i{number}",
        study=f"{patient}s{number:02d}",
        patient=patient,
        image=image,
        modality="CR",
        view="PA",
        split="train",
        sections={"findings": report} if report else {},
    )

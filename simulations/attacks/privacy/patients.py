"""A tiny hospital for attacks: ordinary patients, and after them those who try to be noticed."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common.imaging.preparation import Preparation
from common.store import Images, Row, Store, write_store

SITE = "audit"
ORDINARY = 12
SIZE = 32
REPORTS = ("The lungs are clear.", "Opacity on the left. No effusion.", "The heart is enlarged.")
ADVERSARIES = ("black", "white", "noise", "stripes", "twin", "speechless", "thirty studies")


def audit_store(folder: Path) -> Store:
    """The store; training patients in the order of their pseudonyms, the hostile ones last."""
    write_store(folder, name=SITE, preparation=Preparation(image_size=SIZE, burned_in="keep"), rows=_rows())
    return Store(folder)


def _rows() -> Iterator[Row]:
    chance = np.random.default_rng(0)
    number = 0
    for patient in range(ORDINARY):
        for _ in range(1 + patient % 2):
            yield _row(number, f"a{patient:02d}", _image(chance), REPORTS[patient % len(REPORTS)])
            number += 1
    for place, kind in enumerate(ADVERSARIES):
        for image, report in _hostile(kind, chance):
            yield _row(number, f"z{place:02d}", image, report)
            number += 1


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


def _row(number: int, patient: str, image: Images, report: str) -> Row:
    return Row(
        instance=f"i{number}",
        study=f"s{number}",
        patient=patient,
        image=image,
        modality="CR",
        view="PA",
        split="train",
        sections={"findings": report} if report else {},
    )

"""Each planted defect is found, and found alone; a store in good order passes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from quality_samples import ROWS, Plant, planted, repainted, reworded

from client.ingest.quality.gate import checks
from client.ingest.quality.language import OTHER_SCRIPT, UNDECIDED, language_of
from client.ingest.quality.measure import measure
from common.spec.quality import QualitySpec
from common.store import Row

SEVERAL = (1, 6, 13, 20, 27, 34, 41, 48, 55)
"""Places of the planted defects: every split has some."""


def _spanish(row: Row, turn: int) -> Row:
    sign = ("nódulo", "derrame", "quiste", "aire", "edema", "drenaje", "catéter", "nivel", "engrosamiento")[
        turn
    ]
    return replace(row, sections={"findings": f"No se observa {sign} en el pulmón. El corazón es normal."})


def _named(row: Row, turn: int) -> Row:
    return replace(row, sections={"findings": f"Seen by Dr. Quintanilla. {row.sections['findings']}"})


def _empty(row: Row, turn: int) -> Row:
    return replace(row, sections={"findings": " "})


def _moved(row: Row, turn: int) -> Row:
    return replace(row, split="test" if row.split == "train" else "train")


def _postage_stamp(image: np.ndarray) -> np.ndarray:
    square = np.zeros_like(image)
    square[20:40, 24:40] = image[20:40, 24:40] | 16
    return square


STRICTER = QualitySpec(max_template_share=0.1, max_identifier_suspect_share=0.1)
DEFECTS: dict[str, tuple[Plant, set[str]]] = {
    "inverted": (repainted(lambda image: 255 - image), {"max_position_suspect_share"}),
    "upside down": (repainted(lambda image: image[::-1, ::-1]), {"max_position_suspect_share"}),
    "on its left side": (repainted(lambda image: np.rot90(image)), {"max_position_suspect_share"}),
    "on its right side": (repainted(lambda image: np.rot90(image, 3)), {"max_position_suspect_share"}),
    "blank": (repainted(lambda image: np.full_like(image, 77)), {"max_blank_share"}),
    "postage stamp": (repainted(_postage_stamp), {"max_blank_share"}),
    "one form": (reworded("Lungs: normal. Heart: normal. Pleura: normal."), {"max_template_share"}),
    "spanish": (_spanish, {"max_foreign_share"}),
    "a name": (_named, {"max_identifier_suspect_share"}),
    "no text": (_empty, {"max_empty_report_share"}),
    "patient in two splits": (_moved, {"max_cross_split_patients"}),
}


def failed(folder: Path, plant: Plant | None = None, *, at: tuple[int, ...] = ()) -> set[str]:
    """Keys of the thresholds that the store fails, at the defaults but for two that are stricter."""
    quality = measure(planted(folder, plant, at=at))
    return {check.key for check in checks(quality, STRICTER) if not check.passed}


def test_a_store_in_good_order_passes_and_nothing_in_it_is_suspicious(tmp_path: Path) -> None:
    quality = measure(planted(tmp_path))
    assert failed(tmp_path) == set()
    assert quality.stages.pairs == quality.stages.images == quality.texts.reports == ROWS
    assert quality.images.positions == {}
    assert (quality.images.blank, quality.images.small, quality.images.text_in_pixels) == ((), (), ())
    assert quality.duplicates.same_picture == quality.duplicates.same_picture_other_patient == 0
    assert quality.duplicates.leaked == quality.spread.patients_in_two_splits == ()
    assert quality.texts.languages == {"en": ROWS}
    assert quality.texts.identifier_suspects == {}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_planted_defect_fails_its_threshold_and_no_other(tmp_path: Path, defect: str) -> None:
    plant, keys = DEFECTS[defect]
    assert failed(tmp_path, plant, at=SEVERAL) == keys


@pytest.mark.parametrize("defect", ["inverted", "upside down", "on its left side", "on its right side"])
def test_each_turned_radiograph_is_named_and_no_other(tmp_path: Path, defect: str) -> None:
    quality = measure(planted(tmp_path, DEFECTS[defect][0], at=SEVERAL))
    (rows,) = quality.images.positions.values()
    assert rows == SEVERAL
    words = {"on its left side": "to the left", "on its right side": "to the right"}
    assert words.get(defect, defect) in next(iter(quality.images.positions))


def test_a_hospital_whose_images_are_all_inverted_is_found(tmp_path: Path) -> None:
    store = planted(tmp_path, repainted(lambda image: 255 - image), at=range(ROWS))
    assert len(measure(store).images.positions["inverted"]) > 0.9 * ROWS


def test_a_picture_of_another_patient_is_found_with_its_leak(tmp_path: Path) -> None:
    first = planted(tmp_path / "plain").images[0]
    plant: Plant = lambda row, _: replace(row, image=np.array(first))  # noqa: E731  # one line, used here
    store = planted(tmp_path / "copied", plant, at=(6, 8, 20))
    duplicates = measure(store).duplicates
    splits = store.column("split")
    assert duplicates.same_pixels == duplicates.same_pixels_other_patient == 3
    assert duplicates.same_picture == 0
    assert duplicates.same_picture_other_patient == 3
    assert set(duplicates.leaked) == {row for row in (0, 6, 8, 20) if splits[row] != "train"} != set()
    assert duplicates.across_patients == ((0, 6),)


def test_another_export_of_a_picture_is_a_copy_but_not_of_the_same_pixels(tmp_path: Path) -> None:
    first = planted(tmp_path / "plain").images[0]
    brighter = (first * 0.8 + 30).astype(np.uint8)
    plant: Plant = lambda row, _: replace(row, image=brighter)  # noqa: E731  # one line, used here
    duplicates = measure(planted(tmp_path / "copied", plant, at=(1,))).duplicates
    assert duplicates.same_pixels == duplicates.same_picture_other_patient == 0
    assert duplicates.same_picture == 1
    assert duplicates.leaked == ()


def test_single_defects_are_counted_each_under_its_own_name(tmp_path: Path) -> None:
    quality = measure(planted(tmp_path, _named, at=(4,)))
    assert quality.texts.identifier_suspects == {"NAME": (4,)}
    quality = measure(planted(tmp_path, _spanish, at=(4,)))
    assert quality.texts.language_rows == {"es": (4,)}
    quality = measure(planted(tmp_path, _moved, at=(4,)))
    assert quality.spread.patients_in_two_splits == (4,)


def test_a_report_of_a_study_of_several_images_counts_once(tmp_path: Path) -> None:
    def joined(row: Row, turn: int) -> Row:
        return replace(row, study="s0", sections={"findings": "Small effusion on the left."})

    quality = measure(planted(tmp_path, joined, at=(0, 1, 2)))
    assert quality.texts.reports == quality.stages.reports == ROWS - 2
    assert quality.texts.repeated == quality.texts.repeated_form == 0


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "No pleural effusion. The heart is normal."),
        ("en", "Chest radiograph shows bilateral infiltrates in both lungs"),
        ("en", "Sacrococcygeal teratoma visible in superior aspect of uterus."),
        ("en", "Non contrast CT- multiple low density solid hepatic masses"),
        ("de", "Kein Pleuraerguss. Herz normal groß, keine Stauung."),
        ("fr", "Pas d'épanchement pleural. La silhouette cardiaque est normale."),
        ("es", "No se observa derrame pleural. Silueta cardiaca de tamaño normal."),
        ("it", "Non versamento pleurico. Ombra cardiaca nei limiti della norma."),
        ("nl", "Geen pleuravocht. Het hart is niet vergroot."),
        ("pt", "Não há derrame pleural. O coração tem dimensões normais."),
        (OTHER_SCRIPT, "Плевральный выпот не определяется."),
        (UNDECIDED, "COVID-19."),
        (UNDECIDED, "12 x 14 mm"),
        (UNDECIDED, ""),
    ],
)
def test_languages_are_told_apart(language: str, text: str) -> None:
    assert language_of(text) == language

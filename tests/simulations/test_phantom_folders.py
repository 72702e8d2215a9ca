"""Phantom hospitals as a hospital's IT would find them: folders, DICOM files, tables."""

import csv
import errno
import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import RLELossless

from common.errors import ConfigurationError
from simulations.phantom import folders
from simulations.phantom.findings import NAMES, TRUTH_COLUMNS
from simulations.phantom.folders import make_hospitals

pytestmark = pytest.mark.filterwarnings("error")

Row = dict[str, str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Five hospitals, one per kind of scanner, and the bank."""
    out = tmp_path_factory.mktemp("phantom") / "hospitals"
    return make_hospitals(out, hospitals=5, studies=20, bank_studies=20, seed=3, workers=1)


def rows(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def images(folder: Path) -> list[pydicom.FileDataset]:
    return [pydicom.dcmread(path) for path in sorted((folder / "dicom").glob("*/*.dcm"))]


def digests(out: Path) -> dict[str, str]:
    files = sorted(path for path in out.rglob("*") if path.is_file())
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_gives_the_same_bytes_whatever_the_number_of_workers(tmp_path: Path) -> None:
    for name, workers in (("alone", 1), ("together", 2)):
        make_hospitals(tmp_path / name, hospitals=1, studies=20, bank_studies=20, seed=5, workers=workers)
    assert digests(tmp_path / "alone") == digests(tmp_path / "together")


def test_another_seed_gives_other_patients_and_other_pixels(tmp_path: Path, made: list[Path]) -> None:
    other = make_hospitals(tmp_path / "other", hospitals=1, studies=20, bank_studies=0, seed=4, workers=1)
    mine, theirs = images(made[0]), images(other[0])
    assert {i.PatientID for i in mine}.isdisjoint(i.PatientID for i in theirs)
    assert {i.PixelData for i in mine}.isdisjoint(i.PixelData for i in theirs)


def test_hospitals_differ_in_size_and_add_up(made: list[Path]) -> None:
    sizes = [len(rows(folder / "reports.csv")) for folder in made]
    assert sum(sizes[:-1]) == 5 * 20
    assert min(sizes[:-1]) == round(0.6 * 20)
    assert max(sizes[:-1]) == round(1.4 * 20)
    assert [folder.name for folder in made][-1] == "public-bank"


def test_reports_name_every_image_exactly_once(made: list[Path]) -> None:
    for folder in made:
        named = [uid for row in rows(folder / "reports.csv") for uid in row["sop_instance_uids"].split(" ")]
        assert sorted(named) == sorted(str(image.SOPInstanceUID) for image in images(folder))


def test_tables_have_exactly_the_promised_columns(made: list[Path]) -> None:
    for folder in made:
        reports = (folder / "reports.csv").read_text(encoding="utf-8").splitlines()[0]
        assert reports == "accession_number,patient_id,study_date,sop_instance_uids,report"
        truth = (folder / "truth.csv").read_text(encoding="utf-8").splitlines()[0]
        assert truth == ",".join(("sop_instance_uid", *TRUTH_COLUMNS))


def test_truth_has_one_row_per_image_and_no_finding_means_none(made: list[Path]) -> None:
    for folder in made:
        truth = rows(folder / "truth.csv")
        assert {row["sop_instance_uid"] for row in truth} == {str(i.SOPInstanceUID) for i in images(folder)}
        for row in truth:
            assert row["no_finding"] == str(int(all(row[name] == "0" for name in NAMES)))


def test_every_hospital_has_every_finding_and_normal_chests(made: list[Path]) -> None:
    for folder in made:
        truth = rows(folder / "truth.csv")
        for column in (*NAMES, "no_finding"):
            assert {row[column] for row in truth} == {"0", "1"}, (folder.name, column)


def test_headers_agree_with_the_reports_table(made: list[Path]) -> None:
    for folder in made:
        table = {row["accession_number"]: row for row in rows(folder / "reports.csv")}
        for path in sorted((folder / "dicom").glob("*/*.dcm")):
            image = pydicom.dcmread(path)
            row = table[path.parent.name]
            assert image.AccessionNumber == row["accession_number"]
            assert image.PatientID == row["patient_id"]
            assert image.StudyDate == row["study_date"]


def test_pixels_decode_to_twelve_bits_and_every_kind_of_machine_occurs(made: list[Path]) -> None:
    kinds: Counter[object] = Counter()
    for folder in made:
        image = images(folder)[0]
        pixels = image.pixel_array
        assert pixels.shape == (256, 256)
        assert pixels.dtype == np.uint16
        assert 500 < np.ptp(pixels) <= 4095
        kinds.update(
            (image.Modality, image.PhotometricInterpretation, image.file_meta.TransferSyntaxUID.name)
        )
        kinds["rescaled"] += image.get("RescaleSlope", 1) != 1
    assert {"CR", "DX", "MONOCHROME1", "MONOCHROME2", RLELossless.name} <= set(kinds)
    assert {"Implicit VR Little Endian", "Explicit VR Little Endian"} <= set(kinds)
    assert kinds["rescaled"]


def test_air_beside_the_neck_is_darker_than_the_spine_after_window_and_inversion(made: list[Path]) -> None:
    for folder in made:
        shown = np.mean([displayed(image) for image in images(folder)], axis=0)
        assert shown[30:50, 100:156].mean() > shown[110:130, 60:90].mean() + 0.2, folder.name
        assert 0.25 < shown.mean() < 0.75


def displayed(image: pydicom.FileDataset) -> np.ndarray:
    """(256, 256) from 0 black to 1 white, by the header's own first window."""
    values = image.pixel_array * float(image.get("RescaleSlope", 1)) + float(image.get("RescaleIntercept", 0))
    centre, width = (float(np.ravel(value)[0]) for value in (image.WindowCenter, image.WindowWidth))
    level = np.clip((values - centre) / width + 0.5, 0, 1)
    return 1 - level if image.PhotometricInterpretation == "MONOCHROME1" else level


def test_uids_are_unique_and_of_the_arc_for_uuids(made: list[Path]) -> None:
    everything = [image for folder in made for image in images(folder)]
    uids = [str(image.SOPInstanceUID) for image in everything]
    assert len(set(uids)) == len(uids)
    for uid in uids + [str(image.StudyInstanceUID) for image in everything]:
        assert uid.startswith("2.25.")
        assert pydicom.uid.UID(uid).is_valid


def test_the_bank_holds_other_patients_without_names_or_birth_dates(made: list[Path]) -> None:
    bank, hospitals = images(made[-1]), [image for folder in made[:-1] for image in images(folder)]
    assert {i.PatientID for i in bank}.isdisjoint(i.PatientID for i in hospitals)
    assert {(str(i.PatientName), i.PatientBirthDate) for i in bank} == {("", "")}
    assert len({i.ManufacturerModelName for i in bank}) == 5


def test_no_report_contains_what_the_header_says_of_the_patient(made: list[Path]) -> None:
    for folder in made[:-1]:
        text = " ".join(row["report"].upper() for row in rows(folder / "reports.csv"))
        for image in images(folder):
            family, given = str(image.PatientName).upper().split("^")
            for secret in (family, given, image.PatientID, image.AccessionNumber, image.StudyDate):
                assert secret not in text.replace(".", " ").split()


def test_some_patients_return_and_some_studies_have_two_images(tmp_path: Path) -> None:
    (folder,) = make_hospitals(tmp_path / "out", hospitals=1, studies=80, bank_studies=0, seed=0, workers=2)
    table = rows(folder / "reports.csv")
    visits = Counter(row["patient_id"] for row in table)
    assert set(visits.values()) == {1, 2}
    assert {len(row["sop_instance_uids"].split()) for row in table} == {1, 2}


def test_progress_is_told_once_per_study(tmp_path: Path) -> None:
    told: list[None] = []
    make_hospitals(
        tmp_path / "out",
        hospitals=1,
        studies=20,
        bank_studies=20,
        seed=0,
        workers=1,
        on_study=lambda: told.append(None),
    )
    assert len(told) == 40


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"hospitals": 0}, "at least 1"),
        ({"studies": 3}, "at least 20"),
        ({"bank_studies": 3}, "at least 20"),
        ({"workers": 0}, "at least 1"),
    ],
)
def test_numbers_out_of_range_are_refused_in_one_line(
    tmp_path: Path, numbers: dict[str, int], words: str
) -> None:
    good = {"hospitals": 1, "studies": 20, "bank_studies": 0, "workers": 1}
    with pytest.raises(ConfigurationError, match=words) as refusal:
        make_hospitals(tmp_path / "out", **(good | numbers), seed=0)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(ConfigurationError, match="not an empty folder"):
        make_hospitals(tmp_path, hospitals=1, studies=20, bank_studies=0, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folders, "dicom_file", full)
    with pytest.raises(ConfigurationError, match="the disk is full"):
        make_hospitals(tmp_path / "out", hospitals=1, studies=20, bank_studies=0, seed=0, workers=1)
    assert list(tmp_path.iterdir()) == []

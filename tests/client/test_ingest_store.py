import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from ingest_samples import dataset, hospital, ramp, write_dicom, write_reports

from client.ingest import build
from client.ingest.account import Account, FileCounts, ImageCounts, ReportCounts, read_account
from client.ingest.build import Target, ingest
from client.ingest.images import read_images
from client.ingest.pseudonyms import Pseudonyms
from client.ingest.rejected import REJECTED, Reason
from client.ingest.survey import Source, survey
from common.errors import ConfigurationError, InputRefusedError
from common.imaging.preparation import Preparation
from common.store import Store

SECRET = Pseudonyms(b"s" * 32)
PREPARATION = Preparation(image_size=32, burned_in="keep")


def build_store(
    dicom: Path, reports: list[Path], store: Path, *, workers: int = 1, secret: Pseudonyms = SECRET
) -> Account:
    source, target = Source(dicom, reports), Target(store, "lakeside", PREPARATION)
    return ingest(survey(source, store), target, secret, workers=workers).account


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


@pytest.fixture(scope="module")
def lakeside(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return hospital(tmp_path_factory.mktemp("lakeside"))


@pytest.fixture(scope="module")
def built(lakeside: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Account]:
    dicom, reports = lakeside
    store = tmp_path_factory.mktemp("stores") / "store"
    return store, build_store(dicom, [reports], store)


def test_every_file_and_every_report_is_accounted_for(built: tuple[Path, Account]) -> None:
    store, account = built
    assert account == Account(
        files=FileCounts(seen=14, images=12, reports=0, refused={"not_dicom": 1, "truncated": 1}),
        images=ImageCounts(with_report=6, without_report=6),
        reports=ReportCounts(read=7, paired=6, without_image=1, refused={}),
        scrubbed={},
    )
    assert account.files.dicom == 13
    assert read_account(store) == account
    assert (len(Store(store)), len(Store(store).images)) == (13, 12)
    assert pq.read_table(store / REJECTED).to_pylist() == [
        {"file": "cut.dcm", "reason": "truncated"},
        {"file": "notes.txt", "reason": "not_dicom"},
    ]


def test_each_image_stands_beside_its_own_report(built: tuple[Path, Account]) -> None:
    store = Store(built[0])
    sections = dict(zip(store.column("instance"), store.sections(), strict=True))
    for number in range(6):
        first, second = (SECRET.instance(f"1.2.{number}.{image}") for image in range(2))
        assert sections[first] == {"findings": f"Nodule of {number}.5 cm.", "impression": "Nodule."}
        assert sections[second] == {}
    assert sections[""] == {"report": "No image of this."}


def test_pixels_follow_their_instance(lakeside: tuple[Path, Path], built: tuple[Path, Account]) -> None:
    store = Store(built[0])
    row = list(store.column("instance")).index(SECRET.instance("1.2.3.1"))
    image = store.images[store.column("image")[row]]
    expected = read_images(lakeside[0] / "ACC3" / "IM1.dcm", PREPARATION)
    assert not isinstance(expected, Reason)
    np.testing.assert_array_equal(image, expected.frames[0])


def test_the_same_input_gives_the_same_bytes_whatever_the_workers(
    lakeside: tuple[Path, Path], built: tuple[Path, Account], tmp_path: Path
) -> None:
    build_store(lakeside[0], [lakeside[1]], tmp_path / "again", workers=3)
    assert contents(tmp_path / "again") == contents(built[0])


def test_file_names_do_not_matter(
    lakeside: tuple[Path, Path], built: tuple[Path, Account], tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for number, path in enumerate(sorted(lakeside[0].glob("*/*.dcm"), reverse=True)):
        shutil.copy(path, moved / f"{number:03}")
    build_store(moved, [lakeside[1]], tmp_path / "store")
    assert Store(tmp_path / "store").digest() == Store(built[0]).digest()


def test_another_secret_gives_other_names_for_everything(
    lakeside: tuple[Path, Path], built: tuple[Path, Account], tmp_path: Path
) -> None:
    build_store(lakeside[0], [lakeside[1]], tmp_path / "other", secret=Pseudonyms(b"o" * 32))
    ours, theirs = Store(built[0]), Store(tmp_path / "other")
    for column in ("instance", "study", "patient"):
        assert set(ours.column(column)) & set(theirs.column(column)) <= {""}


def test_no_header_identifier_is_in_the_store(built: tuple[Path, Account]) -> None:
    index = repr(Store(built[0]).index.to_pylist()) + (built[0] / "store.json").read_text()
    for identifier in ("MRN", "ACC", "Surname", "Given", "1.2."):
        assert identifier not in index


def test_a_patient_is_in_one_split_only(built: tuple[Path, Account]) -> None:
    store = Store(built[0])
    pairs = set(zip(store.column("patient"), store.column("split"), strict=True))
    assert len(pairs) == store.manifest.num_patients == 7


def test_images_alone_make_a_store(lakeside: tuple[Path, Path], tmp_path: Path) -> None:
    account = build_store(lakeside[0], [], tmp_path / "store")
    assert account.images == ImageCounts(with_report=0, without_report=12)


def test_a_repeated_instance_is_named_and_left_out(tmp_path: Path) -> None:
    for name in ("b.dcm", "a.dcm", "c.dcm"):
        write_dicom(tmp_path / "dicom" / name, instance="1.2.3" if name != "c.dcm" else "1.2.4")
    account = build_store(tmp_path / "dicom", [], tmp_path / "store")
    assert account.files.refused == {"duplicate_instance": 1}
    assert pq.read_table(tmp_path / "store" / REJECTED).column("file").to_pylist() == ["b.dcm"]


def test_several_reports_of_an_image_are_joined_section_by_section(tmp_path: Path) -> None:
    write_dicom(tmp_path / "dicom" / "a.dcm")
    row = {"accession_number": "A1", "patient_id": "MRN1"}
    first = write_reports(tmp_path / "1.csv", [row | {"report": "FINDINGS: One. IMPRESSION: First."}])
    second = write_reports(tmp_path / "2.csv", [row | {"report": "FINDINGS: Two."}])
    build_store(tmp_path / "dicom", [first, second], tmp_path / "store")
    assert Store(tmp_path / "store").sections() == [{"findings": "One.\nTwo.", "impression": "First."}]


def test_a_file_name_that_is_not_utf8_is_still_listed(tmp_path: Path) -> None:
    write_dicom(tmp_path / "dicom" / "a.dcm")
    (tmp_path / "dicom" / os.fsdecode(b"x\xff")).write_text("no image")
    build_store(tmp_path / "dicom", [], tmp_path / "store")
    assert pq.read_table(tmp_path / "store" / REJECTED).column("file").to_pylist() == [r"x\xff"]


def test_a_report_file_inside_the_image_folder_is_no_failed_image(tmp_path: Path) -> None:
    write_dicom(tmp_path / "a.dcm")
    reports = write_reports(tmp_path / "reports.csv", [])
    store = tmp_path.with_name(f"{tmp_path.name}-store")
    assert [path.name for path in survey(Source(tmp_path, [reports]), store).files] == ["a.dcm"]


def test_another_folder_is_never_overwritten(lakeside: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigurationError, match="is not a store"):
        build_store(lakeside[0], [], tmp_path)
    assert contents(tmp_path) == {"thesis.tex": b"years of work"}
    with pytest.raises(ConfigurationError, match="is a file"):
        build_store(lakeside[0], [], tmp_path / "thesis.tex")


def test_a_store_does_not_go_into_the_folder_that_is_read(lakeside: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigurationError, match="inside the image folder"):
        build_store(lakeside[0], [], lakeside[0] / "store")


def test_an_unusable_folder_leaves_the_old_store_as_it_was(
    built: tuple[Path, Account], tmp_path: Path
) -> None:
    store = shutil.copytree(built[0], tmp_path / "store")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputRefusedError, match="it is empty"):
        build_store(tmp_path / "empty", [], store)
    (tmp_path / "empty" / "notes.txt").write_text("no image")
    with pytest.raises(InputRefusedError, match="not_dicom 1"):
        build_store(tmp_path / "empty", [], store)
    assert contents(store) == contents(built[0])


def test_a_refusal_leaves_no_folder_behind(tmp_path: Path) -> None:
    (tmp_path / "dicom").mkdir()
    (tmp_path / "dicom" / "notes.txt").write_text("no image")
    with pytest.raises(InputRefusedError):
        build_store(tmp_path / "dicom", [], tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_what_a_killed_ingest_left_is_swept_out(
    lakeside: tuple[Path, Path], built: tuple[Path, Account], tmp_path: Path
) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / ".images.u8.abc123").write_bytes(b"half")
    (tmp_path / "store" / REJECTED).write_bytes(b"")
    build_store(lakeside[0], [lakeside[1]], tmp_path / "store")
    assert contents(tmp_path / "store") == contents(built[0])


def test_a_full_disk_is_said_plainly(
    lakeside: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(build, "write_rejected", full)
        with pytest.raises(ConfigurationError, match="full"):
            build_store(lakeside[0], [], tmp_path / "store")
    assert [path.name for path in (tmp_path / "store").iterdir()] == [".ingest"]
    build_store(lakeside[0], [], tmp_path / "store")


@pytest.mark.parametrize("name", ["", "-x", "a/b", "a b", "x" * 64, "a\n"])
def test_a_name_that_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="letters"):
        Target(Path("store"), name, PREPARATION)


def test_an_accession_of_two_patients_names_two_studies(tmp_path: Path) -> None:
    for number in (1, 2):
        made = dataset(ramp(), instance=f"1.{number}", PatientID=f"P{number}")
        (tmp_path / "dicom").mkdir(exist_ok=True)
        made.save_as(tmp_path / "dicom" / f"{number}.dcm", enforce_file_format=True)
    build_store(tmp_path / "dicom", [], tmp_path / "store")
    assert len(set(Store(tmp_path / "store").column("study"))) == 2


def test_a_film_becomes_a_row_for_each_chosen_frame(tmp_path: Path) -> None:
    film = np.stack([np.full((8, 8), 10 * number, np.uint8) for number in range(6)])
    write_dicom(tmp_path / "dicom" / "film.dcm", film, NumberOfFrames=6, Modality="US")
    write_dicom(tmp_path / "dicom" / "still.dcm", instance="1.2.9")
    preparation = PREPARATION.model_copy(update={"frames": 3})
    target = Target(tmp_path / "store", "lakeside", preparation)
    found = survey(Source(tmp_path / "dicom"), target.store)
    counts = ingest(found, target, SECRET, workers=1).account
    store = Store(tmp_path / "store")
    assert counts.images.without_report == 4
    assert sorted(store.column("frame")) == [0, 1, 3, 5]
    film_rows = store.column("modality") == "US"
    assert len(set(store.column("instance")[film_rows])) == 1
    assert store.images[store.column("image")[film_rows].astype(int)].max(axis=(1, 2, 3)).tolist() == [
        10,
        30,
        50,
    ]
    assert [marks["source_frames"] for marks in store.column("marks")[film_rows]] == [6, 6, 6]


def test_a_store_tells_days_and_comparisons_and_nobody_s_name(tmp_path: Path) -> None:
    for number, day in ((1, "20200229"), (2, "20200301")):
        write_dicom(
            tmp_path / "dicom" / f"{number}.dcm",
            instance=f"1.{number}",
            AccessionNumber=f"A{number}",
            StudyDate=day,
            PatientName="Quillfeather^Ida",
        )
    text = "FINDINGS: Clear. Unchanged nodule since 29 February 2020.\nIMPRESSION: Ms Quillfeather is well."
    reports = write_reports(tmp_path / "r.csv", [{"accession_number": "A2", "report": text}])
    account = build_store(tmp_path / "dicom", [reports], tmp_path / "store")
    assert account.scrubbed == {"DATE": 1, "NAME": 1}
    rows = Store(tmp_path / "store").index.to_pylist()
    (told,) = [row for row in rows if row["sections"]]
    assert told["instance"] == SECRET.instance("1.2")
    assert dict(told["sections"]) == {
        "findings": "Clear. Unchanged nodule since [DATE].",
        "impression": "Ms [NAME] is well.",
    }
    assert told["change"] == [("findings", [1])]
    assert sorted(row["days"] for row in rows) == [0, 1]

"""An ingest that is killed, repeated, or finds the disk full: nothing is lost, nothing is read twice."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from ingest_crashes import PREPARATION, SECRET, build, contents
from ingest_samples import hospital, write_dicom

from client.ingest import archive
from client.ingest.build import Target, ingest
from client.ingest.survey import Source, survey
from common.errors import ConfigurationError
from common.store import LABELS, Store, write_labels

CRASHES = Path(__file__).with_name("ingest_crashes.py")


@pytest.fixture
def lakeside(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Images, reports and the store made of them."""
    dicom, reports = hospital(tmp_path / "lakeside", patients=3)
    build(dicom, reports, tmp_path / "store")
    return dicom, reports, tmp_path / "store"


def files_read(monkeypatch: pytest.MonkeyPatch, dicom: Path, reports: Path, store: Path) -> list[str]:
    """Bring the store up to date; return the names of the files that were opened for it."""
    opened: list[str] = []
    read = archive.read_images

    def noted(path: Path, preparation: object) -> object:
        opened.append(path.name)
        return read(path, preparation=preparation)

    monkeypatch.setattr(archive, "read_images", noted)
    monkeypatch.setattr(archive, "read_all", lambda files, read, **_: map(read, files))
    assert build(dicom, reports, store) == len(opened)
    return opened


def test_an_unchanged_folder_is_not_read_again(
    lakeside: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(lakeside[2])
    for _ in range(2):
        assert files_read(monkeypatch, *lakeside) == []
        assert contents(lakeside[2]) == before


def test_only_what_is_new_or_changed_is_read_and_what_is_gone_is_forgotten(
    lakeside: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dicom, reports, store = lakeside
    write_dicom(dicom / "new.dcm", instance="1.2.77", PatientID="MRN7", AccessionNumber="ACC7")
    write_dicom(dicom / "ACC1" / "IM0.dcm", instance="1.2.1.0", PatientID="MRN1", AccessionNumber="ACC1")
    (dicom / "ACC2" / "IM1.dcm").unlink()
    assert files_read(monkeypatch, dicom, reports, store) == ["IM0.dcm", "new.dcm"]
    build(dicom, reports, tmp_path / "anew")
    assert contents(store) == contents(tmp_path / "anew")
    assert files_read(monkeypatch, dicom, reports, store) == []


def test_a_change_that_keeps_size_and_time_is_seen(
    lakeside: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = lakeside[0] / "ACC1" / "IM0.dcm"
    then, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 255
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(then.st_atime_ns, then.st_mtime_ns))
    assert files_read(monkeypatch, *lakeside) == ["IM0.dcm"]


def test_a_file_that_repeats_another_is_known_too_and_takes_its_place_when_that_goes(
    lakeside: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dicom, reports, store = lakeside
    shutil.copy(dicom / "ACC1" / "IM0.dcm", dicom / "zz-copy.dcm")
    write_dicom(dicom / "zz-other.dcm", instance="1.2.1.0", PatientID="MRN1")
    build(dicom, reports, store)
    refused = pq.read_table(store / "rejected.parquet").to_pylist()
    assert {"file": "zz-copy.dcm", "reason": "duplicate_instance"} in refused
    assert {"file": "zz-other.dcm", "reason": "conflicting_instance"} in refused
    assert files_read(monkeypatch, dicom, reports, store) == []
    (dicom / "ACC1" / "IM0.dcm").unlink()
    assert files_read(monkeypatch, dicom, reports, store) == []
    build(dicom, reports, tmp_path / "anew")
    assert contents(store) == contents(tmp_path / "anew")


def test_other_pixels_are_asked_for_and_every_file_is_read(lakeside: tuple[Path, Path, Path]) -> None:
    dicom, reports, store = lakeside
    target = Target(store, "lakeside", PREPARATION.model_copy(update={"image_size": 24}))
    done = ingest(survey(Source(dicom, [reports]), store), target, SECRET, workers=1)
    assert done.num_read == done.account.files.seen
    assert Store(store).images.shape[-1] == 24


def test_a_store_whose_images_were_exchanged_is_not_believed(lakeside: tuple[Path, Path, Path]) -> None:
    dicom, reports, store = lakeside
    before = contents(store)
    (store / "images.u8").write_bytes(b"")
    assert build(dicom, reports, store) > 0
    assert contents(store) == before


def test_labels_stay_while_the_rows_are_the_same(lakeside: tuple[Path, Path, Path]) -> None:
    dicom, reports, store = lakeside
    write_labels(store, pq.read_table(store / "rejected.parquet"))
    build(dicom, reports, store)
    assert (store / LABELS).exists()
    write_dicom(dicom / "new.dcm", instance="1.2.77")
    build(dicom, reports, store)
    assert not (store / LABELS).exists()


def test_the_journal_tells_nothing_of_the_headers(lakeside: tuple[Path, Path, Path]) -> None:
    work = lakeside[2] / ".ingest"
    assert work.stat().st_mode & 0o077 == 0
    for path in work.iterdir():
        assert path.stat().st_mode & 0o077 == 0
        for identifier in (b"MRN", b"ACC", b"Surname", b"Given", b"1.2.", b"IM0", b"truncated"):
            assert identifier not in path.read_bytes()


def test_two_ingests_of_one_store_do_not_meet(lakeside: tuple[Path, Path, Path]) -> None:
    dicom, reports, store = lakeside
    target = Target(store, "lakeside", PREPARATION)
    write_dicom(dicom / "new.dcm", instance="1.2.77")

    def meet(read: bool) -> None:
        if read:
            with pytest.raises(ConfigurationError, match="another ingest"):
                build(dicom, reports, store)

    assert (
        ingest(survey(Source(dicom, [reports]), store), target, SECRET, workers=1, after_file=meet).num_read
        == 1
    )


@pytest.mark.parametrize("mode", ["kill", "full"])
@pytest.mark.parametrize("stride", [pytest.param(1, marks=pytest.mark.slow), 5])
def test_wherever_an_update_ends_the_store_is_the_old_one_or_becomes_the_new_one(
    lakeside: tuple[Path, Path, Path], tmp_path: Path, mode: str, stride: int
) -> None:
    dicom, reports, store = lakeside
    write_dicom(dicom / "new.dcm", instance="1.2.77", PatientID="MRN7", AccessionNumber="ACC7")
    write_dicom(dicom / "new2.dcm", instance="1.2.78", PatientID="MRN7", AccessionNumber="ACC7")
    shutil.copy(dicom / "new.dcm", dicom / "copy.dcm")
    (dicom / "ACC2" / "IM1.dcm").unlink()
    (tmp_path / "scratch").mkdir()
    arguments = [CRASHES, mode, dicom, reports, store, tmp_path / "scratch", stride]
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=1500, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 20 // stride


@pytest.mark.slow
def test_a_killed_command_goes_on_where_it_was(tmp_path: Path) -> None:
    """Real processes, workers and all: each attempt is killed once it has kept something more."""
    dicom, reports = hospital(tmp_path, patients=150)
    command = [sys.executable, "-m", "client", "ingest", "--dicom", dicom, "--reports", reports]
    command += [
        "--name",
        "lakeside",
        "--image-size",
        "16",
        "--burned-in",
        "keep",
        "--home",
        tmp_path / "home",
    ]

    def run(store: Path, *more: str) -> subprocess.Popen[str]:
        arguments = [*command, "--store", store, "--workers", "2", *more]
        return subprocess.Popen(
            list(map(str, arguments)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    kept, kills = 0, 0
    journal = tmp_path / "killed" / ".ingest" / "journal"
    while kills < 3:
        process = run(tmp_path / "killed")
        while process.poll() is None and (not journal.exists() or journal.stat().st_size <= kept + 1000):
            time.sleep(0.01)
        if process.poll() is not None:
            break
        kept = journal.stat().st_size
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
    assert kills >= 2
    last = run(tmp_path / "killed", "--json")
    assert last.communicate(timeout=300)[0].count('"files_read": 302') == 0
    assert last.returncode == 0
    whole = run(tmp_path / "whole")
    whole.communicate(timeout=300)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")

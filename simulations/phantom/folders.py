"""Phantom hospitals as folders: DICOM, reports and, beside them, the truth.

OUT/<hospital>/dicom/<ACCESSION>/IM00001.dcm
OUT/<hospital>/reports.csv       as hospitals export them
OUT/<hospital>/truth.csv         one row per image, for evaluation only
OUT/public-bank/                 the same, of people who are at no hospital
"""

import csv
import errno
import io
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from common.errors import ConfigurationError
from simulations.phantom.anatomy import Chest, Pose, chest
from simulations.phantom.caseload import Study, bank_caseload, caseload
from simulations.phantom.dicom import dicom_file
from simulations.phantom.findings import TRUTH_COLUMNS, cardiothoracic_ratio, truth_row
from simulations.phantom.hospital import hospitals_of
from simulations.phantom.lesions import draw_findings
from simulations.phantom.scanner import Pixels, expose
from simulations.phantom.wording import Case, write_report

DICOM, REPORTS, TRUTH = "dicom", "reports.csv", "truth.csv"
REPORT_COLUMNS = ("accession_number", "patient_id", "study_date", "sop_instance_uids", "report")

FEWEST_STUDIES = 20
"""Fewer, and a hospital of 0.6 times the mean could lack a finding."""

_CHUNK = 16
_WARM_BYTES = 24 << 20


def make_hospitals(
    out: Path,
    *,
    hospitals: int,
    studies: int,
    bank_studies: int,
    seed: int,
    workers: int = 2,
    on_study: Callable[[], None] = lambda: None,
) -> list[Path]:
    """Write phantom hospitals and a public bank under `out`, which appears whole or not at all.

    The same numbers and seed give the same bytes, whatever the number of workers.

    Args:
        out: a folder that is absent or empty.
        hospitals: how many, besides the bank.
        studies: mean number of studies; hospitals have from 0.6 to 1.4 times as many.
        bank_studies: studies of the public bank; 0 for none.
        seed: from which everything is drawn.
        workers: processes; 1 works in this one.
        on_study: called once per finished study, in this process.

    Returns:
        The hospitals' folders, then the bank's.

    Raises:
        ConfigurationError: a number out of range, `out` holds something, or the disk is full.
    """
    _check(out, hospitals=hospitals, studies=studies, bank_studies=bank_studies, workers=workers)
    who = hospitals_of(hospitals=hospitals, studies=studies, seed=seed)
    caseloads = [caseload(hospital, seed=seed) for hospital in who]
    if bank_studies:
        caseloads.append(bank_caseload(who, bank_studies, seed=seed))
    with _whole_folder(out) as folder:
        for cases in caseloads:
            _write_tables(folder / cases[0].folder, cases)
        _write_studies(folder, [study for cases in caseloads for study in cases], workers, on_study)
    return [out / cases[0].folder for cases in caseloads]


def radiograph(study: Study, number: int) -> Pixels:
    """Image `number` (from 0) of `study` as displayed: (256, 256), 0 to 4095."""
    bare = healthy_chest(study, number)
    attenuation = bare.attenuation + bare.vessels
    attenuation += draw_findings(bare, study.findings, study.stream("lesions"))
    return expose(attenuation, study.hospital.scanner, study.stream("exposure", number))


def healthy_chest(study: Study, number: int) -> Chest:
    """The chest of image `number` before findings are drawn into it, its heart already as wide as it is."""
    body = study.body()
    pose = Pose.draw(study.stream("pose", number), view=study.views[number])
    return chest(body, pose, heart_ratio=cardiothoracic_ratio(study.findings, body.heart_ratio))


def report(study: Study) -> str:
    """What the hospital's radiologist wrote about `study`."""
    case = Case(
        findings=study.findings,
        sex=study.patient.sex,
        age=study.age,
        view=study.views[0],
        heart_ratio=cardiothoracic_ratio(study.findings, study.body().heart_ratio),
        is_follow_up=study.is_follow_up,
    )
    return write_report(case, study.hospital.style, study.stream("report"))


def _check(out: Path, *, hospitals: int, studies: int, bank_studies: int, workers: int) -> None:
    if hospitals < 1:
        raise ConfigurationError(f"{hospitals} phantom hospitals: ask for at least 1")
    if studies < FEWEST_STUDIES:
        raise ConfigurationError(
            f"{studies} studies per hospital are too few for every finding: ask for at least {FEWEST_STUDIES}"
        )
    if bank_studies and bank_studies < FEWEST_STUDIES:
        raise ConfigurationError(
            f"{bank_studies} studies in the public bank are too few for every finding: "
            f"ask for at least {FEWEST_STUDIES}, or for 0"
        )
    if workers < 1:
        raise ConfigurationError(f"{workers} workers: ask for at least 1")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigurationError(f"{out} is not an empty folder: name a new one, nothing was written")


@contextmanager
def _whole_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its place when all is written, and is removed when it is not."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    except OSError as error:
        raise ConfigurationError(f"{out} cannot be made ({error.strerror}): name another folder") from None
    try:
        yield beside
        beside.chmod(0o755)
        beside.replace(out)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ConfigurationError(
                f"the disk is full: nothing was left at {out}; make room or name another folder"
            ) from None
        raise
    except BrokenProcessPool:
        raise ConfigurationError(
            "a worker process was killed, perhaps for memory: run again with fewer workers"
        ) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write_tables(folder: Path, cases: Sequence[Study]) -> None:
    folder.mkdir()
    for study in cases:
        (folder / DICOM / study.accession).mkdir(parents=True)
    _write_csv(folder / REPORTS, REPORT_COLUMNS, (_report_row(study) for study in cases))
    _write_csv(
        folder / TRUTH,
        ("sop_instance_uid", *TRUTH_COLUMNS),
        ([uid, *truth_row(study.findings)] for study in cases for uid in study.instance_uids),
    )


def _report_row(study: Study) -> list[str]:
    uids = " ".join(study.instance_uids)
    return [study.accession, study.patient.identifier, f"{study.day:%Y%m%d}", uids, report(study)]


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8", newline="")


def _write_studies(
    folder: Path, studies: Sequence[Study], workers: int, on_study: Callable[[], None]
) -> None:
    if workers == 1:
        _keep_memory()
        for study in studies:
            _write_images(folder, [study])
            on_study()
        return
    chunks = [studies[first : first + _CHUNK] for first in range(0, len(studies), _CHUNK)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_keep_memory) as pool:
        waiting = [pool.submit(_write_images, folder, chunk) for chunk in chunks]
        try:
            for done in as_completed(waiting):
                for _ in range(done.result()):
                    on_study()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _write_images(folder: Path, studies: Sequence[Study]) -> int:
    """Write every image of `studies`; the number of studies written."""
    for study in studies:
        for number in range(len(study.views)):
            content = dicom_file(study, number, radiograph(study, number))
            name = f"IM{number + 1:05d}.dcm"
            (folder / study.folder / DICOM / study.accession / name).write_bytes(content)
    return len(studies)


def _keep_memory() -> None:
    """Let the allocator keep freed images instead of returning each to the kernel; twice as fast on Linux.

    Freeing one large block raises glibc's threshold for separate maps. Source: mallopt(3), M_MMAP_THRESHOLD.
    """
    block = np.empty(_WARM_BYTES, np.uint8)
    del block

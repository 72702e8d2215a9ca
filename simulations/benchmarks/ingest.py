"""How fast ingest reads, against a plain loop over the same files, and whether its memory grows.

speed    a plain loop, ours, ours in full size and decoding alone take turns file by file in one fresh
         process, so that the load of the machine falls on all alike; per core, by processor seconds
workers  the same files through the worker processes, one and then one per core, by the clock
store    batches from the store that ingest made, against reading the files again
memory   the whole `fedvlp-site ingest` on few and on many small files, and on a short and a long table of
         reports, all its processes together
"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulations.benchmarks.fresh import run_fresh, run_watched
from simulations.benchmarks.radiographs import SYNTAXES, writable, write_radiographs

SPEED_PROGRAM = "from simulations.benchmarks.ingest_process import main; main()"
SITE_PROGRAM = "from client.__main__ import program; program()"
SMALL_SIDE = 32
"""Of the files of the memory measurement: they are to be many, not large."""
SMALL_IMAGE = 32
REPORT = "FINDINGS: Nodule of {} mm in the left lung; no effusion. IMPRESSION: Nodule of {} mm."


@dataclass(frozen=True)
class SyntaxSpeed:
    """Processor seconds of one core for an image of one syntax."""

    syntax: str
    plain: float
    """The plain loop."""
    ours: float
    in_full: float
    """Ours without reading a picture at a part of its size."""
    header: float
    """Reading the file and its header alone."""
    decode: float
    """Header and decoding alone, as pydicom does both; ours chooses codecs, and reads less of a picture."""

    @property
    def ratio(self) -> float:
        """Images per second of ours over those of the plain loop."""
        return self.plain / self.ours

    @property
    def ratio_in_full(self) -> float:
        """The same without reading a picture at a part of its size."""
        return self.plain / self.in_full

    @property
    def allowed(self) -> float:
        """What the ratio would be if ours did nothing but decode as pydicom does."""
        return self.plain / self.decode


@dataclass(frozen=True)
class IngestSpeed:
    """All that was measured."""

    images: int
    """Of each syntax."""
    side: int
    image_size: int
    syntaxes: tuple[SyntaxSpeed, ...]
    left_out: tuple[str, ...]
    """Syntaxes for which there is no encoder here."""
    cores: int
    one_worker: float
    """Images per second by the clock, all syntaxes."""
    all_cores: float
    store_batch: float
    """Seconds an image, read in batches from the store."""
    again: float
    """Seconds an image, decoded again: by the clock, in turns with the batches."""
    files: tuple[int, int]
    """Few and many."""
    peak_bytes: tuple[int, int]
    rows: tuple[int, int]
    """Of a table of reports without images, few and many."""
    rows_peak_bytes: tuple[int, int]

    @property
    def ratio(self) -> float:
        """Over all syntaxes: the seconds of the plain loop over ours, for the same files."""
        return sum(one.plain for one in self.syntaxes) / sum(one.ours for one in self.syntaxes)

    @property
    def ratio_in_full(self) -> float:
        """The same without reading a picture at a part of its size."""
        return sum(one.plain for one in self.syntaxes) / sum(one.in_full for one in self.syntaxes)

    @property
    def allowed(self) -> float:
        """What pydicom's decoding alone would allow."""
        return sum(one.plain for one in self.syntaxes) / sum(one.decode for one in self.syntaxes)

    @property
    def store_ratio(self) -> float:
        """How much sooner an image comes from the store."""
        return self.again / self.store_batch

    @property
    def growth(self) -> float:
        """Peak with many files over peak with few; 1 is flat."""
        return self.peak_bytes[1] / self.peak_bytes[0]

    @property
    def rows_growth(self) -> float:
        """Peak with many reports over peak with few; 1 is flat."""
        return self.rows_peak_bytes[1] / self.rows_peak_bytes[0]

    def to_json(self) -> dict[str, object]:
        """As `--json` prints it."""
        return {
            "benchmark": "ingest",
            "images": self.images,
            "side": self.side,
            "image_size": self.image_size,
            "cpu_seconds_per_image": {
                one.syntax: {
                    "plain": one.plain,
                    "ours": one.ours,
                    "ours_in_full": one.in_full,
                    "header": one.header,
                    "header_and_decode": one.decode,
                    "ratio": one.ratio,
                    "ratio_in_full": one.ratio_in_full,
                    "ratio_allowed_by_decoding": one.allowed,
                }
                for one in self.syntaxes
            },
            "left_out": [*self.left_out],
            "ratio": self.ratio,
            "ratio_in_full": self.ratio_in_full,
            "ratio_allowed_by_decoding": self.allowed,
            "cores": self.cores,
            "images_per_second_one_worker": self.one_worker,
            "images_per_second_all_cores": self.all_cores,
            "seconds_per_image_from_store": self.store_batch,
            "seconds_per_image_decoded_again": self.again,
            "store_ratio": self.store_ratio,
            "memory_files": [*self.files],
            "memory_peak_bytes": [*self.peak_bytes],
            "memory_growth": self.growth,
            "memory_rows": [*self.rows],
            "memory_rows_peak_bytes": [*self.rows_peak_bytes],
            "memory_rows_growth": self.rows_growth,
        }


def measure_ingest(
    *,
    images: int,
    side: int,
    image_size: int,
    files: tuple[int, int],
    rows: tuple[int, int],
    on_stage: Callable[[str], None] = lambda _: None,
) -> IngestSpeed:
    """Make the files and measure everything.

    Args:
        images: of each syntax.
        side: of them, in pixels.
        image_size: side of the squares in the store.
        files: few and many, for the memory.
        rows: reports of a short and of a long table, for the memory.
        on_stage: told what is about to run.

    Raises:
        WithheldError: a measured process failed.
    """
    names = writable()
    with tempfile.TemporaryDirectory(prefix="fedvlp-bench-") as temporary:
        folder = Path(temporary)
        on_stage(f"writing {images} radiographs of {side} x {side} in each of {', '.join(names)}")
        for name in names:
            write_radiographs(folder / "files" / name, name, images=images, side=side)
        on_stage("a plain loop and ours, in turns")
        said = _measure_speed(folder, image_size)
        few, many = (_peak(folder, count, on_stage) for count in files)
        on_stage(f"memory of an ingest of {rows[0]} and of {rows[1]} reports")
        short, long = (peak_of_reports(folder, count) for count in rows)
    return IngestSpeed(
        images=images,
        side=side,
        image_size=image_size,
        syntaxes=tuple(SyntaxSpeed(name, **said["syntaxes"][name]) for name in names),
        left_out=tuple(name for name in SYNTAXES if name not in names),
        cores=said["cores"],
        one_worker=said["one_worker"],
        all_cores=said["all_cores"],
        store_batch=said["store_batch"],
        again=said["again"],
        files=files,
        peak_bytes=(few, many),
        rows=rows,
        rows_peak_bytes=(short, long),
    )


def _measure_speed(folder: Path, image_size: int) -> dict[str, Any]:
    store, result = folder / "store", folder / "result.json"
    _ingest(folder / "files", store, folder, image_size)
    arguments = [str(folder / "files"), str(store), str(image_size), str(result)]
    run_fresh(SPEED_PROGRAM, arguments, log=folder / "speed.log")
    measured: dict[str, Any] = json.loads(result.read_text())
    return measured


def _ingest(files: Path, store: Path, folder: Path, image_size: int) -> int:
    """Make a store as a hospital does; returns the peak in bytes."""
    return _watched(["--dicom", str(files), "--image-size", str(image_size)], store, folder)


def _watched(what: list[str], store: Path, folder: Path) -> int:
    words = ["ingest", *what, "--store", str(store), "--name", "bench", "--burned-in", "keep"]
    words += ["--home", str(folder / "home")]
    return run_watched(SITE_PROGRAM, words, log=folder / f"{store.name}.log")


def _peak(folder: Path, count: int, on_stage: Callable[[str], None]) -> int:
    on_stage(f"memory of an ingest of {count} files")
    files = folder / f"small-{count}"
    write_radiographs(files, "uncompressed", images=count, side=SMALL_SIDE)
    return _ingest(files, folder / f"store-{count}", folder, SMALL_IMAGE)


def peak_of_reports(folder: Path, count: int) -> int:
    """Peak in bytes of an ingest of one table of so many reports, each of a study of its own.

    Args:
        folder: an empty one, for the table and the store.
        count: rows of the table; two of a patient.
    """
    table = folder / f"reports-{count}.csv"
    with table.open("w", encoding="utf-8", newline="") as file:
        file.write("accession_number,patient_id,sop_instance_uids,report\n")
        for number in range(count):
            file.write(f"A{number},P{number // 2},,{REPORT.format(number % 97, number % 89)}\n")
    return _watched(["--reports", str(table)], folder / f"store-reports-{count}", folder)

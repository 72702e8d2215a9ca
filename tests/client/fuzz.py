"""Damaged files, read as ingest reads them. `python tests/client/fuzz.py --files 20000` prints what came out.

File number n is the same for the same seed, whatever the number of files: `--show n --seed s` writes it out.
"""

import argparse
import io
import json
import random
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from ingest_samples import NATIVE, SYNTAXES, dataset, ramp
from mutations import BLIND, DICOM, RASTER, TEXT, mutate
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_files
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSNearLossless, RLELossless
from shelved import open_reports

from client.ingest.confinement import Limits
from client.ingest.images import read_images
from client.ingest.rejected import Reason
from client.ingest.workers import read_all
from common.errors import FederationError
from common.imaging.preparation import SMALLEST_IMAGE, Preparation

SIDE = 32
PREPARATIONS = (
    Preparation(image_size=SIDE, burned_in="mask"),
    Preparation(image_size=SMALLEST_IMAGE, burned_in="keep", ct_windows=("lung", "bone"), frames=3),
    Preparation(image_size=SIDE, burned_in="reject", ct_windows=("brain",)),
)
"""Taken in turn by a file's number; whole files are prepared in the first way."""
FIXTURES = Path(__file__).parent / "report_fixtures"
LARGEST_SEED = 50_000
"""Bytes; larger seeds only make the run slower."""
BATCH_FILES = 500
CONTROL_EVERY = 25
"""After so many damaged files comes a whole one: a neighbour that must not be lost."""
LIMITS = Limits(cpu_seconds=20, wall_seconds=120)

Outcome = tuple[str, str] | Reason
"""(`image`, digest), (`reports`, reasons of refused ones), (`refused`, the line), (`raised`, a bug)."""


@dataclass
class Tally:
    """What came out of a run."""

    files: int = 0
    seconds: float = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    """`image`, `reports`, `refused`, or a reason -> files."""
    reports_refused: Counter[str] = field(default_factory=Counter)
    """Reason -> reports, in files that could be read."""
    raised: list[str] = field(default_factory=list)
    """Number of the file and what it made the reader raise: bugs."""
    contained: list[str] = field(default_factory=list)
    """Number and reason of the files that took a worker with them."""
    lost_neighbours: int = 0


# --- images ------------------------------------------------------------------------------------------------


def look_at_image(path: Path) -> Outcome:
    """Read a damaged image as ingest does."""
    number = int(path.stem) if path.stem.isdecimal() else 0
    preparation = PREPARATIONS[number % len(PREPARATIONS)]
    try:
        found = read_images(path, preparation)
    except MemoryError:
        raise
    except Exception as error:
        return "raised", _told(error)
    if isinstance(found, Reason):
        return found
    expected = (len(found.numbers), preparation.channels, *(preparation.image_size,) * 2)
    if found.frames.shape != expected or found.frames.dtype != np.uint8 or len(found.numbers) == 0:
        return "raised", f"{found.frames.shape} {found.frames.dtype}"
    return "image", f"{zlib.crc32(found.frames.tobytes()):08x}"


@cache
def image_seeds() -> Sequence[bytes]:
    """Whole files: our own in every syntax that can be written here, those inside the pydicom package, plain
    pictures."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [*map(_written, _own()), *_shipped(), *_plain_pictures()]


def _own() -> Iterator[Dataset]:
    for syntax in SYNTAXES:
        yield dataset(ramp(), syntax=syntax)
        yield dataset(ramp(), syntax=syntax, Modality="CR", PhotometricInterpretation="MONOCHROME1")
    hounsfield = {
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "WindowCenter": [40, 50],
        "WindowWidth": [400, 90],
    }
    yield dataset(ramp(white=2000).astype(np.int16), **hounsfield)
    yield dataset(ramp(white=4095), BitsStored=12, HighBit=11, VOILUTFunction="SIGMOID", **hounsfield)
    yield dataset(np.stack([ramp(16, 16)] * 5), NumberOfFrames=5, Modality="US", RepresentativeFrameNumber=2)
    for syntax in (*NATIVE, RLELossless, JPEG2000Lossless):
        yield dataset(np.dstack([ramp(40, 48)] * 3), Modality="US", syntax=syntax)
        yield dataset(ramp(40, 36, white=4095), Modality="DX", BitsStored=12, HighBit=11, syntax=syntax)
    for syntax in (JPEG2000Lossless, JPEGBaseline8Bit):  # large enough to be read at a part of their size
        yield dataset(ramp(110, 130), WindowCenter=128, WindowWidth=200, syntax=syntax)
    lossy = dataset(ramp(white=4095))
    lossy.compress(JPEGLSNearLossless, jls_error=3, generate_instance_uid=False)
    yield lossy
    yield _with_tables()


def _with_tables() -> Dataset:
    made = dataset(ramp(white=255).astype(np.uint16))
    for keyword in ("ModalityLUTSequence", "VOILUTSequence"):
        item = Dataset()
        item.LUTDescriptor, item.LUTData = [256, 0, 16], [*range(0, 65536, 256)]
        item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "US"
        setattr(made, keyword, [item])
    return made


def _shipped() -> Iterator[bytes]:
    """Those of the pydicom package, with the identifiers without which they would be refused at once."""
    for name in sorted(get_testdata_files("*.dcm")):
        if Path(name).stat().st_size <= LARGEST_SEED:
            try:
                found = dcmread(name)
                for keyword in ("PatientID", "StudyInstanceUID", "SOPInstanceUID"):
                    if not found.get(keyword):
                        setattr(found, keyword, "1.2.3")
                yield _written(found)
            except Exception:  # some are there because they are broken: as they are
                yield Path(name).read_bytes()


def _plain_pictures() -> Iterator[bytes]:
    """PNG and JPEG of every mode, with a palette, transparency, progressive scans, and a turn in EXIF."""
    grey = Image.fromarray(ramp(40, 30))
    turned = Image.Exif()
    turned[0x0112] = 6
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
        yield _saved(grey.convert(mode), "PNG")
    yield _saved(Image.fromarray(ramp(40, 30, white=4095)), "PNG", exif=turned)
    yield _saved(grey.convert("P"), "PNG", transparency=3)
    for mode in ("L", "RGB", "CMYK"):
        yield _saved(grey.convert(mode), "JPEG")
        yield _saved(grey.convert(mode), "JPEG", progressive=True, exif=turned)


def _saved(picture: Image.Image, form: str, **options: object) -> bytes:
    sink = io.BytesIO()
    picture.save(sink, form, **options)
    return sink.getvalue()


def whole_with_tables() -> bytes:
    """A file with sequences: lookup tables for modality and display."""
    return _written(_with_tables())


def _written(made: Dataset) -> bytes:
    sink = io.BytesIO()
    made.save_as(sink, enforce_file_format=True)
    return sink.getvalue()


# --- reports -----------------------------------------------------------------------------------------------


def look_at_report(path: Path) -> Outcome:
    """Read a damaged file of reports as ingest does."""
    try:
        opened = open_reports(path)
    except MemoryError:
        raise
    except FederationError as error:
        return "refused", str(error)
    except Exception as error:
        return "raised", _told(error)
    return "reports", " ".join(sorted(refusal.reason.value for refusal in opened.refusals))


@cache
def report_seeds() -> Sequence[tuple[str, bytes]]:
    """(suffix, content) of the fixtures in every format, and structured reports."""
    files = sorted(path for path in FIXTURES.rglob("*") if path.is_file())
    structured = sorted(Path(name) for name in get_testdata_files("*SR.dcm"))
    return [(path.suffix, path.read_bytes()) for path in (*files, *structured)]


# --- a run -------------------------------------------------------------------------------------------------


def damaged_image(number: int, seed: int) -> tuple[str, bytes]:
    """File name and content of damaged image `number`."""
    chance = random.Random(f"image {seed} {number}")
    seeds = image_seeds()
    whole = chance.choice(seeds)
    kinds = (*DICOM, *DICOM) if whole[128:132] == b"DICM" else RASTER
    return f"{number}.dcm", mutate(whole, chance, seeds, (*BLIND, *kinds))


def damaged_report(number: int, seed: int) -> tuple[str, bytes]:
    """File name and content of damaged report file `number`."""
    chance = random.Random(f"report {seed} {number}")
    suffix, content = chance.choice(report_seeds())
    kinds = (*BLIND, *(DICOM if suffix == ".dcm" else TEXT))
    return f"{number}{suffix}", mutate(content, chance, [other for _, other in report_seeds()], kinds)


KINDS: dict[str, tuple[Callable[[int, int], tuple[str, bytes]], Callable[[Path], Outcome]]] = {
    "image": (damaged_image, look_at_image),
    "report": (damaged_report, look_at_report),
}


def run(kind: str, *, files: int, seed: int, workers: int = 2) -> Tally:
    """Read so many damaged files in the workers of ingest, and whole ones among them."""
    make, look = KINDS[kind]
    tally, started = Tally(files), time.monotonic()
    with TemporaryDirectory(prefix="fuzz-") as name:
        for start in range(0, files, BATCH_FILES):
            folder = Path(name, str(start))
            folder.mkdir()
            numbers = range(start, min(files, start + BATCH_FILES))
            paths, controls = _write(folder, [make(number, seed) for number in numbers], kind)
            for path, outcome in zip(
                paths, read_all(paths, look, workers=workers, limits=LIMITS), strict=True
            ):
                if path in controls:
                    tally.lost_neighbours += outcome != controls[path]
                else:
                    _count(tally, path.stem, outcome)
            for path in paths:
                path.unlink()
    tally.seconds = time.monotonic() - started
    return tally


def _write(
    folder: Path, damaged: Sequence[tuple[str, bytes]], kind: str
) -> tuple[list[Path], dict[Path, Outcome]]:
    """Damaged files with a whole one after every few, and what the whole ones show."""
    whole, look = _whole(kind)
    paths, controls = [], {}
    for place, (name, content) in enumerate(damaged):
        paths.append(folder / name)
        paths[-1].write_bytes(content)
        if place % CONTROL_EVERY == CONTROL_EVERY - 1:
            path = folder / f"whole-{place}{whole[0]}"
            path.write_bytes(whole[1])
            paths.append(path)
            controls[path] = look(path)
    return paths, controls


def _whole(kind: str) -> tuple[tuple[str, bytes], Callable[[Path], Outcome]]:
    whole = (".dcm", image_seeds()[0]) if kind == "image" else report_seeds()[0]
    return whole, KINDS[kind][1]


def _count(tally: Tally, number: str, outcome: Outcome) -> None:
    if isinstance(outcome, Reason):
        tally.outcomes[outcome.value] += 1
        if outcome.value.startswith("decoder_"):
            tally.contained.append(f"{number}: {outcome.value}")
        return
    what, detail = outcome
    tally.outcomes[what] += 1
    if what == "reports":
        tally.reports_refused.update(detail.split())
    if what == "raised":
        tally.raised.append(f"{number}: {detail}")


def _told(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else "?"
    return f"{type(error).__name__} at {where}: {str(error)[:200]}"


def main() -> None:
    """Run it at any size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=[*KINDS], default="image")
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, help="write this file to the folder one stands in, read nothing")
    asked = parser.parse_args()
    if asked.show is not None:
        name, content = KINDS[asked.kind][0](asked.show, asked.seed)
        Path(name).write_bytes(content)
        return
    tally = run(asked.kind, files=asked.files, seed=asked.seed)
    print(json.dumps({**vars(tally), "outcomes": dict(tally.outcomes.most_common())}, indent=1))


if __name__ == "__main__":
    main()

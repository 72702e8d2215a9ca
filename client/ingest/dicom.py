"""One DICOM file: who and what it shows, and its pixels as a small grey square.

Nothing here raises for a bad file: the answer is then a `Reason`. pydicom's warnings quote header values, so
they are silenced.
"""

import os
import stat
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import JPEGLSTransferSyntaxes, JPEGTransferSyntaxes

from client.ingest.rejected import Reason, Refusal
from common.imaging.geometry import square_resize
from common.imaging.intensity import (
    Grey,
    Values,
    WindowFunction,
    invert,
    is_window,
    look_up,
    luminance,
    percentile_window,
    quantise,
    stretch,
    window,
)

MAX_PIXELS = 1 << 27
"""Per frame; the largest mammograms have about 2^25."""

END_OF_IMAGE = b"\xff\xd9"
"""Marker with which a JPEG stream ends. Source: ITU-T T.81, table B.1; T.87 for JPEG-LS."""
MAX_TRAILER = 64
"""Bytes within which the marker is looked for: encoders pad."""

RADIOGRAPHS = frozenset({"CR", "DX", "MG", "RF", "RG", "XA", "PX", "IO"})
MODALITIES = RADIOGRAPHS | {
    *("CT", "MR", "US", "NM", "PT", "ES", "XC", "GM", "SM", "OP", "OPT", "OCT", "IVUS", "IVOCT", "BI", "DG"),
    *("LS", "TG", "ECG", "BMD", "RTIMAGE", "OT"),
}
"""Modalities a store may name. Source: DICOM PS3.3 C.7.3.1.1.1; any other text could be an identifier."""
VIEWS = frozenset(
    {
        *("AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO", "LATERAL", "OBLIQUE", "AXIAL", "SUNRISE"),
        *("CC", "MLO", "ML", "LM", "LMO", "XCC", "XCCL", "XCCM", "FB", "SIO", "CV", "AT", "RM"),
    }
)
"""View positions a store may name; any other text could be an identifier."""

SOFT_TISSUE = (40.0, 400.0)
"""Window in Hounsfield units for CT that brings none."""


Patient = tuple[str, str]
"""PatientID and IssuerOfPatientID, "" where absent."""


@dataclass(frozen=True)
class Header:
    """What pairing needs to know; identifiers as they stand in the file, so never stored."""

    instance_uid: str
    study_uid: str
    accession: str
    patient_id: str
    issuer: str
    modality: str
    view: str

    @property
    def patient(self) -> Patient:
        """Who this is an image of."""
        return self.patient_id, self.issuer


@dataclass(frozen=True)
class DicomImage:
    """A readable image."""

    header: Header
    pixels: npt.NDArray[np.uint8]
    """(S, S), bone white, air black."""


def scan(folder: Path, *, leave_out: frozenset[Path] = frozenset()) -> tuple[list[Path], list[Refusal]]:
    """List every regular file under `folder` in byte order of its path, and what cannot be one.

    Links to files are followed, links to folders are refused. `leave_out` (resolved) is not listed.
    """
    files: list[Path] = []
    refusals: list[Refusal] = []

    def refuse(path: str | Path, reason: Reason) -> None:
        refusals.append(Refusal(os.path.relpath(path, folder), reason))

    def refuse_folder(error: OSError) -> None:
        refuse(error.filename, Reason.UNREADABLE)

    for parent, folders, names in os.walk(folder, onerror=refuse_folder):
        for name in folders:
            if (path := Path(parent, name)).is_symlink():
                refuse(path, Reason.LINKED_FOLDER)
        for path in (Path(parent, name) for name in names):
            if (reason := _not_a_file(path)) is not None:
                refuse(path, reason)
            elif not leave_out or path.resolve() not in leave_out:
                files.append(path)
    return sorted(files, key=os.fsencode), refusals


def _not_a_file(path: Path) -> Reason | None:
    try:
        return None if stat.S_ISREG(path.stat().st_mode) else Reason.NOT_A_FILE
    except OSError:
        return Reason.UNREADABLE


def read_image(path: Path, *, size: int) -> DicomImage | Reason:
    """Read one file and reduce its (middle) frame to `size` x `size` grey, or say why not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Hostile and broken files make pydicom and the codecs raise almost anything.
        try:
            dataset = dcmread(path)
        except (InvalidDicomError, IsADirectoryError):
            return Reason.NOT_DICOM
        except OSError:
            return Reason.UNREADABLE
        except (EOFError, zlib.error):
            return Reason.TRUNCATED
        except Exception:
            return Reason.MALFORMED
        try:
            header = _header(dataset)
        except Exception:
            return Reason.MALFORMED
        if isinstance(header, Reason):
            return header
        return _decode(dataset, header, size)


def _decode(dataset: Dataset, header: Header, size: int) -> DicomImage | Reason:
    try:
        if not _has_decoder(dataset):
            return Reason.UNSUPPORTED_SYNTAX
        if int(dataset.Rows) * int(dataset.Columns) > MAX_PIXELS:
            return Reason.TOO_LARGE
        if _is_cut(dataset):
            return Reason.TRUNCATED
        grey = render(dataset, modality=header.modality)
        if not np.isfinite(grey).all():
            return Reason.UNDECODABLE
        return DicomImage(header, quantise(square_resize(grey, size)))
    except Exception:
        return Reason.UNDECODABLE


def _is_cut(dataset: Dataset) -> bool:
    """Tell whether pixels are missing; libjpeg would fill them with grey and report success."""
    if "PixelData" not in dataset:
        return False
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return len(dataset.PixelData) < get_expected_length(dataset)
    if syntax not in (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes):
        return False
    frames = _num_frames(dataset)
    stream = get_frame(dataset.PixelData, frames // 2, number_of_frames=frames)
    return END_OF_IMAGE not in stream[-MAX_TRAILER:]


def _num_frames(dataset: Dataset) -> int:
    return max(1, int(dataset.get("NumberOfFrames") or 1))


def _has_decoder(dataset: Dataset) -> bool:
    try:
        return get_decoder(dataset.file_meta.TransferSyntaxUID).is_available
    except NotImplementedError:
        return False


def _header(dataset: Dataset) -> Header | Reason:
    if not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        # pydicom drops an encapsulated element that the end of the file cuts.
        promised = "Rows" in dataset or "Image Storage" in getattr(dataset.get("SOPClassUID"), "name", "")
        return Reason.TRUNCATED if promised else Reason.NO_PIXELS
    modality, view = _text(dataset, "Modality").upper(), _text(dataset, "ViewPosition").upper()
    header = Header(
        instance_uid=_text(dataset, "SOPInstanceUID"),
        study_uid=_text(dataset, "StudyInstanceUID"),
        accession=_text(dataset, "AccessionNumber"),
        patient_id=_text(dataset, "PatientID"),
        issuer=_text(dataset, "IssuerOfPatientID"),
        modality=modality if modality in MODALITIES else "",
        view=view if view in VIEWS else "",
    )
    if not header.patient_id:
        return Reason.NO_PATIENT
    if not header.instance_uid:
        return Reason.NO_INSTANCE
    return header if header.study_uid or header.accession else Reason.NO_STUDY


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    if isinstance(value, MultiValue):
        value = "\\".join(str(part) for part in value)
    return str(value if value is not None else "").strip(" \t\r\n\0")


def render(dataset: Dataset, *, modality: str) -> Grey:
    """Return the (middle) frame as a radiologist would see it first: (H, W) in [0, 1].

    Modality LUT, then the first VOI LUT or window, then inversion of MONOCHROME1. Without a window: CT in
    Hounsfield units gets the soft-tissue window, other images of 8 bits their full range unless they are
    radiographs, everything else the percentiles 0.5 to 99.5.
    """
    frame = _num_frames(dataset) // 2
    decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
    values, meaning = decoder.as_array(dataset, index=frame)
    photometric = str(meaning["photometric_interpretation"])
    if photometric == "PALETTE COLOR":
        values = apply_color_lut(values, dataset)
        return luminance(values, white=float(np.iinfo(values.dtype).max))
    if values.ndim == 3:
        return luminance(values, white=float(2 ** int(meaning["bits_stored"]) - 1))
    grey = _windowed(dataset, values, frame, modality)
    return invert(grey) if photometric == "MONOCHROME1" else grey


def _windowed(dataset: Dataset, stored: Values, frame: int, modality: str) -> Grey:
    values = _modality_values(dataset, stored, frame)
    if dataset.get("VOILUTSequence"):
        table, first, white = _table(dataset.VOILUTSequence[0], dataset)
        return stretch(look_up(values, table=table, first=first), black=0, white=white)
    voi = _frame_item(dataset, frame, "FrameVOILUTSequence")
    center, width = _number(voi, "WindowCenter"), _number(voi, "WindowWidth")
    function = _window_function(voi)
    if center is not None and width is not None and is_window(width=width, function=function):
        return window(values, center=center, width=width, function=function)
    if modality == "CT" and values is not stored:
        return window(values, center=SOFT_TISSUE[0], width=SOFT_TISSUE[1])
    bits = int(dataset.get("BitsStored") or stored.dtype.itemsize * 8)
    if bits <= 8 and modality not in RADIOGRAPHS and values is stored:
        black = -(2 ** (bits - 1)) if dataset.get("PixelRepresentation") else 0
        return stretch(values, black=black, white=black + 2**bits - 1)
    return percentile_window(values)


def _modality_values(dataset: Dataset, stored: Values, frame: int) -> Values:
    """Apply the modality LUT or the rescale; without either, the very same array comes back."""
    if dataset.get("ModalityLUTSequence"):
        table, first, _ = _table(dataset.ModalityLUTSequence[0], dataset)
        return look_up(stored, table=table, first=first)
    item = _frame_item(dataset, frame, "PixelValueTransformationSequence")
    slope, intercept = _number(item, "RescaleSlope"), _number(item, "RescaleIntercept")
    if slope is None or intercept is None:
        return stored
    return stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def _frame_item(dataset: Dataset, frame: int, sequence: str) -> Dataset:
    """Find the item with this frame's attributes: its functional group, the shared one, or the data set."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    for group in (*per_frame[frame : frame + 1], *shared[:1]):
        if group.get(sequence):
            item: Dataset = group[sequence][0]
            return item
    return dataset


def _number(item: Dataset, keyword: str) -> float | None:
    value = item.get(keyword)
    if isinstance(value, MultiValue):
        value = value[0] if value else None
    return None if value is None or not np.isfinite(float(value)) else float(value)


def _window_function(item: Dataset) -> WindowFunction:
    name = _text(item, "VOILUTFunction")
    return "SIGMOID" if name == "SIGMOID" else "LINEAR_EXACT" if name == "LINEAR_EXACT" else "LINEAR"


def _table(item: Dataset, dataset: Dataset) -> tuple[Values, int, float]:
    """Entries of a LUT, the pixel value of its first entry, and the value that is white.

    Source: DICOM PS3.3 C.11.1.1.1 and C.11.2.1.1 (entries of 8 bits may be packed in pairs).
    """
    entries, first, bits = (int(part) for part in item.LUTDescriptor)
    entries = entries or 1 << 16
    content = item.LUTData
    if isinstance(content, bytes):
        big = not dataset.file_meta.TransferSyntaxUID.is_little_endian
        packed = len(content) < 2 * entries
        content = np.frombuffer(content, "u1" if packed else ">u2" if big else "<u2")
    table = np.asarray(content, np.float32)[:entries]
    return table, first, float(2**bits - 1)

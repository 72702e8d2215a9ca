"""One DICOM file: who and what it shows, and its pixels as small grey squares.

Nothing here raises for a bad file: the answer is then a `Reason`. Only `MemoryError` goes on, to the worker
process. pydicom's warnings quote header values, so they are silenced.
"""

import warnings
import zlib
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from client.ingest.images.attempt import attempt
from client.ingest.images.elements import num_frames, number_of
from client.ingest.images.grey import render, window_source
from client.ingest.images.header import Header, header_of
from client.ingest.images.orientation import pixel_aspect, stance
from client.ingest.images.picture import Drawing, Picture, TextClaim, frame_numbers, prepare
from client.ingest.images.reduced import decode_reduced, has_less
from client.ingest.images.stored import Stored, decode, is_bomb, why_not
from client.ingest.images.text_claim import text_claim
from client.ingest.rejected import Reason
from common.imaging.geometry import spare_resolution
from common.imaging.preparation import Preparation


def read_dicom(path: Path, preparation: Preparation) -> Picture | Reason:
    """Read one file and prepare its frames, or say why not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = attempt(lambda: _open(path), Reason.MALFORMED)
        if isinstance(dataset, Reason):
            return dataset
        header = attempt(lambda: header_of(dataset), Reason.MALFORMED)
        if isinstance(header, Reason):
            return header
        return attempt(lambda: _read(dataset, header, preparation), Reason.UNDECODABLE)


def _open(path: Path) -> Dataset | Reason:
    try:
        return Reason.TOO_LARGE if is_bomb(path) else dcmread(path)
    except (InvalidDicomError, IsADirectoryError):
        return Reason.NOT_DICOM
    except OSError as error:  # without a number it is pydicom's own: the file ends inside a sequence
        return Reason.UNREADABLE if error.errno else Reason.TRUNCATED
    except (EOFError, zlib.error):
        return Reason.TRUNCATED


def _read(dataset: Dataset, header: Header, preparation: Preparation) -> Picture | Reason:
    total = num_frames(dataset)
    key = number_of(dataset, "RepresentativeFrameNumber")
    numbers = frame_numbers(total, preparation.frames, key=None if key is None else int(key) - 1)
    text, drawings = text_claim(dataset, header), []
    for frame in numbers:
        if (reason := why_not(dataset, frame)) is not None:
            return reason
        drawings.append(_draw(dataset, header, frame, preparation, text))
    return prepare(header, drawings, numbers, preparation, source_frames=total, text=text)


def _draw(dataset: Dataset, header: Header, frame: int, preparation: Preparation, text: TextClaim) -> Drawing:
    stored = None
    if preparation.reduced_reading and not text.is_looked_for(preparation):
        stored = _reduced(dataset, header, frame, preparation)
    if stored is None:
        stored = decode(dataset, frame)
    shown = render(
        dataset,
        stored,
        modality=header.modality,
        frame=frame,
        ct_windows=preparation.ct_windows,
    )
    lies = stance(dataset, frame, modality=header.modality)
    return Drawing(
        shown.channels,
        (int(dataset.Rows), int(dataset.Columns)),
        shown.window,
        turn=lies.turn,
        pixel_aspect=pixel_aspect(dataset, frame),
        orientation=lies.source,
        padding_share=shown.padding_share,
        extent=stored.extent,
    )


def _reduced(dataset: Dataset, header: Header, frame: int, preparation: Preparation) -> Stored | None:
    """The frame at a part of its size; None unless that is cheap and gives the same greys.

    Percentiles are not those of the smaller picture, in which noise is averaged.
    """
    if not has_less(dataset):
        return None
    spare = spare_resolution(
        (int(dataset.Rows), int(dataset.Columns)),
        preparation.image_size,
        pixel_aspect=pixel_aspect(dataset, frame),
    )
    source = window_source(
        dataset,
        bits=int(dataset.BitsStored),
        modality=header.modality,
        frame=frame,
        ct_windows=preparation.ct_windows,
    )
    return None if source == "percentiles" else decode_reduced(dataset, frame, most=spare)

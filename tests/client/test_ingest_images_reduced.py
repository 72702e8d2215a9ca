import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ingest_samples import dataset, ramp
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from client.ingest.images import Picture, read_images
from client.ingest.images.grey import render
from client.ingest.images.reduced import decode_reduced
from client.ingest.images.stored import decode
from client.ingest.rejected import Reason
from common.imaging.preparation import Preparation
from simulations.benchmarks.radiographs import write_radiographs

HOSPITALS = Path(__file__).parents[2].parent / "shared" / "data" / "hospitals"
MEAN, MOST = 1.5, 24
"""Of 255 greys: largest mean and largest single difference from full decoding; measured 1.2 and 22."""
WINDOW = {"WindowCenter": 128, "WindowWidth": 200}


def read(made: Dataset | Path, folder: Path, **settings: Any) -> Picture | Reason:
    path = made if isinstance(made, Path) else folder / "one.dcm"
    if isinstance(made, Dataset):
        made.save_as(path, enforce_file_format=True)
    return read_images(path, Preparation(**{"image_size": 16, "burned_in": "keep", **settings}))


def both(made: Dataset | Path, folder: Path, **settings: Any) -> tuple[Picture, Picture]:
    """Reduced and full."""
    reduced, full = (read(made, folder, reduced_reading=one, **settings) for one in (True, False))
    assert isinstance(reduced, Picture), reduced
    assert isinstance(full, Picture), full
    return reduced, full


def difference(made: Dataset | Path, folder: Path, **settings: Any) -> tuple[float, int]:
    """Mean and largest, in greys of 255."""
    reduced, full = both(made, folder, **settings)
    assert reduced.marks == full.marks
    away = np.abs(reduced.frames.astype(int) - full.frames)
    return float(away.mean()), int(away.max())


@pytest.mark.parametrize("syntax", ["jpeg-2000", "jpeg-baseline"])
@pytest.mark.parametrize("size", [32, 64, 100])
def test_a_radiograph_of_nobody_is_as_by_full_decoding(tmp_path: Path, syntax: str, size: int) -> None:
    (path,) = write_radiographs(tmp_path / syntax, syntax, images=1, side=700)
    mean, most = difference(path, tmp_path, image_size=size)
    assert 0 < mean < 1.1
    assert most <= 4


@pytest.mark.parametrize("size", [32, 64])
def test_less_reading_is_as_close_to_exact_resampling_as_full_reading(tmp_path: Path, size: int) -> None:
    (path,) = write_radiographs(tmp_path / "files", "jpeg-2000", images=1, side=700)
    made = dcmread(path)
    grey = render(made, decode(made, 0), modality="DX").channels[0].astype(np.float32)
    exact = np.asarray(Image.fromarray(grey).resize((size, size), Image.Resampling.BICUBIC))
    reduced, full = (np.abs(one.frames[0, 0] - exact).mean() for one in both(path, tmp_path, image_size=size))
    assert reduced < full + 0.1


def real_pictures() -> list[Path]:
    """Some of every hospital that has grey pictures."""
    found = []
    for name in ("north-general", "university-chest", "river-ct", "europa-clinic", "neuro-institute"):
        files = sorted((HOSPITALS / name / "dicom").rglob("*.dcm"))
        found += files[:: max(1, len(files) // 5)][:5]
    return found


def compressed(path: Path, syntax: str) -> Dataset | None:
    """A real picture with a window, in another syntax; None for colours and where it cannot be written so."""
    made = dcmread(path)
    if "PixelData" not in made or made.SamplesPerPixel != 1 or made.get("NumberOfFrames", 1) > 1:
        return None
    if syntax == JPEGBaseline8Bit and made.BitsStored != 8:
        return None
    values = decode(made, 0).values
    if "WindowCenter" not in made:
        black, white = np.percentile(values, (1, 99))
        made.WindowCenter, made.WindowWidth = (black + white) / 2, white - black + 1
    made.pop("PixelPaddingValue", None)
    if made.file_meta.TransferSyntaxUID.is_encapsulated:
        made.decompress(generate_instance_uid=False)
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if syntax == JPEG2000Lossless:
        made.compress(JPEG2000Lossless, generate_instance_uid=False)
        return made
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "JPEG", quality=95)
    return encapsulated(made, stream.getvalue(), JPEGBaseline8Bit)


def encapsulated(made: Dataset, stream: bytes, syntax: str) -> Dataset:
    made.PixelData = encapsulate([stream])
    made["PixelData"].VR = "OB"
    made.file_meta.TransferSyntaxUID = syntax
    return made


@pytest.mark.skipif(not HOSPITALS.is_dir(), reason="no real hospital folders in ../shared/data")
@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGBaseline8Bit], ids=["jpeg-2000", "jpeg-baseline"])
def test_real_pictures_are_as_by_full_decoding(tmp_path: Path, syntax: str) -> None:
    differences = [
        difference(made, tmp_path, image_size=size)
        for path in real_pictures()
        if (made := compressed(path, syntax)) is not None
        for size in (16, 32, 48)
    ]
    reduced = [(mean, most) for mean, most in differences if most]
    assert len(reduced) >= 6
    assert max(mean for mean, _ in reduced) < MEAN
    assert max(most for _, most in reduced) <= MOST


@pytest.mark.parametrize(
    ("values", "settings"),
    [
        (ramp(96, 128), {}),
        (ramp(97, 129, white=4095), {"BitsStored": 12, "HighBit": 11}),
        (ramp(96, 128, white=4095), {"BitsStored": 12, "HighBit": 11}),
        (ramp(96, 128, white=65535), {}),
        (ramp(96, 128, white=4000).astype(np.int16) - np.int16(2000), {}),
        (ramp(96, 128, white=127).astype(np.int8), {}),
    ],
    ids=["8", "odd sides", "12", "16", "signed 16", "signed 8"],
)
@pytest.mark.parametrize("most", [2, 3.9, 4, 9])
def test_what_is_left_of_a_slope_lies_at_multiples_of_the_step(
    values: np.ndarray, settings: dict[str, int], most: float
) -> None:
    made = dataset(values, syntax=JPEG2000Lossless, **settings)
    stored = decode_reduced(made, 0, most=most)
    assert stored is not None
    assert stored.extent is not None
    step = round(values.shape[0] / stored.extent.shape[0])
    assert step <= most
    assert step == (2 if values.itemsize == 1 or values.shape == (97, 129) else 2 ** int(np.log2(most)))
    assert stored.values.dtype == decode(made, 0).values.dtype
    assert stored.extent.shape == (values.shape[0] / step, values.shape[1] / step)
    inner = stored.values[2:-3, 2:-3].astype(int)
    expected = values[::step, ::step].astype(int)[2 : 2 + inner.shape[0], 2 : 2 + inner.shape[1]]
    grain = np.ptp(values.astype(int)) / (sum(values.shape) - 2)  # of the slope, which the samples round
    assert_allclose(inner, expected, atol=2 + grain / 2)


def test_a_stream_is_halved_no_more_often_than_it_can_be(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(ramp(256, 256)).save(stream, "JPEG2000", no_jp2=True, num_resolutions=2)
    made = encapsulated(dataset(ramp(256, 256), **WINDOW), stream.getvalue(), JPEG2000Lossless)
    stored = decode_reduced(made, 0, most=8)
    assert stored is not None
    assert stored.values.shape == (129, 129)
    assert difference(made, tmp_path)[0] < MEAN


def holes(values: np.ndarray) -> np.ndarray:
    """With edges, so that anything but full reading shows."""
    rough = values.copy()
    rough[::3, ::5] = 0
    return rough


FULL: dict[str, tuple[Callable[[], Dataset], dict[str, Any]]] = {
    "as few pixels as this": (lambda: j2k(80, 80), {}),
    "percentiles decide": (lambda: j2k(Modality="DX", WindowCenter=None, WindowWidth=None), {}),
    "padding": (lambda: j2k(PixelPaddingValue=0), {}),
    "letters": (lambda: j2k(Modality="US"), {"burned_in": "mask"}),
    "fewer bits than coded": (lambda: j2k(BitsStored=7, HighBit=6), {}),
    "no highest bit": (lambda: j2k(HighBit=None), {}),
    "another syntax": (lambda: j2k(syntax=RLELossless), {}),
    "baseline with percentiles": (
        lambda: j2k(syntax=JPEGBaseline8Bit, Modality="DX", WindowCenter=None, WindowWidth=None),
        {},
    ),
}


def j2k(rows: int = 256, columns: int = 256, *, syntax: str = JPEG2000Lossless, **attributes: Any) -> Dataset:
    made = dataset(holes(ramp(rows, columns)), syntax=syntax, **WINDOW)
    for keyword, value in attributes.items():
        if value is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, value)
    if "PixelPaddingValue" in made:
        made["PixelPaddingValue"].VR = "US"
    return made


@pytest.mark.parametrize("case", FULL)
def test_a_picture_is_read_in_full_where_less_would_not_do(tmp_path: Path, case: str) -> None:
    make, settings = FULL[case]
    reduced, full = both(make(), tmp_path, **settings)
    assert_array_equal(reduced.frames, full.frames)


def test_the_same_picture_is_read_reduced_otherwise(tmp_path: Path) -> None:
    assert difference(j2k(), tmp_path)[1] > 0
    assert difference(j2k(syntax=JPEGBaseline8Bit), tmp_path)[1] > 0


def test_colours_are_read_in_full(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.dstack([holes(ramp(256, 256))] * 3)).save(stream, "JPEG", quality=95)
    made = encapsulated(
        dataset(np.dstack([ramp(256, 256)] * 3), PhotometricInterpretation="YBR_FULL_422"),
        stream.getvalue(),
        JPEGBaseline8Bit,
    )
    reduced, full = both(made, tmp_path)
    assert_array_equal(reduced.frames, full.frames)


@pytest.mark.parametrize("attributes", [{"PatientOrientation": ["R", "H"]}, {"PixelSpacing": [2, 1]}])
def test_a_picture_is_turned_and_stretched_as_by_full_decoding(
    tmp_path: Path, attributes: dict[str, Any]
) -> None:
    made = dataset(ramp(250, 300, white=65535), syntax=JPEG2000Lossless, Modality="DX", **attributes)
    made.WindowCenter, made.WindowWidth = 32768, 65535
    mean, most = difference(made, tmp_path)
    assert 0 < mean < 0.3
    assert most == 1


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGBaseline8Bit], ids=["jpeg-2000", "jpeg-baseline"])
def test_a_broken_stream_ends_as_by_full_decoding(tmp_path: Path, syntax: str) -> None:
    made = j2k(syntax=syntax)
    start, stream = made.PixelData[:16], made.PixelData[16:-8]  # offset table and the item's head
    for place in range(2, len(stream), len(stream) // 12):
        for broken in (stream[:place], stream[:place] + b"\xff\x93\x00" + stream[place + 3 :]):
            ends = []
            for reduced in (True, False):
                encapsulated(made, broken, syntax)
                ends.append(read(made, tmp_path, reduced_reading=reduced))
            assert isinstance(ends[0], Picture) == isinstance(ends[1], Picture), place
            assert isinstance(ends[0], Picture) or ends[0] is ends[1]
    assert start

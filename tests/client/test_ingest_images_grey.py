import zlib
from pathlib import Path

import numpy as np
import pytest
from ingest_samples import dataset, ramp, write_dicom
from numpy.testing import assert_allclose, assert_array_equal
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit

from client.ingest.images import Picture, read_images, stored
from client.ingest.images.grey import Shown, render
from client.ingest.images.picture import frame_numbers
from client.ingest.images.stored import decode
from client.ingest.rejected import Reason
from common.imaging.preparation import Preparation, WindowName

SMALL = Preparation(image_size=16, burned_in="keep")
EXACT = {"VOILUTFunction": "LINEAR_EXACT"}
HOUNSFIELD = {"RescaleSlope": 1, "RescaleIntercept": -1024}


def shown(
    made: Dataset, *, modality: str = "CR", windows: tuple[WindowName, ...] = (), frame: int = 0
) -> Shown:
    return render(made, decode(made, frame), modality=modality, frame=frame, ct_windows=windows)


@pytest.mark.parametrize(
    ("name", "black", "white"),
    [("lung", -1350, 149), ("soft-tissue", -160, 239), ("bone", -500, 1299), ("brain", 0, 79)],
)
def test_ct_windows_span_what_radiologists_read(name: WindowName, black: int, white: int) -> None:
    made = dataset(np.array([[black, white]], np.int16) + np.int16(1024), **HOUNSFIELD)
    assert shown(made, modality="CT", windows=(name,)).channels[0].tolist() == [[0, 255]]


def test_each_window_is_a_channel(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", ramp(16, 16, white=3000), **HOUNSFIELD)
    asked = {name: SMALL.model_copy(update={"ct_windows": (name,)}) for name in ("brain", "lung")}
    both = read_images(path, SMALL.model_copy(update={"ct_windows": ("brain", "lung")}))
    assert isinstance(both, Picture)
    assert both.frames.shape == (1, 2, 16, 16)
    for channel, preparation in enumerate(asked.values()):
        alone = read_images(path, preparation)
        assert isinstance(alone, Picture)
        assert_array_equal(both.frames[:, channel], alone.frames[:, 0])
    assert not np.array_equal(both.frames[0, 0], both.frames[0, 1])


@pytest.mark.parametrize("attributes", [{"Modality": "CR", **HOUNSFIELD}, {"Modality": "CT"}])
def test_what_is_not_in_hounsfield_units_is_the_same_in_every_channel(
    tmp_path: Path, attributes: dict[str, object]
) -> None:
    path = write_dicom(tmp_path / "a.dcm", ramp(16, 16, white=3000), **attributes)
    picture = read_images(path, SMALL.model_copy(update={"ct_windows": ("brain", "lung")}))
    assert isinstance(picture, Picture)
    assert_array_equal(picture.frames[0, 0], picture.frames[0, 1])


def test_bone_is_white_in_our_windows_even_where_the_file_shows_negatives() -> None:
    made = dataset(np.array([[0, 3000]], np.int16), PhotometricInterpretation="MONOCHROME1", **HOUNSFIELD)
    assert shown(made, modality="CT", windows=("bone",)).channels[0].tolist() == [[0, 255]]


def test_an_inverse_presentation_is_a_negative() -> None:
    window = {"WindowCenter": 5, "WindowWidth": 10, **EXACT}
    usual = dataset(np.array([[0, 10]], np.uint16), **window)
    inverse = dataset(np.array([[0, 10]], np.uint16), PresentationLUTShape="INVERSE", **window)
    assert shown(usual).channels[0].tolist() == [[0, 255]]
    assert shown(inverse).channels[0].tolist() == [[255, 0]]


@pytest.mark.parametrize(
    ("values", "attributes"),
    [
        (np.array([[0, 1, 0, 1, 0, 1, 0, 1]], np.uint8), {"BitsStored": 8}),
        (np.array([[-2048, 2047]], np.int16), {"BitsStored": 12, "HighBit": 11}),
        (np.array([[0, 1023]], np.uint16), {"BitsStored": 10, "HighBit": 9}),
        (np.array([[-(2**31), 2**31 - 1]], np.int32), {}),
        (np.array([[0, 2**32 - 1]], np.uint32), {}),
    ],
    ids=["8", "signed 12", "10", "signed 32", "32"],
)
def test_any_depth_of_bits_spans_black_to_white(values: np.ndarray, attributes: dict[str, int]) -> None:
    low, high = float(values.min()), float(values.max())
    window = {"WindowCenter": (low + high) / 2, "WindowWidth": high - low, **EXACT}
    seen = shown(dataset(values, **attributes, **window), modality="MR").channels[0]
    assert_array_equal(seen, np.where(values == values.max(), 255, 0))


def test_single_bits_are_black_and_white() -> None:
    bits = np.random.default_rng(0).integers(0, 2, (8, 16), dtype=np.uint8)
    made = dataset(bits, BitsAllocated=1, BitsStored=1, HighBit=0)
    made.PixelData = np.packbits(bits, bitorder="little").tobytes()
    assert_array_equal(shown(made, modality="SEG").channels[0], 255 * bits)


@pytest.mark.parametrize(("keyword", "dtype"), [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")])
def test_real_numbers_are_shown_and_what_is_no_number_is_black(keyword: str, dtype: str) -> None:
    values = np.linspace(-1, 1, 64).reshape(8, 8).astype(dtype)
    values[0, 0], values[7, 7] = np.nan, np.inf
    made = dataset(np.zeros((8, 8), np.uint8), WindowCenter=0, WindowWidth=2, **EXACT)
    del made.PixelData, made.BitsStored, made.HighBit, made.PixelRepresentation
    made.BitsAllocated = 8 * values.dtype.itemsize
    setattr(made, keyword, values.tobytes())
    seen = shown(made, modality="MR").channels[0]
    assert seen[0, 0] == seen[7, 7] == 0
    assert_allclose(seen.ravel()[1:-1], (values.ravel()[1:-1] + 1) / 2 * 255, atol=0.51)


def test_padding_is_black_and_does_not_count() -> None:
    chest = ramp(100, 100, white=1000) + np.uint16(100)
    inside = np.zeros(chest.shape, bool)
    inside[:, 30:70] = True
    padded = np.where(inside, chest, np.uint16(4095))
    made = dataset(padded, PixelPaddingValue=4000, PixelPaddingRangeLimit=4095)
    made["PixelPaddingValue"].VR = made["PixelPaddingRangeLimit"].VR = "US"
    seen = shown(made)
    assert_array_equal(seen.channels[0][~inside], 0)
    alone = shown(dataset(np.ascontiguousarray(chest[:, 30:70])))
    assert_allclose(seen.channels[0][:, 30:70].astype(int), alone.channels[0], atol=1)
    assert seen.padding_share == pytest.approx(0.6)


def test_padding_stays_black_in_a_negative() -> None:
    made = dataset(np.array([[0, 50, 100]], np.uint16), PhotometricInterpretation="MONOCHROME1")
    made.add_new("PixelPaddingValue", "US", 0)
    assert shown(made).channels[0][0, 0] == 0


def test_padding_of_signed_values_may_be_written_as_if_unsigned() -> None:
    made = dataset(np.array([[-2000, 0, 100]], np.int16), **HOUNSFIELD)
    made.add_new("PixelPaddingValue", "US", 65536 - 2000)
    assert shown(made, modality="CT").padding_share == pytest.approx(1 / 3)


def test_each_frame_has_its_own_rescale() -> None:
    groups = []
    for slope in (1, 2):
        item, group = Dataset(), Dataset()
        item.RescaleSlope, item.RescaleIntercept = slope, 0
        group.PixelValueTransformationSequence = [item]
        groups.append(group)
    window = {"WindowCenter": 100, "WindowWidth": 200, **EXACT}
    film = np.full((2, 2, 2), 50, np.uint16)
    made = dataset(film, NumberOfFrames=2, PerFrameFunctionalGroupsSequence=groups, **window)
    assert [shown(made, frame=frame).channels[0][0, 0] for frame in (0, 1)] == [64, 128]


def test_a_modality_table_comes_before_the_window() -> None:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [3, 10, 16], [0, 1000, 500]
    item["LUTData"].VR = "US"
    window = {"WindowCenter": 500, "WindowWidth": 1000, **EXACT}
    made = dataset(np.array([[9, 10, 11, 12, 13]], np.uint16), ModalityLUTSequence=[item], **window)
    assert shown(made).channels[0].tolist() == [[0, 0, 255, 128, 128]]


def test_overlays_are_not_drawn(tmp_path: Path) -> None:
    plain = write_dicom(tmp_path / "plain.dcm", ramp())
    made = dataset(ramp())
    made.add_new(0x60000010, "US", 48)
    made.add_new(0x60000011, "US", 48)
    made.add_new(0x60003000, "OW", b"\xff" * (48 * 48 // 8))
    made.save_as(tmp_path / "overlaid.dcm", enforce_file_format=True)
    seen = [read_images(path, SMALL) for path in (plain, tmp_path / "overlaid.dcm")]
    assert isinstance(seen[0], Picture)
    assert isinstance(seen[1], Picture)
    assert_array_equal(seen[0].frames, seen[1].frames)


@pytest.mark.parametrize(
    ("total", "wanted", "expected"),
    [(1, 1, (0,)), (10, 1, (5,)), (10, 2, (2, 7)), (3, 5, (0, 1, 2)), (8, 4, (1, 3, 5, 7))],
)
def test_frames_are_the_middles_of_equal_parts(total: int, wanted: int, expected: tuple[int, ...]) -> None:
    assert frame_numbers(total, wanted) == expected


def test_the_frame_that_the_file_calls_representative_is_kept(tmp_path: Path) -> None:
    film = np.stack([np.full((8, 8), 10 * number, np.uint8) for number in range(6)])
    made = {"NumberOfFrames": 6, "Modality": "US"}
    kept = read_images(write_dicom(tmp_path / "a.dcm", film, RepresentativeFrameNumber=2, **made), SMALL)
    assert isinstance(kept, Picture)
    assert kept.numbers == (1,)
    beyond = read_images(write_dicom(tmp_path / "b.dcm", film, RepresentativeFrameNumber=9, **made), SMALL)
    assert isinstance(beyond, Picture)
    assert beyond.numbers == (3,)


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEG2000Lossless])
def test_a_stream_that_declares_more_than_the_header_is_refused_unread(tmp_path: Path, syntax: str) -> None:
    path = write_dicom(tmp_path / "a.dcm", syntax=syntax)
    made = dcmread(path)
    stream = bytearray(next(generate_frames(made.PixelData, number_of_frames=1)))
    if syntax == JPEGBaseline8Bit:
        at = stream.find(b"\xff\xc0") + 5
        stream[at : at + 4] = b"\xff\xff\xff\xff"
    else:
        at = stream.find(b"\xff\x4f\xff\x51") + 8
        stream[at : at + 8] = (65535).to_bytes(4) * 2
    made.PixelData = encapsulate([bytes(stream)])
    made.save_as(path, enforce_file_format=True)
    assert read_images(path, SMALL) is Reason.TOO_LARGE


def test_a_deflated_file_that_swells_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_dicom(tmp_path / "a.dcm", syntax=DeflatedExplicitVRLittleEndian)
    assert isinstance(read_images(path, SMALL), Picture)
    content = path.read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    swollen = squeeze.compress(bytes(1 << 24)) + squeeze.flush()
    path.write_bytes(content[:start] + swollen)
    monkeypatch.setattr(stored, "MAX_INFLATED_BYTES", 1 << 22)
    assert read_images(path, SMALL) is Reason.TOO_LARGE


def test_what_follows_a_deflated_data_set_does_no_harm(tmp_path: Path) -> None:
    """A byte that makes the length even, say; beyond a megabyte it once was read for ever."""
    scan = np.zeros((1200, 1000), np.uint8)
    scan[300:900, 200:800] = 200
    path = write_dicom(tmp_path / "a.dcm", scan, syntax=DeflatedExplicitVRLittleEndian)
    whole = read_images(path, SMALL)
    path.write_bytes(path.read_bytes() + b"\0\0")
    padded = read_images(path, SMALL)
    assert isinstance(whole, Picture)
    assert isinstance(padded, Picture)
    assert_array_equal(padded.frames, whole.frames)

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ingest_samples import NATIVE, SYNTAXES, dataset, ramp, write_dicom
from numpy.testing import assert_allclose, assert_array_equal
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.processing import apply_modality_lut, apply_voi, apply_windowing
from pydicom.uid import UID, JPEGBaseline8Bit

from client.ingest.images import Picture, read_images, scan
from client.ingest.images.grey import render
from client.ingest.images.stored import decode
from client.ingest.rejected import Reason
from common.imaging.preparation import Preparation

HOUNSFIELD = {"RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": -600, "WindowWidth": 1500}


HALF_A_STEP = 0.5 / 255 + 1e-5
"""By which 256 grey values can miss a real number."""
SMALL = Preparation(image_size=16, burned_in="keep")
NATURAL = Preparation(image_size=48, burned_in="keep")
"""Of the size of `ramp()`."""


def pixels_of(path: Path) -> np.ndarray:
    picture = read_images(path, NATURAL)
    assert isinstance(picture, Picture), picture
    return picture.frames[0, 0]


def shown(dataset: Dataset, *, modality: str, frame: int = 0) -> np.ndarray:
    return render(dataset, decode(dataset, frame), modality=modality, frame=frame).channels[0] / 255


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: UID(syntax).name)
def test_every_transfer_syntax_shows_the_same_picture(tmp_path: Path, syntax: str) -> None:
    seen = pixels_of(write_dicom(tmp_path / "a.dcm", ramp(), syntax=syntax))
    assert_allclose(seen, ramp(), atol=3 if syntax == JPEGBaseline8Bit else 0)


@pytest.mark.parametrize("modality", ["CT", "CR"])
def test_monochrome1_is_the_negative_of_monochrome2(tmp_path: Path, modality: str) -> None:
    usual = pixels_of(write_dicom(tmp_path / "2.dcm", Modality=modality))
    inverted = pixels_of(
        write_dicom(tmp_path / "1.dcm", Modality=modality, PhotometricInterpretation="MONOCHROME1")
    )
    assert_allclose(inverted.astype(int), 255 - usual.astype(int), atol=1)


def test_the_first_of_several_windows_counts() -> None:
    lower_end_middle_upper_end = np.array([[-326, 424, 1174]], np.int16)
    windows = {"WindowCenter": [-600, 40], "WindowWidth": [1500, 400], "VOILUTFunction": "LINEAR_EXACT"}
    seen = shown(dataset(lower_end_middle_upper_end, **HOUNSFIELD | windows), modality="CT")
    assert_allclose(seen, [[0, 0.5, 1]], atol=HALF_A_STEP)


@pytest.mark.parametrize("bad_width", [0, -1, None])
def test_ct_without_a_usable_window_gets_the_one_for_soft_tissue(bad_width: float | None) -> None:
    attributes = HOUNSFIELD | {"WindowWidth": bad_width} if bad_width is not None else dict(HOUNSFIELD)
    if bad_width is None:
        del attributes["WindowWidth"]
    liver = dataset(np.full((4, 4), 1024 + 40, np.int16), **attributes)
    assert shown(liver, modality="CT")[0, 0] == pytest.approx(0.5, abs=0.01)


def test_a_hot_pixel_does_not_darken_a_radiograph_without_a_window() -> None:
    chest = ramp(100, 100, white=1000)
    chest[0, 0] = 60000
    seen = shown(dataset(chest, Modality="CR"), modality="CR")
    assert seen[50, 50] == pytest.approx(0.5, abs=0.02)


def test_colour_becomes_its_luminance() -> None:
    red_green_blue = np.zeros((1, 3, 3), np.uint8)
    red_green_blue[0, [0, 1, 2], [0, 1, 2]] = 255
    assert_allclose(shown(dataset(red_green_blue), modality="US")[0], [0.299, 0.587, 0.114], atol=HALF_A_STEP)


@pytest.mark.parametrize(("frames", "middle"), [(1, 0), (2, 1), (5, 2)])
def test_of_several_frames_the_middle_one_is_kept(tmp_path: Path, frames: int, middle: int) -> None:
    film = np.stack([np.full((4, 4), 10 * number, np.uint8) for number in range(frames)])
    path = write_dicom(tmp_path / "a.dcm", film, NumberOfFrames=frames, Modality="US")
    picture = read_images(path, SMALL)
    assert isinstance(picture, Picture)
    assert picture.numbers == (middle,)
    assert_array_equal(picture.frames, 10 * middle)


def test_a_window_in_the_frame_s_functional_group_counts() -> None:
    film = np.full((3, 2, 2), 1000, np.uint16)
    groups = []
    for center in (0, 1000, 5000):
        voi, group = Dataset(), Dataset()
        voi.WindowCenter, voi.WindowWidth, voi.VOILUTFunction = center, 100, "LINEAR_EXACT"
        group.FrameVOILUTSequence = [voi]
        groups.append(group)
    seen = shown(
        dataset(film, NumberOfFrames=3, PerFrameFunctionalGroupsSequence=groups), modality="MR", frame=1
    )
    assert_allclose(seen, 0.5, atol=HALF_A_STEP)


def test_a_lookup_table_gives_what_pydicom_gives() -> None:
    item = Dataset()
    item.LUTDescriptor = [256, 100, 12]
    item.LUTData = [int(4095 * (entry / 255) ** 2) for entry in range(256)]
    item["LUTData"].VR = "US"
    made = dataset(ramp(white=600), VOILUTSequence=[item])
    expected = apply_voi(made.pixel_array, made) / 4095
    assert_allclose(shown(made, modality="CR"), expected, atol=HALF_A_STEP)


REFERENCE_FILES = ["CT_small.dcm", "MR_small.dcm", "MR_small_bigendian.dcm", "693_J2KI.dcm"]


@pytest.mark.parametrize("name", REFERENCE_FILES)
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_are_pydicom_s_on_its_own_files(name: str, function: str) -> None:
    made = dcmread(str(get_testdata_file(name, download=False)))
    made.WindowCenter, made.WindowWidth, made.VOILUTFunction = 400, 900, function
    values = apply_modality_lut(made.pixel_array, made)
    lowest, highest = _range_of_pydicom(made)
    expected = (apply_windowing(values, made) - lowest) / (highest - lowest)
    assert_allclose(shown(made, modality=made.Modality), expected, atol=HALF_A_STEP)


def _range_of_pydicom(made: Dataset) -> tuple[float, float]:
    """Output range of `apply_windowing`: that of the stored bits after the rescale."""
    signed = made.PixelRepresentation == 1
    low = -(2 ** (made.BitsStored - 1)) if signed else 0
    high = low + 2**made.BitsStored - 1
    slope, intercept = float(made.get("RescaleSlope", 1)), float(made.get("RescaleIntercept", 0))
    return low * slope + intercept, high * slope + intercept


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: UID(syntax).name)
def test_a_file_cut_anywhere_is_refused_or_whole(tmp_path: Path, syntax: str) -> None:
    whole_path = write_dicom(tmp_path / "whole.dcm", syntax=syntax)
    whole, expected = whole_path.read_bytes(), pixels_of(whole_path)
    cut_path = tmp_path / "cut.dcm"
    for length in range(0, len(whole) - 1, max(1, len(whole) // 40)):
        cut_path.write_bytes(whole[:length])
        found = read_images(cut_path, NATURAL)
        if isinstance(found, Picture):
            assert_array_equal(found.frames[0, 0], expected)
        elif length > len(whole) - 200 and syntax in NATIVE:
            assert found == Reason.TRUNCATED


@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_a_jpeg_stream_cut_inside_a_whole_file_is_not_filled_with_grey(tmp_path: Path, share: float) -> None:
    path = write_dicom(tmp_path / "a.dcm", syntax=JPEGBaseline8Bit)
    made = dcmread(path)
    stream = next(generate_frames(made.PixelData, number_of_frames=1)).rstrip(b"\0")
    made.PixelData = encapsulate([stream[: int(len(stream) * share)]])
    made.save_as(path, enforce_file_format=True)
    assert read_images(path, NATURAL) == Reason.TRUNCATED


@pytest.fixture(scope="module")
def explicit_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dicom(tmp_path_factory.mktemp("fuzz") / "a.dcm", ramp(8, 8))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8))
def test_no_damage_makes_reading_raise(explicit_file: Path, edits: list[tuple[int, int]]) -> None:
    content = bytearray(explicit_file.read_bytes())
    for position, value in edits:
        content[position % len(content)] = value
    damaged = explicit_file.with_name("damaged.dcm")
    damaged.write_bytes(content)
    assert isinstance(read_images(damaged, SMALL), Picture | Reason)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"SOPInstanceUID": None}, Reason.NO_INSTANCE),
        ({"AccessionNumber": None, "StudyInstanceUID": None}, Reason.NO_STUDY),
        ({"Rows": 65535, "Columns": 65535}, Reason.TOO_LARGE),
        ({"Rows": 49}, Reason.TRUNCATED),
        ({"BitsAllocated": 7}, Reason.UNDECODABLE),
    ],
)
def test_what_a_header_lacks_is_named(tmp_path: Path, attributes: dict[str, object], reason: Reason) -> None:
    made = dataset(ramp())
    for keyword, value in attributes.items():
        if value is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, value)
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert read_images(tmp_path / "a.dcm", SMALL) == reason


def test_objects_that_are_no_images_are_named(tmp_path: Path) -> None:
    assert (
        read_images(Path(str(get_testdata_file("test-SR.dcm", download=False))), SMALL)
        == Reason.UNREAD_REPORT
    )
    made = dataset(ramp())
    del made.PixelData
    made.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert read_images(tmp_path / "a.dcm", SMALL) == Reason.TRUNCATED
    (tmp_path / "b.dcm").write_bytes(b"")
    assert read_images(tmp_path / "b.dcm", SMALL) == Reason.NOT_DICOM
    assert read_images(tmp_path / "absent.dcm", SMALL) == Reason.UNREADABLE


def test_a_syntax_without_a_decoder_is_named(tmp_path: Path) -> None:
    made = dataset(ramp())
    made.PixelData = encapsulate([b"\0" * 100])
    made.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"
    made.save_as(tmp_path / "video.dcm", enforce_file_format=True)
    assert read_images(tmp_path / "video.dcm", SMALL) == Reason.UNSUPPORTED_SYNTAX


def test_free_text_in_coded_fields_does_not_enter_the_header(tmp_path: Path) -> None:
    image = read_images(write_dicom(tmp_path / "a.dcm", ViewPosition="DOE JANE", Modality="DOE"), SMALL)
    assert isinstance(image, Picture)
    assert (image.header.view, image.header.modality) == ("", "")


def test_no_warning_quotes_a_header_value(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = write_dicom(
            tmp_path / "a.dcm", PatientID="x" * 80, StudyDate="Doe^Jane", Modality="ct too long"
        )
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        read_images(path, SMALL)
    assert seen == []
    assert capfd.readouterr() == ("", "")


def test_scanning_lists_files_in_order_and_names_the_rest(tmp_path: Path) -> None:
    for name in ("b", "c/1", "a/2", "a/1", "reports.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    files, refused = scan(tmp_path, leave_out=frozenset({(tmp_path / "reports.csv").resolve()}))
    assert [str(file.relative_to(tmp_path)) for file in files] == ["a/1", "a/2", "b", "c/1"]
    assert {(refusal.place, refusal.reason) for refusal in refused} == {
        ("a/loop", Reason.LINKED_FOLDER),
        ("broken", Reason.UNREADABLE),
        ("pipe", Reason.NOT_A_FILE),
    }

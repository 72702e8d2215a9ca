import io
from pathlib import Path

import numpy as np
import pytest
from ingest_samples import write_dicom
from numpy.testing import assert_array_equal
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset

from client.ingest.images import Picture, read_images
from client.ingest.images.lettering import find_lettering
from client.ingest.images.pieces import find_pieces
from client.ingest.rejected import Reason
from common.imaging.preparation import BurnedIn, Preparation

TEXTS = ("DOE^JANE 12.03.1961", "MRN 00482913", "St Brigid Hospital", "2021-11-30 14:22:07")
WARD = Path(__file__).parents[2].parent / "shared" / "data" / "hospitals"


def speckle(seed: int, *, size: int = 256) -> np.ndarray:
    """A fan of smooth speckle on black, as ultrasound looks."""
    chance = np.random.default_rng(seed)
    noise = Image.fromarray(chance.integers(0, 256, (size // 6, size // 6), dtype=np.uint8))
    smooth = np.asarray(noise.resize((size, size), Image.Resampling.BICUBIC)) * 0.4
    down, across = np.mgrid[0 : 1 : complex(size), -1 : 1 : complex(size)]
    return np.where(np.abs(across) < 0.2 + 0.6 * down, smooth, 0).astype(np.uint8)


def written(picture: np.ndarray, text: str, *, at: tuple[int, int], size: float, grey: int) -> np.ndarray:
    image = Image.fromarray(picture)
    ImageDraw.Draw(image).text(at, text, fill=grey, font=ImageFont.load_default(size))
    return np.asarray(image)


def share_found(picture: np.ndarray, ink: np.ndarray) -> float:
    covered = np.zeros(picture.shape, bool)
    for box in find_lettering(picture):
        covered[box.top : box.bottom, box.left : box.right] = True
    return float(covered[ink].mean())


@pytest.mark.parametrize("size", [10, 12, 16, 24, 32])
@pytest.mark.parametrize("grey", [110, 170, 255])
@pytest.mark.parametrize("text", TEXTS)
def test_text_is_found_whatever_its_size_and_contrast(text: str, size: int, grey: int) -> None:
    plain = speckle(size, size=384)
    picture = written(plain, text, at=(8, 6), size=size, grey=grey)
    assert share_found(picture, np.abs(picture.astype(int) - plain) > 30) > 0.95


def test_dark_text_on_bright_ground_is_found() -> None:
    plain = np.full((200, 300), 220, np.uint8)
    picture = written(plain, "DOE^JANE 1961", at=(20, 80), size=16, grey=20)
    assert share_found(picture, picture != plain) > 0.95


def test_every_line_of_a_full_page_is_found() -> None:
    page = np.full((1400, 1000), 255, np.uint8)
    for line in range(65):
        page = written(
            page,
            f"{line} " + "DOE^JANE of Lakeside, seen again " * 3,
            at=(20, 20 + 21 * line),
            size=15,
            grey=0,
        )
    assert share_found(page, page < 128) > 0.99


def test_text_that_went_through_jpeg_is_found() -> None:
    picture = written(speckle(1), "DOE^JANE 1961", at=(8, 6), size=14, grey=230)
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "JPEG", quality=80)
    blurred = np.asarray(Image.open(stream))
    assert share_found(blurred, picture > 200) > 0.95


@pytest.mark.parametrize("seed", range(8))
def test_speckle_is_no_text(seed: int) -> None:
    assert find_lettering(speckle(seed)) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (6, 6)])
def test_pictures_too_small_for_text_hold_none(shape: tuple[int, int]) -> None:
    assert find_lettering(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)) == []


def test_noise_of_black_and_white_is_hardly_taken_for_text() -> None:
    noise = np.random.default_rng(0).integers(0, 2, (512, 512), dtype=np.uint8) * np.uint8(255)
    found = find_lettering(noise)
    assert sum((box.bottom - box.top) * (box.right - box.left) for box in found) < 0.01 * noise.size


def test_pieces_are_those_of_a_flood_fill() -> None:
    white = np.random.default_rng(3).random((40, 50)) < 0.4
    pieces = find_pieces(white)
    owner = np.full(white.size, -1)
    owner[pieces.pixels] = pieces.owner
    grid = np.pad(owner.reshape(white.shape), 1, constant_values=-1)
    assert_array_equal(grid[1:-1, 1:-1] >= 0, white)
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
        moved = np.roll(grid, (-down, -across), (0, 1))
        both = (grid >= 0) & (moved >= 0)
        assert_array_equal(grid[both], moved[both])
    assert len(pieces) == flood_fills(white)


def flood_fills(white: np.ndarray) -> int:
    left = {(int(y), int(x)) for y, x in np.argwhere(white)}
    count = 0
    while left:
        count += 1
        edge = [left.pop()]
        while edge:
            y, x = edge.pop()
            near = {(y + down, x + across) for down in (-1, 0, 1) for across in (-1, 0, 1)} & left
            left -= near
            edge += near
    return count


def prepared(path: Path, burned_in: BurnedIn) -> Picture | Reason:
    return read_images(path, Preparation(image_size=256, burned_in=burned_in))


@pytest.fixture(scope="module")
def scan_with_text() -> np.ndarray:
    return written(speckle(5), "DOE^JANE 1961", at=(4, 4), size=16, grey=255)


def test_the_policy_decides_what_becomes_of_text(tmp_path: Path, scan_with_text: np.ndarray) -> None:
    path = write_dicom(tmp_path / "a.dcm", scan_with_text, Modality="US")
    kept, masked = prepared(path, "keep"), prepared(path, "mask")
    assert isinstance(kept, Picture)
    assert isinstance(masked, Picture)
    assert_array_equal(kept.frames[0, 0], scan_with_text)
    assert (kept.marks.burned_in, masked.marks.burned_in) == ("none", "masked")
    assert masked.frames[0, 0][scan_with_text > 200].max() == 0
    assert_array_equal(masked.frames[0, 0, 40:], scan_with_text[40:])
    assert prepared(path, "reject") is Reason.BURNED_IN_TEXT


@pytest.mark.parametrize(
    ("attributes", "looked_at"),
    [
        ({"Modality": "US"}, True),
        ({"Modality": "CR"}, False),
        ({"Modality": "CR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, True),
        ({"Modality": "CR", "BurnedInAnnotation": "YES"}, True),
        ({"Modality": "US", "BurnedInAnnotation": "NO"}, True),
    ],
)
def test_text_is_looked_for_where_it_is_common_or_announced(
    tmp_path: Path, scan_with_text: np.ndarray, attributes: dict[str, str], looked_at: bool
) -> None:
    path = write_dicom(tmp_path / "a.dcm", scan_with_text, **attributes)
    masked = prepared(path, "mask")
    assert isinstance(masked, Picture)
    assert masked.marks.burned_in == ("masked" if looked_at else "none")


@pytest.mark.parametrize(
    ("modality", "at", "hidden"),
    [("CT", (4, 4), True), ("CR", (4, 236), True), ("CT", (40, 120), False), ("US", (40, 120), True)],
)
def test_mask_all_looks_at_the_margins_of_every_picture(
    tmp_path: Path, modality: str, at: tuple[int, int], hidden: bool
) -> None:
    scan = written(speckle(5), "DOE^JANE 1961", at=at, size=16, grey=255)
    path = write_dicom(tmp_path / "a.dcm", scan, Modality=modality, WindowCenter=128, WindowWidth=256)
    masked = prepared(path, "mask-all")
    assert isinstance(masked, Picture)
    assert masked.marks.burned_in == ("masked" if hidden else "none")
    assert (masked.frames[0, 0][scan > 200].max() == 0) == hidden


def test_announced_text_that_is_not_found_cannot_be_masked(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", speckle(2), Modality="US", BurnedInAnnotation="YES")
    assert prepared(path, "mask") is Reason.BURNED_IN_TEXT
    assert prepared(path, "reject") is Reason.BURNED_IN_TEXT
    kept = prepared(path, "keep")
    assert isinstance(kept, Picture)
    assert kept.marks.burned_in == "flagged"


def test_what_lies_outside_of_the_ultrasound_regions_is_painted_over(tmp_path: Path) -> None:
    region = Dataset()
    region.RegionLocationMinX0, region.RegionLocationMaxX1 = 20, 235
    region.RegionLocationMinY0, region.RegionLocationMaxY1 = 30, 250
    bright = np.full((256, 256), 200, np.uint8)
    path = write_dicom(tmp_path / "a.dcm", bright, Modality="US", SequenceOfUltrasoundRegions=[region])
    masked = prepared(path, "mask")
    assert isinstance(masked, Picture)
    expected = np.zeros_like(bright)
    expected[30:251, 20:236] = 200
    assert_array_equal(masked.frames[0, 0], expected)


def test_text_in_one_frame_is_painted_over_in_all(tmp_path: Path, scan_with_text: np.ndarray) -> None:
    film = np.stack([speckle(5), scan_with_text])
    path = write_dicom(tmp_path / "a.dcm", film, Modality="US", NumberOfFrames=2)
    masked = read_images(path, Preparation(image_size=256, burned_in="mask", frames=2))
    assert isinstance(masked, Picture)
    assert masked.frames[:, 0, scan_with_text > 200].max() == 0


@pytest.mark.skipif(not WARD.is_dir(), reason="no real hospital folders in ../shared/data")
@pytest.mark.parametrize("hospital", ["ultrasound-ward"])
def test_little_of_real_ultrasound_without_text_is_painted_over(hospital: str) -> None:
    files = sorted(path for path in (WARD / hospital / "dicom").rglob("*") if path.is_file())[::4]
    painted = []
    for path in files:
        masked, kept = prepared(path, "mask"), prepared(path, "keep")
        assert isinstance(masked, Picture)
        assert isinstance(kept, Picture)
        painted.append((masked.frames != kept.frames).mean())
    assert np.mean(painted) < 0.02

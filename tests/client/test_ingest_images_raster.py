import zlib
from pathlib import Path

import numpy as np
import pytest
from ingest_samples import ramp
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from client.ingest.images import Picture, read_images
from client.ingest.rejected import Reason
from common.imaging.preparation import Preparation

NATURAL = Preparation(image_size=48, burned_in="keep")
ORIENTATION = 0x0112
"""The EXIF tag."""


def seen(path: Path, preparation: Preparation = NATURAL) -> Picture:
    picture = read_images(path, preparation)
    assert isinstance(picture, Picture), picture
    return picture


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P"])
def test_a_png_of_any_kind_shows_its_greys(tmp_path: Path, mode: str) -> None:
    path = saved(tmp_path / "chest.png", Image.fromarray(ramp()).convert(mode))
    picture = seen(path)
    assert_allclose(picture.frames[0, 0].astype(int), ramp(), atol=1)
    assert picture.header.instance_uid == "chest.png"
    assert (picture.header.patient_id, picture.header.study_uid, picture.header.modality) == ("", "", "")
    assert (picture.marks.source_rows, picture.marks.source_columns) == (48, 48)


def test_sixteen_bits_are_stretched_over_what_they_hold(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(ramp(white=4095)))
    picture = seen(path)
    assert picture.marks.window == "percentiles"
    assert_allclose(picture.frames[0, 0].astype(int), ramp(), atol=13)  # black and white are percentiles


def test_what_is_transparent_is_black(tmp_path: Path) -> None:
    pixels = np.full((48, 48, 4), 255, np.uint8)
    pixels[:, :24, 3] = 0
    square = seen(saved(tmp_path / "a.png", Image.fromarray(pixels))).frames[0, 0]
    assert_array_equal(square[:, :24], 0)
    assert_array_equal(square[:, 24:], 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_stands_upright_however_the_camera_was_held(tmp_path: Path, orientation: int) -> None:
    upright = Image.fromarray(ramp())
    held = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = upright if held is None else upright.transpose(held)
    path = saved(tmp_path / "a.jpg", stored, quality=98, exif=exif)
    assert_allclose(seen(path).frames[0, 0].astype(int), ramp(), atol=3)


def test_a_large_photograph_decoded_small_looks_the_same(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", Image.fromarray(ramp(800, 800)), quality=95)
    whole = seen(path, NATURAL.model_copy(update={"burned_in": "mask"}))
    small = seen(path)
    assert small.marks.source_rows == whole.marks.source_rows == 800
    assert_allclose(small.frames.astype(int), whole.frames, atol=2)


def test_a_picture_has_its_greys_in_every_channel(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(ramp()))
    picture = seen(path, NATURAL.model_copy(update={"ct_windows": ("lung", "bone")}))
    assert_array_equal(picture.frames[0, 0], picture.frames[0, 1])


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_picture_cut_anywhere_is_refused(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    whole = saved(tmp_path / name, Image.fromarray(noise)).read_bytes()
    cut = tmp_path / f"cut-{name}"
    for share in (0.1, 0.5, 0.9):
        cut.write_bytes(whole[: int(len(whole) * share)])
        assert read_images(cut, NATURAL) in (Reason.TRUNCATED, Reason.MALFORMED)


def test_a_picture_that_declares_a_monstrous_size_is_refused_unread(tmp_path: Path) -> None:
    content = bytearray(saved(tmp_path / "a.png", Image.fromarray(ramp())).read_bytes())
    content[16:24] = (65535).to_bytes(4) * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4)
    (tmp_path / "bomb.png").write_bytes(content)
    assert read_images(tmp_path / "bomb.png", NATURAL) is Reason.TOO_LARGE

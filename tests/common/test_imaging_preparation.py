import pytest
from pydantic import ValidationError

from common.imaging.preparation import ImagesSpec, Preparation


@pytest.mark.parametrize(
    ("windows", "channels"), [((), 1), (("lung",), 1), (("lung", "bone"), 2), (("brain", "bone", "lung"), 3)]
)
def test_several_windows_are_so_many_channels(windows: tuple[str, ...], channels: int) -> None:
    assert ImagesSpec.model_validate({"burned_in": "mask", "ct_windows": windows}).channels == channels


@pytest.mark.parametrize(
    "change",
    [
        {"image_size": 15},
        {"image_size": 1025},
        {"frames": 0},
        {"frames": 65},
        {"ct_windows": ["lung", "lung"]},
        {"ct_windows": ["liver"]},
        {"burned_in": "blur"},
        {"surplus": 1},
    ],
)
def test_what_makes_no_sense_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Preparation.model_validate({"image_size": 64, "burned_in": "mask"} | change)


def test_what_becomes_of_text_in_the_pixels_has_no_default() -> None:
    with pytest.raises(ValidationError, match="burned_in"):
        Preparation.model_validate({"image_size": 64})

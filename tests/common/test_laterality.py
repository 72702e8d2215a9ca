import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.text.laterality import SWAPPED, names_side, sides, swap_laterality
from common.text.ontology import sentences

REPORTS = Path(__file__).parents[3] / "shared" / "data"
SIDES = [word for pairs in SWAPPED.values() for pair in pairs for word in pair]
WORDS = [*SIDES, "effusion", "the", "base", "lung", "lobe", "2.5 cm", "no", "Rechtschreibung", "bright"]


@pytest.mark.parametrize(
    ("text", "turned"),
    [
        ("Small LEFT pleural effusion.", "Small RIGHT pleural effusion."),
        ("Right-sided pneumothorax; left lung clear.", "Left-sided pneumothorax; right lung clear."),
        ("Kleiner Erguss links, rechts kein Erguss.", "Kleiner Erguss rechts, links kein Erguss."),
        ("Linksseitiger Pleuraerguss", "Rechtsseitiger Pleuraerguss"),
        ("Derrame pleural izquierdo.", "Derrame pleural derecho."),
        ("Versamento pleurico sinistro", "Versamento pleurico destro"),
        ("Derrame à esquerda", "Derrame à direita"),
        ("The lungs are clear.", "The lungs are clear."),
        ("Brightness is adequate.", "Brightness is adequate."),
    ],
)
def test_left_and_right_change_places_in_the_case_they_have(text: str, turned: str) -> None:
    assert swap_laterality(text) == turned


@pytest.mark.parametrize(
    "text",
    [
        "Épanchement pleural gauche.",
        "Poumon droit clair",
        "The left ventricle is enlarged.",
        "Right heart failure.",
        "Consolidation of the LLL.",
        "Marker L is seen.",
        "Dextrocardia.",
        "Seen right away.",
        "The line was left in place.",
    ],
)
def test_a_side_that_cannot_be_turned_with_certainty_is_left_alone(text: str) -> None:
    assert swap_laterality(text) is None


@given(
    st.lists(st.sampled_from(WORDS), min_size=1).map(" ".join), st.sampled_from([str, str.upper, str.title])
)
def test_turning_twice_gives_the_text_back(text: str, case: object) -> None:
    cased = case(text)  # type: ignore[operator]
    turned = swap_laterality(cased)
    if turned is not None:
        assert swap_laterality(turned) == cased
        assert names_side(turned) == names_side(cased)
        assert (turned == cased) == (not names_side(cased))


def test_turning_twice_gives_every_public_sentence_back() -> None:
    turned = 0
    for sentence in sentences():
        once = swap_laterality(sentence)
        if once is not None:
            assert swap_laterality(once) == sentence
            turned += once != sentence
    assert turned > 50


@pytest.mark.skipif(not REPORTS.exists(), reason="the hospital folders do not lie beside the checkout")
def test_turning_twice_gives_every_text_of_the_real_hospitals_back() -> None:
    turned = seen = 0
    for path in sorted(REPORTS.rglob("*.json*"))[:40] + sorted(REPORTS.rglob("*.csv"))[:20]:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()[:4000]:
            for text in re.split(r"(?<=[.;])\s", line[:5000]):
                once = swap_laterality(text)
                seen += 1
                if once is not None:
                    assert swap_laterality(once) == text or not text.isascii() or mixed_case(text)
                    turned += once != text
    assert seen > 1000
    assert turned > 20


def mixed_case(text: str) -> bool:
    """Whether a side is written as nobody writes ("lEft"), which is not kept."""
    return any(
        found[0] not in (found[0].lower(), found[0].upper(), found[0].capitalize())
        for found in re.finditer("|".join(SIDES), text, re.IGNORECASE)
    )


@given(
    st.sampled_from(["Opacity on the LEFT.", "Verschattung rechts", "derrame izquierdo y derecho", "clear"])
)
def test_the_mirrored_text_names_the_other_sides(text: str) -> None:
    turned = swap_laterality(text)
    assert turned is not None
    assert sides(turned) == sides(text)[::-1]


def test_sides_are_told_in_any_language() -> None:
    assert sides("Opacity on the left, derecho") == (True, True)
    assert sides("Verschattung linksbasal") == (True, False)
    assert sides("destra") == (False, True)
    assert sides("a bright lung") == (False, False)

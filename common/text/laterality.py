"""Left and right in a report: mirrored together with the image, or not at all.

A mirrored image contradicts its report unless "left" and "right" change places there, too. Where a word of
side cannot be turned with certainty, the report says so and its image must stay as it is.
"""

import re
from collections.abc import Sequence

Sides = tuple[bool, bool]
"""Whether the left is meant, and whether the right is."""

NOWHERE: Sides = (False, False)

SWAPPED: dict[str, tuple[tuple[str, str], ...]] = {
    "en": (("left", "right"), ("leftward", "rightward"), ("leftwards", "rightwards")),
    "de": (
        ("links", "rechts"), ("linke", "rechte"), ("linker", "rechter"), ("linken", "rechten"),
        ("linkes", "rechtes"), ("linkem", "rechtem"), ("linksseitig", "rechtsseitig"),
        ("linksseitige", "rechtsseitige"), ("linksseitiger", "rechtsseitiger"),
        ("linksseitigen", "rechtsseitigen"), ("linksseitiges", "rechtsseitiges"),
        ("linksbasal", "rechtsbasal"), ("linkslateral", "rechtslateral"),
    ),
    "es": (
        ("izquierdo", "derecho"), ("izquierda", "derecha"), ("izquierdos", "derechos"),
        ("izquierdas", "derechas"),
    ),
    "it": (("sinistro", "destro"), ("sinistra", "destra"), ("sinistri", "destri"), ("sinistre", "destre")),
    "nl": (("linkszijdig", "rechtszijdig"), ("linkszijdige", "rechtszijdige")),
    "pt": (
        ("esquerdo", "direito"), ("esquerda", "direita"), ("esquerdos", "direitos"),
        ("esquerdas", "direitas"),
    ),
}  # fmt: skip
"""Language -> words of the left and of the right; words that two languages share stand once."""

UNSURE = re.compile(
    r"\b(?:"
    r"gauches?|droite?s?"  # French: "gauche" hides whether it was "droit" or "droite"
    r"|right[ -](?:away|angle[sd]?|now|before|after|hand(?:ed)?)|left[ -]hand(?:ed)?"
    r"|(?:has|have|had|was|is) left"
    r"|(?:left|right)[ -](?:ventric|atri|heart|coronar|bundle|main)\w*"  # names of parts, whatever the image
    r"|(?:levo|dextro)\w*|situs|[lr]v[hd]?|[lr]a[de]|[lr](?:ul|ml|ll)|[lr]t"
    r")\b",
    re.IGNORECASE,
)
"""Words that say a side and have no certain counterpart, or that are no side at all."""

_PAIRS = {a: b for pairs in SWAPPED.values() for one, other in pairs for a, b in ((one, other), (other, one))}
_LEFT = frozenset(left for pairs in SWAPPED.values() for left, _ in pairs)
_SIDE = re.compile(
    r"(?<![^\W_])(?:" + "|".join(sorted(_PAIRS, key=len, reverse=True)) + r")(?![^\W_])", re.IGNORECASE
)
_BOTH = re.compile(
    r"\b(?:bilateral\w*|bibasal|bibasilar|biapical|beidseit\w*"
    r"|both (?:\w+ )?(?:sides|lungs|bases|apices|angles|hila|hemithoraces|zones|lobes))\b",
    re.IGNORECASE,
)
_SAME = re.compile(
    r"\s*(?:(?:consistent|compatible|in keeping) with|(?:suggest|represent|indicat)(?:ing|ive)|due to)\b",
    re.IGNORECASE,
)
"""How a part of a sentence begins that explains the part before it."""
_LETTER = re.compile(r"(?<![\w.])[LR](?![\w.])")


def names_side(text: str) -> bool:
    """Whether `text` says left or right in a word that can be turned."""
    return _SIDE.search(text) is not None


def sides(text: str) -> Sides:
    """Whether `text` names the left, and whether it names the right, in words that can be turned."""
    if _BOTH.search(text):
        return True, True
    named = {found.casefold() in _LEFT for found in _SIDE.findall(text)}
    return True in named, False in named


def placed(parts: Sequence[str], *, named: Sequence[bool]) -> list[Sides]:
    """The sides of each part of a clause, as commas part it: "nodule, left upper zone, cardiomegaly".

    A part that names a finding and no side has that of a part beside it that names a side and no finding
    (the one before comes first), or, where it explains the part before it, that of this.

    Args:
        parts: in order.
        named: whether a part names a finding.
    """
    found = [sides(part) for part in parts]
    own = [any(where) for where in found]
    for at, part in enumerate(parts):
        if own[at] and not named[at]:
            for beside in (at - 1, at + 1):
                if 0 <= beside < len(parts) and named[beside] and not any(found[beside]):
                    found[beside] = found[at]
                    break
        elif at and named[at] and not any(found[at]) and _SAME.match(part):
            found[at] = found[at - 1]
    return found


def swap_laterality(text: str) -> str | None:
    """`text` as it reads of the mirrored image, or None where that is not certain.

    Swapping twice gives the text back. None for a lone "L" or "R", for French sides (whose gender is lost),
    for abbreviations such as "LLL", and for parts such as the left ventricle.
    """
    if UNSURE.search(text) or _LETTER.search(text):
        return None
    turned = _SIDE.sub(lambda found: _in_case_of(found[0], _PAIRS[found[0].casefold()]), text)
    return None if UNSURE.search(turned) else turned


def _in_case_of(model: str, word: str) -> str:
    """`word` in capitals, with a capital, or in lower case, as `model` is."""
    if model.isupper():
        return word.upper()
    return word.capitalize() if model[0].isupper() else word

"""Reports in the house style of a hospital, which say what is true of the study and nothing against it.

A house prefers some phrases, some headings and an order; it mentions what is absent more or less often,
hedges, and pads its reports with remarks that have nothing to do with the findings. No report holds a name,
a date or a number of a patient.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from simulations.phantom.findings import NAMES, ZONES, Finding, Findings, Name, nodule_radius
from simulations.phantom.phrases import (
    ABSENT,
    ABSENT_PAIRS,
    ADVICE,
    COMPARISONS,
    DISTRACTORS,
    HISTORIES,
    NORMAL,
    POSSIBLE,
    PRESENT,
    SHORT,
    SIZES,
    TECHNIQUES,
    Phrases,
)

Style = Literal["sections", "narrative", "telegram", "numbered", "headed", "capitals"]
STYLES: tuple[Style, ...] = ("sections", "narrative", "telegram", "numbered", "headed", "capitals")

MM_PER_UNIT = 215.0
"""Millimetres in a body unit: the radiograph of 2 units is 43 cm wide."""


@dataclass(frozen=True)
class HouseStyle:
    """How one hospital words its reports."""

    style: Style
    phrases: Mapping[str, Phrases]
    """Finding or kind of device -> the phrases that this house uses when it is there."""
    absent: Mapping[Name, Phrases]
    lobes: bool
    """Says "right middle lobe" rather than "right mid zone"."""
    negation: float
    """Chance that an absent finding is mentioned."""
    hedging: float
    """Chance that a mild finding is called possible."""
    chatter: float
    """Mean number of remarks without truth value."""


@dataclass(frozen=True)
class Case:
    """What a report is about."""

    findings: Findings
    sex: str
    age: int
    """Years."""
    view: str
    heart_ratio: float
    """Cardiothoracic ratio as drawn."""
    is_follow_up: bool


def house_style(style: Style, chance: np.random.Generator) -> HouseStyle:
    """A house that uses about two thirds of all phrases, in `style`."""
    table = SHORT if style == "telegram" else PRESENT
    return HouseStyle(
        style=style,
        phrases={finding: _some(phrases, chance) for finding, phrases in table.items()},
        absent={finding: _some(phrases, chance) for finding, phrases in ABSENT.items()},
        lobes=bool(chance.random() < 0.4),
        negation=float(chance.uniform(0.10, 0.35)),
        hedging=float(chance.uniform(0.0, 0.25)),
        chatter=float(chance.uniform(0.2, 0.8)),
    )


def write_report(case: Case, house: HouseStyle, chance: np.random.Generator) -> str:
    """The report of `case`; another draw of `chance` words it otherwise."""
    body = _present(case, house, chance) + _absent(case, house, chance)
    if not case.findings and (not body or chance.random() < 0.5):
        body.insert(0, _pick(NORMAL, chance))
    remarks = chance.permutation(len(DISTRACTORS))[: min(int(chance.poisson(house.chatter)), 3)]
    body += [DISTRACTORS[int(index)] for index in remarks]
    ordered = [body[int(index)] for index in chance.permutation(len(body))]
    return _LAYOUTS[house.style](ordered, _conclusion(case, chance), _context(case, chance), chance)


def _present(case: Case, house: HouseStyle, chance: np.random.Generator) -> list[str]:
    return [_state(finding, case, house, chance) for finding in case.findings.values()]


def _state(finding: Finding, case: Case, house: HouseStyle, chance: np.random.Generator) -> str:
    slots = _slots(finding, case, house.lobes)
    kind = _kind(finding)
    if finding.severity < 0.4 and finding.name != "device" and chance.random() < house.hedging:
        plain = _pick(SHORT[kind][:1], chance).format(**slots)
        return _pick(POSSIBLE, chance).format(plain)
    return _pick(house.phrases[kind], chance).format(**slots)


def _kind(finding: Finding) -> str:
    """The key of the phrase tables."""
    if finding.side == "bilateral":
        return f"{finding.name}, both"
    return finding.kind or finding.name


def _slots(finding: Finding, case: Case, lobes: bool) -> dict[str, str]:
    mm = round(2 * nodule_radius(finding.severity) * MM_PER_UNIT)
    return {
        "side": finding.side,
        "zone": finding.zone,
        "place": _place(finding, lobes),
        "size": SIZES[finding.name][min(int(finding.severity * 3), 2)],
        "mm": str(mm),
        "a_mm": f"an {mm}" if mm in (8, 11, 18) else f"a {mm}",
        "ratio": f"{case.heart_ratio:.2f}",
    }


def _place(finding: Finding, lobes: bool) -> str:
    if not lobes or finding.zone not in ZONES:
        return f"{finding.side} {finding.zone} zone"
    if finding.zone == "mid":
        return "right middle lobe" if finding.side == "right" else "lingula of the left lung"
    return f"{finding.side} {finding.zone} lobe"


def _absent(case: Case, house: HouseStyle, chance: np.random.Generator) -> list[str]:
    """Some of the findings that are not there, alone or two in one phrase."""
    unsaid = {name for name in NAMES if name not in case.findings and chance.random() < house.negation}
    if "device" in unsaid and chance.random() < 0.6:
        unsaid.discard("device")
    said = []
    for pair, phrase in ABSENT_PAIRS:
        if unsaid.issuperset(pair) and chance.random() < 0.4:
            said.append(phrase)
            unsaid -= set(pair)
    said += [_pick(house.absent[name], chance) for name in NAMES if name in unsaid]
    return said


def _conclusion(case: Case, chance: np.random.Generator) -> str:
    """The impression: the findings in a few words, in order of severity."""
    if not case.findings:
        return _pick(NORMAL, chance)
    worst_first = sorted(case.findings.values(), key=lambda finding: -finding.severity)
    plain = [
        _pick(SHORT[_kind(finding)][:2], chance).format(**_slots(finding, case, lobes=False))
        for finding in worst_first[:3]
    ]
    return ", ".join(plain)


def _context(case: Case, chance: np.random.Generator) -> dict[str, str]:
    """History, technique and comparison: sentences that say nothing of what is seen."""
    person = {"F": "woman", "M": "man"}[case.sex]
    return {
        "history": _pick(HISTORIES, chance).format(age=case.age, person=person),
        "technique": _pick(TECHNIQUES[case.view], chance),
        "comparison": _pick(COMPARISONS[case.is_follow_up], chance),
    }


def _sections(body: list[str], conclusion: str, context: dict[str, str], chance: np.random.Generator) -> str:
    lines = []
    for header in ("history", "technique", "comparison"):
        if chance.random() < 0.45:
            lines.append(f"{header.upper()}: {_sentences([context[header]])}")
    lines.append(f"FINDINGS: {_sentences(body)}")
    lines.append(f"IMPRESSION: {_sentences([conclusion])}")
    return "\n".join(lines)


def _narrative(body: list[str], conclusion: str, context: dict[str, str], chance: np.random.Generator) -> str:
    opening = [context["technique"]] if chance.random() < 0.5 else []
    if chance.random() < 0.3:
        opening.append(context["history"])
    closing = [_pick(ADVICE, chance)] if chance.random() < 0.2 else []
    if chance.random() < 0.25:
        closing.insert(0, f"in summary, {conclusion}")
    return _sentences([*opening, *body, *closing])


def _telegram(body: list[str], conclusion: str, context: dict[str, str], chance: np.random.Generator) -> str:
    words = [*body] if body else [conclusion]
    if chance.random() < 0.3:
        words.insert(0, context["technique"])
    separator = "; " if chance.random() < 0.5 else ". "
    return separator.join(_capital(word) for word in words) + "."


def _numbered(body: list[str], conclusion: str, context: dict[str, str], chance: np.random.Generator) -> str:
    lines = [f"Indication: {_sentences([context['history']])}"] if chance.random() < 0.6 else []
    lines.append("Findings:")
    lines += [f"{number}. {_capital(phrase)}." for number, phrase in enumerate(body, start=1)]
    lines.append(f"Conclusion: {_sentences([conclusion])}")
    return "\n".join(lines)


def _headed(body: list[str], conclusion: str, context: dict[str, str], chance: np.random.Generator) -> str:
    opening = [context["history"]] if chance.random() < 0.4 else []
    closing = [f"opinion: {conclusion}"] if chance.random() < 0.5 else []
    return "Report: " + _sentences([*opening, *body, *closing])


def _capitals(body: list[str], conclusion: str, context: dict[str, str], chance: np.random.Generator) -> str:
    opening = [context["technique"]] if chance.random() < 0.4 else []
    text = f"{_sentences([*opening, *body])}\nIMPRESSION: {_sentences([conclusion])}"
    return f"FINDINGS: {text}".upper()


_LAYOUTS = {
    "sections": _sections,
    "narrative": _narrative,
    "telegram": _telegram,
    "numbered": _numbered,
    "headed": _headed,
    "capitals": _capitals,
}


def _sentences(phrases: list[str]) -> str:
    return " ".join(f"{_capital(phrase)}." for phrase in phrases)


def _capital(phrase: str) -> str:
    return phrase[:1].upper() + phrase[1:]


def _pick(phrases: Phrases, chance: np.random.Generator) -> str:
    return phrases[int(chance.integers(len(phrases)))]


def _some(phrases: Phrases, chance: np.random.Generator) -> Phrases:
    """About two thirds of `phrases`, in their order, and never none."""
    keep = max(1, round(len(phrases) * 2 / 3))
    return tuple(phrases[index] for index in sorted(chance.permutation(len(phrases))[:keep]))

"""The whole attack, short or full, and the page that it leaves."""

from collections.abc import Callable, Iterator
from pathlib import Path

from common.files import write_whole
from common.page import style, template
from simulations.attacks.privacy.canaries import attack_with_canaries
from simulations.attacks.privacy.final_model import attack_final_model
from simulations.attacks.privacy.finding import Finding
from simulations.attacks.privacy.noise import attack_joint_noise, attack_noise, attack_sampling
from simulations.attacks.privacy.replay import replay_ledger
from simulations.attacks.privacy.sensitivity import (
    EVERY_OBJECTIVE,
    TABLES,
    attack_model,
    attack_towers,
    turn_a_group,
)

PAGE = "privacy-audit.html"
EPSILON = 8.0
"""What the canaries are told is promised."""
MODEL_EPSILON, STEPS = 0.25, 150
"""Of the canaries in the final model, which can prove 2.4 at most; and for how long it is trained."""


def attack(*, full: bool, on_finding: Callable[[Finding], None]) -> list[Finding]:
    """Every attack; `full` tries more patients, seeds and canaries. Sizes are fixed: nobody stops early."""
    findings = []
    for finding in _all(full):
        on_finding(finding)
        findings.append(finding)
    return findings


def _all(full: bool) -> Iterator[Finding]:
    yield from attack_towers(patients=64, draws=48 if full else 6)
    yield turn_a_group()
    alone = [(name,) for name in (TABLES if full else ("global_contrastive", "masked_language"))]
    yield from attack_model([*alone, EVERY_OBJECTIVE], seeds=3 if full else 1)
    yield from attack_noise(coordinates=1_000_000 if full else 100_000)
    yield from attack_joint_noise(coordinates=1_000_000 if full else 100_000)
    yield from attack_sampling(steps=10_000 if full else 1_000)
    yield from replay_ledger()
    yield from attack_with_canaries(canaries=1000 if full else 300, steps=50 if full else 10, epsilon=EPSILON)
    if full:
        yield from attack_final_model(canaries=400, steps=STEPS, epsilon=MODEL_EPSILON)


def verdict(findings: list[Finding]) -> str:
    """One sentence for people who read no further."""
    broken = [finding for finding in findings if not finding.as_expected and finding.kind == "check"]
    missed = [finding for finding in findings if not finding.as_expected and finding.kind == "control"]
    if broken:
        return f"{len(broken)} of the promises were broken: {'; '.join(finding.name for finding in broken)}"
    if missed:
        return f"the attack has no power: it missed {'; '.join(finding.name for finding in missed)}"
    checks = sum(finding.kind == "check" for finding in findings)
    return (
        f"{checks} attacks found no violation, and all {len(findings) - checks} pipelines that were broken "
        f"on "
        "purpose were found; this is no evidence of privacy beyond the proof"
    )


def write_page(folder: Path, findings: list[Finding], *, full: bool) -> Path:
    """Write the findings as one page that loads nothing."""
    path = folder / PAGE
    parts = {
        "sensitivity": "How much one patient can change the sum",
        "noise": "Noise",
        "sampling": "Who takes part",
        "ledger": "Ledger",
        "canaries": "What the released sums tell",
        "model": "What the final model tells",
    }
    page = template(__package__, "page.html").render(
        style=style(),
        verdict=verdict(findings),
        good=all(finding.as_expected for finding in findings),
        form="full" if full else "short",
        parts=[(title, [each for each in findings if each.part == part]) for part, title in parts.items()],
    )
    write_whole(path, page.encode())
    return path

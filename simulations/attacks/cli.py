"""`fedvlp-sim attack`: audits by attack; a broken promise ends with exit code 4."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from common.errors import PolicyError

if TYPE_CHECKING:  # imports torch: seconds that no other command should wait
    from simulations.attacks.privacy.finding import Finding

LOG = "attack.log"
"""What hospitals would find in their logs: every refusal again, before the finding that tells of it."""

attack = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    help="Attack our own promises, and publish the result.",
)


@attack.command("hub")
def hub_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Let a malicious hub loose on the real hospital app with secure aggregation.

    The control, the same curiosity without secure aggregation, must succeed: it shows that attacks can see.
    """
    import tempfile

    from simulations.attacks.hub.attacks import run_attacks
    from simulations.grid import log_to

    with tempfile.TemporaryDirectory(prefix="fedvlp-attack-") as folder, log_to(Path(folder) / LOG):
        control, *findings = run_attacks(Path(folder))
    if as_json:
        typer.echo(
            json.dumps([vars(finding) | {"failed": finding.failed} for finding in (control, *findings)])
        )
    else:
        for finding in (control, *findings):
            read = "noise" if finding.failed else "the update"
            ended = finding.stopped_by or f"reads {read}, likeness {finding.likeness:.3f}"
            typer.echo(f"{'✓' if finding.failed else '✗'} {finding.attack}: {finding.what} -> {ended}")
    if control.failed:
        raise PolicyError("the control failed: the attacks could not see an update without protection either")
    if broken := [finding.attack for finding in findings if not finding.failed]:
        raise PolicyError(f"secure aggregation is broken by: {', '.join(broken)}")


@attack.command("privacy")
def privacy_command(
    out: Annotated[Path, typer.Option(help="Folder for privacy-audit.html.")] = Path("audit"),
    full: Annotated[
        bool,
        typer.Option("--full/--short", help="Minutes instead of less than one: more patients and canaries."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Try to break the differential privacy of this very installation.

    Patients who want to be noticed, noise and coins under test, a ledger replayed, canaries in the
    gradients; and the same attacks on pipelines that are broken on purpose, which must be caught.
    """
    from simulations.attacks.privacy.audit import attack as attack_privacy
    from simulations.attacks.privacy.audit import verdict, write_page

    findings = attack_privacy(full=full, on_finding=lambda finding: None if as_json else _say(finding))
    page = write_page(out, findings, full=full)
    if as_json:
        document = {"verdict": verdict(findings), "findings": [each.model_dump() for each in findings]}
        print(json.dumps(document))
    else:
        print(f"{verdict(findings)}\nreport: {page}")
    if not all(finding.as_expected for finding in findings):
        raise PolicyError(
            f"the privacy audit failed, see {page}: do not train on patients with this installation"
        )


def _say(finding: Finding) -> None:
    sign = "✓" if finding.as_expected else "✗"
    print(f"{sign} {finding.part:<12}{finding.kind:<8} {finding.name}: {finding.words}", flush=True)

"""`fedvlp-site doctor`: everything between this hospital and its first round, one line each."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from client.options import HOME, Home, JsonOutput

if TYPE_CHECKING:
    from client.doctor.finding import Finding
    from client.doctor.network import Line
    from common.bundle_folder import Bundle

COLOURS = {"pass": typer.colors.GREEN, "warn": typer.colors.YELLOW, "fail": typer.colors.RED}


def doctor(
    store: Annotated[Path | None, typer.Option("--store", help="Folder of the store to look at.")] = None,
    ledger: Annotated[
        Path | None, typer.Option("--ledger", help="Folder of the ledger; HOME/ledger unless given.")
    ] = None,
    home: Home = HOME,
    as_json: JsonOutput = False,
) -> None:
    """Say what is fit and what is not, with what to do; exit code 0, 5, or 6 where signatures fail.

    Nothing is changed, and nothing of the hospital is sent: the line is measured with random bytes.
    """
    from client.audit import AUDIT
    from client.doctor.finding import exit_code
    from client.doctor.machine import examine_machine
    from client.doctor.network import examine_network
    from client.doctor.packages import examine_packages
    from client.doctor.papers import examine_papers
    from client.doctor.records import examine_audit, examine_ledger, examine_store
    from client.home import AUTHORITY, LEDGER
    from client.home import Home as SiteHome

    place = SiteHome(home.expanduser())
    name = place.name
    findings, bundle = examine_papers(place, now=datetime.now(UTC))
    findings += examine_packages(bundle)
    model_bytes = 0 if bundle is None else 4 * bundle.project.layout.num_coordinates
    findings += examine_machine(place.folder, model_bytes=model_bytes)
    findings += examine_store(store, bundle)
    findings += examine_ledger(ledger or place.folder / LEDGER, site=name, bundle=bundle)
    findings += examine_audit(place.folder / AUDIT)
    line = None
    if not any(finding.check == "kit" and finding.status == "fail" for finding in findings):
        hub, authority = place.kit().hub, place.folder / AUTHORITY
        found, line = examine_network(hub, authority, environment=os.environ)
        findings += found
    findings += _round(bundle, line)
    if as_json:
        document = {"site": name, "findings": [finding.model_dump() for finding in findings]}
        typer.echo(json.dumps(document, indent=2))
    else:
        for finding in findings:
            _say(finding)
    raise typer.Exit(exit_code(findings))


def _round(bundle: "Bundle | None", line: "Line | None") -> list["Finding"]:
    """How long the exchange of one round takes on this line."""
    from client.doctor.finding import passed
    from common.update import instruction_bytes

    if bundle is None or line is None or line.megabytes_per_second is None:
        return []
    layout = bundle.project.layout
    down = instruction_bytes(layout.num_coordinates, len(layout.names)) / 1e6
    up = bundle.project.answer_bytes / 1e6
    seconds = (down + up) / line.megabytes_per_second
    train = bundle.project.spec.train
    return [
        passed(
            "round",
            f"about {seconds:,.1f} s of exchange ({down:,.2f} MB down, {up:,.2f} MB up, both at the speed "
            f"upwards), beside {train.local_steps} steps of training",
        )
    ]


def _say(finding: "Finding") -> None:
    status = typer.style(finding.status, fg=COLOURS[finding.status])
    typer.echo(f"{status}  {finding.check:<21}{finding.found}")
    if finding.fix:
        typer.echo(f"      {'':<21}-> {finding.fix}")

"""`fedvlp-server project`: make and sign what hospitals approve, and see who did."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from common.approval import Statement
from common.errors import ConfigurationError
from common.loading import loading
from common.roster import read_roster
from common.signed import read_signed
from common.spec.run import read_spec
from common.store import Store
from server.home import HubHome
from server.members import Members
from server.provision_cli import HOME, Home, PasswordFile, password_of
from server.versions import Versions

project = typer.Typer(no_args_is_help=True, help="Projects: what hospitals approve and obey.")

BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the project bundle.")]

_IMAGE = re.compile(r"sha256:[0-9a-f]{64}")


@project.command("create")
def create(
    spec: Annotated[Path, typer.Argument(metavar="SPEC.toml", help="The run spec.")],
    site: Annotated[list[str], typer.Option(help="A member that may take part; repeat for each.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long an approval may last.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle; new or empty.")],
    bank: Annotated[Path | None, typer.Option(help="Store of the public bank.")] = None,
    roster: Annotated[
        Path | None, typer.Option(help="The signed roster; needed with secure aggregation.")
    ] = None,
    image: Annotated[
        str | None, typer.Option(metavar="sha256:...", help="Digest of the container image that runs it.")
    ] = None,
    password_file: PasswordFile = None,
    home: Home = HOME,
) -> None:
    """Train the vocabulary on public text, pin code, packages, settings and terms, and sign it all."""
    with loading():
        from common.bundle_folder import Offer, sign_bundle
        from common.project import create_project
        from server.flower_app import lock_file

    place = HubHome(home.expanduser())
    consortium = place.consortium()
    for name in site:
        Members(place).current(name)
    if image is not None and not _IMAGE.fullmatch(image):
        raise ConfigurationError(f"--image {image} is no digest; give sha256: and 64 hex digits")
    if out.exists() and any(out.iterdir()):
        raise ConfigurationError(f"{out} is not empty; name a new folder for the bundle")
    operator = place.operator(password_of(place, password_file))
    settings = read_spec(spec)
    made = create_project(
        out,
        settings,
        sites=site,
        bank=None if bank is None else Store(bank),
        roster=None if roster is None else read_roster(roster),
    )
    now = datetime.now(UTC)
    with place.locked():
        versions = Versions(place)
        offer = Offer(
            consortium=consortium.name,
            version=versions.next(settings.name),
            fab=_fab(),
            lock=lock_file().read_bytes(),
            image=image,
            created=now,
            expires=now + timedelta(days=days),
        )
        bundle = sign_bundle(made, offer, operator)
        versions.add(settings.name, bundle.digest)
    typer.echo(
        f"project {settings.name} version {offer.version} for {len(site)} sites, "
        f"{made.layout.num_coordinates:,} parameters, {made.tokenizer.vocabulary_size:,} word pieces, "
        f"in {out}"
    )
    typer.echo(f"hash {bundle.digest}")


@project.command("receive")
def receive(
    statements: Annotated[list[Path], typer.Argument(metavar="STATEMENT...", help="What sites sent.")],
    home: Home = HOME,
) -> None:
    """Take approvals and revocations that came by file; a hub that runs obeys them from its next round on."""
    with loading():
        from server.approvals import ApprovalBox

    box = ApprovalBox(HubHome(home.expanduser()))
    for path in statements:
        said = read_signed(path, Statement)
        box.receive(said, now=datetime.now(UTC))
        typer.echo(f"{said.site}: {said.decision} {said.bundle[:12]}, statement {said.sequence}")


@project.command("approvals")
def approvals(
    bundle: BundleFolder,
    home: Home = HOME,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say which sites approve a bundle at this moment, as far as the hub knows."""
    with loading():
        from common.bundle_folder import open_bundle
        from server.approvals import ApprovalBox

    place = HubHome(home.expanduser())
    opened = open_bundle(bundle, operator=place.consortium().operator, now=datetime.now(UTC))
    approving = set(ApprovalBox(place).approvers(opened.digest))
    if as_json:
        sites = {name: name in approving for name in opened.manifest.sites}
        typer.echo(json.dumps({"bundle": opened.digest, "sites": sites}, indent=2))
        return
    for name in opened.manifest.sites:
        typer.echo(f"{name}  {'approves' if name in approving else 'has not approved'}")


def _fab() -> bytes:
    from tempfile import TemporaryDirectory

    from server.flower_app import app_folder, build_app

    with TemporaryDirectory() as folder:
        return build_app(app_folder(Path(folder))).fab

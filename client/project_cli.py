"""`fedvlp-site project`: look at what the operator proposes, approve it by its hash, or take that back."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from client.clock import SiteClock
from client.options import HOME, Home, JsonOutput
from common.errors import ConfigurationError, PolicyError

if TYPE_CHECKING:
    from client.approvals import Approvals
    from client.explanation import Explanation
    from common.approval import Statement

PAGE_COLUMNS = 100
"""Of a page that goes to no terminal."""
DIGITS = 12
"""Of a digest, that a person compares; the operator's signature covers all of it."""

project = typer.Typer(no_args_is_help=True, help="What may run here: one approved bundle, or nothing.")

BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder of the project bundle.")]
StatementFile = Annotated[
    Path | None, typer.Option("--out", help="The signed statement for the operator; here unless given.")
]


@project.command("show")
def show(
    bundle: BundleFolder,
    home: Home = HOME,
    as_json: JsonOutput = False,
) -> None:
    """Say in plain words what would be trained, what would leave, and what changed since the last one."""
    explained = _explain(_approvals(home), bundle)
    if as_json:
        typer.echo(explained.model_dump_json(indent=2))
    else:
        _print(explained)


@project.command("approve")
def approve(
    bundle: BundleFolder,
    hash_: Annotated[
        str | None,
        typer.Option(
            "--hash", help="The bundle's hash as `show` printed it, or its first 12 digits or more."
        ),
    ] = None,
    out: StatementFile = None,
    home: Home = HOME,
) -> None:
    """Let exactly this bundle run here from now on, in the place of any other; its roster is approved too."""
    approvals = _approvals(home)
    explained = _explain(approvals, bundle)
    if hash_ is None:
        if not sys.stdin.isatty():
            raise ConfigurationError(
                "there is no terminal to ask on: give --hash with what `fedvlp-site project show` printed"
            )
        _print(explained)
        typer.confirm(
            f"approve bundle {explained.bundle[:DIGITS]} for {explained.site}?", abort=True, err=True
        )
    elif len(hash_) < DIGITS or not explained.bundle.startswith(hash_.lower()):
        raise PolicyError(
            f"{bundle} has the hash {explained.bundle}, not {hash_}; look at it again with "
            "`fedvlp-site project show`"
        )
    approved, statement = approvals.approve(bundle, now=SiteClock(approvals.home.folder).noted())
    path = _hand_out(statement, f"{statement.site}.{approved.manifest.name}", out)
    typer.echo(
        f"{approved.manifest.name} version {approved.manifest.version} approved, hash {approved.digest}"
    )
    typer.echo(f"statement in {path}; the hub asks for it, or send it to the operator")


@project.command("revoke")
def revoke(out: StatementFile = None, home: Home = HOME) -> None:
    """Take the approval back: the next message is refused, and nothing runs here until another approval."""
    approvals = _approvals(home)
    statement = approvals.revoke(now=SiteClock(approvals.home.folder).noted())
    path = _hand_out(statement, f"{statement.site}.revoked", out)
    typer.echo(f"bundle {statement.bundle[:DIGITS]} is revoked at {statement.site}; statement in {path}")


@project.command("status")
def status(home: Home = HOME) -> None:
    """Say what is in force here; exit code 4 if nothing is."""
    approvals = _approvals(home)
    manifest = approvals.in_force(now=SiteClock(approvals.home.folder).now())
    typer.echo(
        f"{manifest.name} version {manifest.version} until {manifest.expires:%Y-%m-%d %H:%M} UTC, "
        f"hash {manifest.digest()}"
    )


@project.command("prune")
def prune(home: Home = HOME) -> None:
    """Remove app and weights of bundles that others replaced; what was approved, and the last one, stay."""
    freed = _approvals(home).prune()
    typer.echo(f"{freed / 1e6:,.1f} MB freed; manifests and settings of all approved bundles are still here")


def _approvals(home: Path) -> "Approvals":
    from client.approvals import Approvals
    from client.home import Home as SiteHome

    return Approvals(SiteHome(home.expanduser()))


def _explain(approvals: "Approvals", folder: Path) -> "Explanation":
    from client.explanation import explain
    from common.bundle_folder import Bundle
    from common.project import open_project

    bundle = approvals.open(folder, now=SiteClock(approvals.home.folder).now())
    earlier = approvals.before(bundle.manifest.name)
    before = None
    if earlier is not None:
        before = Bundle(earlier, open_project(approvals.folder_of(earlier.digest())))
    return explain(bundle, site=approvals.home.name, before=before)


def _hand_out(statement: "Statement", name: str, out: Path | None) -> Path:
    path = out or Path(f"{name}.{statement.sequence}.approval.json")
    statement.save(path)
    return path


def _print(explained: "Explanation") -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PAGE_COLUMNS)
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for title, lines in _rows(explained):
        table.add_row(title, "\n".join(lines if len(lines) == 1 else [f"- {line}" for line in lines]))
    console.print(table)


def _rows(explained: "Explanation") -> list[tuple[str, tuple[str, ...]]]:
    budget = "no budget: the project has no differential privacy"
    if explained.epsilon is not None:
        budget = f"epsilon {explained.epsilon:g} of each patient here, at delta {explained.delta:g}"
    if explained.epsilon_alone is not None:
        budget += f"; {explained.epsilon_alone:.2f} if the hub and all other hospitals work together"
    if explained.compared_with is None:
        changed: tuple[str, ...] = ("nothing of this name was approved here before",)
    else:
        changed = tuple(f"{one.setting}: {one.before} -> {one.now}" for one in explained.changes) or (
            f"nothing against version {explained.compared_with}",
        )
    return [
        ("project", (f"{explained.project} version {explained.version}, of {explained.consortium}",)),
        ("hash", (explained.bundle,)),
        ("trained", (explained.trained,)),
        ("on", (explained.data,)),
        ("for", (explained.duration,)),
        ("with", (", ".join(explained.sites),)),
        ("leaves", explained.leaves),
        ("protected by", explained.protection),
        ("may spend", (budget,)),
        ("runs", tuple(f"{what} {digest[:DIGITS]}" for what, digest in explained.runs.items())),
        ("mind", explained.warnings or ("nothing",)),
        ("changed", changed),
    ]

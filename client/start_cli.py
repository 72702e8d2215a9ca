"""`fedvlp-site start`: the site at work."""

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from client.home import LEDGER
from client.home import Home as SiteHome
from client.options import HOME, Home, StoreFolder
from common.errors import ConfigurationError


def start(
    store: StoreFolder,
    bank: Annotated[Path | None, typer.Option(help="Folder of the project's public bank.")] = None,
    ledger: Annotated[
        Path | None, typer.Option(help="Folder of the privacy ledger; HOME/ledger unless given.")
    ] = None,
    memory_gib: Annotated[
        int | None,
        typer.Option(
            "--memory-gib", min=1, help="Of the app's process; all that the container has unless given."
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="OMP_NUM_THREADS of every process.")] = 1,
    secure_only: Annotated[
        bool, typer.Option("--secure-only", help="Take part in no project without secure aggregation.")
    ] = False,
    require_landlock: Annotated[
        bool,
        typer.Option(
            "--require-landlock", help="Run no app that the system cannot keep off other files (Linux 6.2)."
        ),
    ] = False,
    home: Home = HOME,
) -> None:
    """Take part in what was approved here, until SIGTERM or Ctrl-C.

    Runs the SuperNode, which speaks with the hub, and the gate, which lets the approved app run and no other,
    in a process without a network. An approval, a revocation or an expiry holds from the next message on.
    """
    from client.site_processes import SiteWork  # brings Flower, which no other command of a site waits for

    place = SiteHome(home.expanduser().resolve())
    node = _node(place, {"store": store, "bank": bank, "ledger": ledger}, secure_only=secure_only)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        SiteWork(place, node, memory_gib, threads, require_landlock).keep_running(typer.echo)
    except KeyboardInterrupt:
        typer.echo(f"{place.name} stopped")


def _node(
    home: SiteHome, folders: Mapping[str, Path | None], *, secure_only: bool
) -> dict[str, str | int | float | bool]:
    """What the app is told of this site.

    The ledger in the home is named even before it is begun: only a private project opens it, and is refused
    without one.
    """
    for name, folder in folders.items():
        if folder is not None and not folder.is_dir():
            raise ConfigurationError(f"--{name} {folder} is no folder; name the one that was made")
    named = {"ledger": home.folder / LEDGER} | {
        key: value for key, value in folders.items() if value is not None
    }
    node: dict[str, str | int | float | bool] = {"site": home.name, "home": str(home.folder)}
    node |= {name: str(folder.resolve()) for name, folder in named.items()}
    return node | {"require-secure-aggregation": True} if secure_only else node

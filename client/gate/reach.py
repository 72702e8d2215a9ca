"""The files that an approved app may reach: what it trains on, what it must write down, no key it can spare.

| | |
|---|---|
| to read | the store, the public bank, the approved bundles, what the site's people decided |
| to read, with secure aggregation | the keys with which it signs and seals a round, the roster |
| to change | the audit log, the ledger, the state of its rounds, a folder for scratch |
| to run | Python, its packages and the system's |

Not: the site's other keys, its linked patients, its logs, approvals to change, other people's folders.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from client.approvals import APPROVALS, PROJECTS
from client.audit import AUDIT
from client.clock import CLOCK
from client.gate.wire import NodeConfig
from client.home import IDENTITY, KIT, REQUEST, ROSTER, ROUNDS, SEALING, Home
from client.landlock import CHANGE, READ, RUN, USE, Access
from client.round import TRAINING
from common.errors import ConfigurationError

SYSTEM = ("/bin", "/lib", "/lib32", "/lib64", "/opt", "/sbin", "/usr")
SETTINGS = ("group", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "nsswitch.conf", "passwd")
"""Of /etc; other files there may hold passwords of proxies and drives."""
DECISIONS = (APPROVALS, KIT, REQUEST)
"""Files that are replaced as a whole, so that a process confined before reaches them no more."""
SECURE = (IDENTITY, SEALING, ROSTER)
KEPT = (AUDIT, ROUNDS, TRAINING)
"""Folders of the home that the app writes to."""

Rules = tuple[tuple[str, Access], ...]


@dataclass(frozen=True)
class Reach:
    """Of one app at one site."""

    folders: Rules
    decisions: Rules
    """Files that people replace while an app waits for its next message."""

    @property
    def rules(self) -> Rules:
        """All of them, the system's too."""
        return (*self.folders, *self.decisions, *_system())

    def marks(self) -> Mapping[str, tuple[int, int] | None]:
        """By what one sees that a decision is another file now, which an app that was confined before does
        not reach."""
        return {path: _mark(path) for path, _ in self.decisions}


NOWHERE = Reach((), ())
"""Of an app that is told of no folder."""


def reach_of(node: NodeConfig, project: Path | None, *, secure: bool) -> Reach:
    """What the app of `project` needs at a site; folders that it writes to are made.

    Args:
        node: what the app is told of this site.
        project: folder of the project that it serves.
        secure: whether the project has secure aggregation.

    Raises:
        ConfigurationError: a folder cannot be made, or a key is damaged.
    """
    told = [Path(str(node[key])) for key in ("store", "bank", "project") if node.get(key)]
    folders = [(path, READ) for path in (*told, *([] if project is None else [project]))]
    decisions: list[tuple[Path, Access]] = []
    if node.get("home"):
        place = Home(Path(str(node["home"])))
        if secure:
            place.sealing()
        for name in (*KEPT, PROJECTS, CLOCK):
            _make(place.folder / name)
        folders += [(place.folder / name, READ) for name in (PROJECTS, CLOCK)]
        folders += [(place.folder / name, CHANGE) for name in KEPT]
        decisions = [(place.folder / name, READ) for name in (*DECISIONS, *(SECURE if secure else ()))]
    if node.get("ledger"):  # another folder once it is begun, or restored
        decisions.append((Path(str(node["ledger"])), CHANGE))
    return Reach(_told(folders), _told(decisions))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        return  # no folder, but something in its way: whoever writes there says so
    except OSError as error:
        raise ConfigurationError(
            f"{folder}: {error.strerror}; give the home back to the user who runs this site",
            outward="audit log cannot be written",
        ) from None


def _system() -> Rules:
    """Python and what it runs on."""
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    code = {sys.prefix, sys.base_prefix, *filter(None, (*sys.path, *libraries)), *SYSTEM}
    settings = [str(Path("/etc") / name) for name in SETTINGS]
    return (
        *((path, RUN) for path in sorted(code)),
        *((path, READ) for path in (*settings, "/proc", "/sys")),
        ("/dev", USE),
        ("/dev/shm", CHANGE),
    )


def _told(rules: list[tuple[Path, Access]]) -> Rules:
    return tuple((str(path.absolute()), access) for path, access in rules)


def _mark(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino

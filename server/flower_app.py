"""The Flower app that a deployment runs: client/, common/ and server/ with their pyproject.toml."""

import shutil
import tomllib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from flwr.cli.build import build_fab_from_disk
from flwr.cli.config_utils import load_and_validate
from flwr.common.config import flatten_dict

import common
from common.errors import ConfigurationError

PYPROJECT, LICENSE, LOCK = "pyproject.toml", "LICENSE", "requirements.lock"
PROJECT, FOLDER = "fedvlp", "fedvlp-app"
"""The project's name, and the name of the assembled folder (Flower allows letters, digits and hyphens)."""

PACKAGED = Path(__file__).parent / "packaged"
"""Where a wheel carries the repository's own pyproject.toml, LICENSE and lock; absent in a checkout."""


@dataclass(frozen=True)
class FlowerApp:
    """What Flower sends to a hospital, and what may be set in it."""

    fab: bytes
    """The same bytes for the same sources; the SHA-256 is what a hospital approves."""
    settings: frozenset[str]
    """Names in [tool.flwr.app.config]; a run may set these and no others."""


def app_folder(into: Path) -> Path:
    """Assemble the app in `into`/fedvlp-app, replacing an older one, and return that folder.

    Exactly the files of `fab-include` are copied, beside pyproject.toml and LICENSE, byte for byte, so
    `flwr build` makes the same bundle here as in the repository, whether FedVLP runs from a checkout or was
    installed as a wheel. Building in the repository itself works too, and walks every file of it first.

    Raises:
        ConfigurationError: neither a checkout nor a wheel that carries its pyproject.toml.
    """
    packages = Path(common.__file__).parents[1]
    described = _described_by(packages)
    folder = into / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    app = tomllib.loads((described / PYPROJECT).read_text())["tool"]["flwr"]["app"]
    for pattern in app["fab-include"]:
        for source in packages.glob(pattern):
            target = folder / source.relative_to(packages)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    for name in (PYPROJECT, LICENSE):  # last: beside installed packages there may be another's LICENSE
        shutil.copyfile(described / name, folder / name)
    return folder


def build_app(app: Path) -> FlowerApp:
    """Build the bundle (FAB) of the Flower app in the folder `app`.

    Raises:
        ConfigurationError: the folder is not an app that Flower accepts.
    """
    try:
        config, _ = load_and_validate(app / PYPROJECT)
        with warnings.catch_warnings():  # Flower asks pathspec for patterns by their former name
            warnings.filterwarnings("ignore", message="GitWildMatchPattern", category=DeprecationWarning)
            fab = build_fab_from_disk(app)
    except (ValueError, click.ClickException) as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"{app} is no Flower app: {reason}") from None
    return FlowerApp(fab, frozenset(flatten_dict(config["tool"]["flwr"]["app"].get("config", {}))))


def lock_file() -> Path:
    """The packages, pinned, that the app runs with.

    Raises:
        ConfigurationError: neither a checkout nor a wheel that carries them.
    """
    file = _described_by(Path(common.__file__).parents[1]) / LOCK
    if not file.is_file():
        raise ConfigurationError(f"this installation of FedVLP carries no {LOCK}; install the wheel again")
    return file


def _described_by(packages: Path) -> Path:
    for folder in (packages, PACKAGED):
        if _name_in(folder / PYPROJECT) == PROJECT and (folder / LICENSE).is_file():
            return folder
    raise ConfigurationError(
        f"this installation of FedVLP carries no {PYPROJECT} to build the Flower app from; "
        "run from a checkout of the repository or install the wheel again"
    )


def _name_in(pyproject: Path) -> str | None:
    try:
        content: dict[str, Any] = tomllib.loads(pyproject.read_text())
    except (OSError, tomllib.TOMLDecodeError):
        return None
    name = content.get("project", {}).get("name")
    return name if isinstance(name, str) else None

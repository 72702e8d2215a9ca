"""What the operator sets for one run at the hub; everything else is in the project.

Imported by who starts a run, which takes long enough: what the run itself needs is imported when it begins.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from common.errors import ConfigurationError
from server.report.records import RUN_FILE

Engine = Literal["inprocess", "ray", "deployment"]


@dataclass(frozen=True)
class RunSettings:
    """What the operator sets for one run; everything else is in the project."""

    project: Path
    out: Path
    evaluation_stores: dict[str, Path]
    """Site -> a store whose held-out rows the hub may read, as in simulation; may be empty."""
    resume: bool
    engine: Engine
    hub: Path | None = None
    """Home of the consortium, whose members must have approved the project; None in simulation."""

    @property
    def kept_project(self) -> Path:
        """Where the run keeps what the hospitals obey."""
        return self.out / "project"

    @property
    def checkpoints(self) -> Path:
        """Where the hub's state lies."""
        return self.out / "checkpoints"

    def to_config(self) -> dict[str, str | bool]:
        """As Flower's run configuration: flat text."""
        return {
            "project": str(self.project),
            "out": str(self.out),
            "evaluation-stores": os.pathsep.join(
                f"{name}={path}" for name, path in self.evaluation_stores.items()
            ),
            "resume": self.resume,
            "engine": self.engine,
            "hub": "" if self.hub is None else str(self.hub),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, object]) -> "RunSettings":
        """The inverse of `to_config`.

        Raises:
            ConfigurationError: `project` or `out` is not set, or a store is not written NAME=PATH.
        """
        for key in ("project", "out"):
            if not config.get(key):
                raise ConfigurationError(f"run configuration lacks '{key}': set it with --run-config")
        listed = [pair for pair in str(config.get("evaluation-stores", "")).split(os.pathsep) if pair]
        for pair in listed:
            if "=" not in pair:
                raise ConfigurationError(f"evaluation-stores: '{pair}' is not NAME=PATH")
        return cls(
            project=Path(str(config["project"])),
            out=Path(str(config["out"])),
            evaluation_stores={name: Path(path) for name, path in (pair.split("=", 1) for pair in listed)},
            resume=bool(config.get("resume", False)),
            engine=cast(Engine, str(config.get("engine", "deployment"))),
            hub=Path(str(config["hub"])) if config.get("hub") else None,
        )


def refuse_another_run(settings: RunSettings) -> None:
    """Leave a folder that holds a run as it is.

    Raises:
        ConfigurationError: it does.
    """
    if settings.checkpoints.exists() or (settings.out / RUN_FILE).exists():
        raise ConfigurationError(f"{settings.out} holds a run already: add --resume or name another --out")

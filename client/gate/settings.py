"""What a gate is started with: a JSON file that only this site's own people write."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from client.gate.rules import ApprovedRule, PinnedRule, Rule, require_joined
from client.gate.wire import NodeConfig
from client.home import Home
from common.errors import ConfigurationError
from common.files import sha256_of
from common.regular_file import read_regular


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ApprovedSettings(_Section):
    """Run what was approved in this home."""

    kind: Literal["approved"]
    home: Path


class PinnedSettings(_Section):
    """Run this very file, at a node of no consortium."""

    kind: Literal["pinned"]
    fab: Path
    project: Path | None
    """Whose terms hold for what it may say and how long it may take; None for an app without any."""


class GateSettings(_Section):
    """Where the SuperNode is, what may run, and what the app is told of this site."""

    runtime: str
    """"host:port" of the SuperNode's Runtime API."""
    secret: Path
    """File that the SuperNode and this gate share."""
    rule: Annotated[ApprovedSettings | PinnedSettings, Field(discriminator="kind")]
    node: NodeConfig
    """See `client.round.open_site`."""
    memory_gib: PositiveInt | None
    """What the app's process may have; None for all that the machine, or its container, has."""
    require_landlock: bool = False
    """Whether nothing runs where the system cannot keep the app off files."""

    @property
    def parsed_rule(self) -> Rule:
        """The rule that they name.

        Raises:
            ConfigurationError: its home or file is not there.
        """
        if isinstance(self.rule, ApprovedSettings):
            return ApprovedRule(require_joined(Home(self.rule.home)))
        try:
            return PinnedRule(self.rule.fab, sha256_of(self.rule.fab), self.rule.project)
        except OSError as error:
            raise ConfigurationError(f"{self.rule.fab}: {error.strerror}; name the app's file") from None


def read_settings(path: Path) -> GateSettings:
    """The settings in the file `path`.

    Raises:
        ConfigurationError: it cannot be read, or holds something else.
    """
    try:
        return GateSettings.model_validate_json(read_regular(path))
    except OSError as error:
        raise ConfigurationError(
            f"{path}: {error.strerror}; start the gate with `fedvlp-site start`"
        ) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(
            f"{path}: {where}: {first['msg']}; start it with `fedvlp-site start`"
        ) from None

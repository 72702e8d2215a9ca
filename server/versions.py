"""Which bundles were made of a project: HUB/projects.json, name -> their digests in order."""

from dataclasses import dataclass

from pydantic import RootModel, ValidationError

from common.errors import ConfigurationError
from common.files import write_whole
from common.regular_file import read_regular
from server.home import HubHome

PROJECTS = "projects.json"


@dataclass(frozen=True)
class Versions:
    """Of the consortium of `home`."""

    home: HubHome

    def next(self, name: str) -> int:
        """The number of the next bundle of this name, from 1."""
        return len(self._read().get(name, [])) + 1

    def add(self, name: str, digest: str) -> None:
        """Note a bundle that was signed."""
        known = self._read()
        text = RootModel(known | {name: [*known.get(name, []), digest]}).model_dump_json(indent=2)
        write_whole(self.home.folder / PROJECTS, text.encode() + b"\n")

    def _read(self) -> dict[str, list[str]]:
        path = self.home.folder / PROJECTS
        try:
            return RootModel[dict[str, list[str]]].model_validate_json(read_regular(path)).root
        except FileNotFoundError:
            return {}
        except ValidationError:
            raise ConfigurationError(f"{path} is damaged; restore it from your backup") from None

"""What the hub's own processes share, and nobody else sees: HUB/service/, made by `fedvlp-server start`.

service/authority.pem    vouches for the SuperLink to the proxy and the executor; its key is never written
service/server.pem       certificate of the SuperLink for the loopback
service/server.key       its key
service/operator.secret  shown by whoever calls Control; new at every start
service/secret           shared by SuperLink and executor; new at every start
service/hub.json         where the running hub listens; absent when none runs
service/runs/            a file per run that has not ended, see `server.unfinished`
service/logs/            what the processes and the runs print
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import ConfigurationError
from common.files import write_whole
from common.lock_file import held_alone
from common.regular_file import read_regular
from server.authority import AUTHORITY_DAYS
from server.control import Control
from server.credentials import (
    ServerCertificate,
    issue_server_certificate,
    server_certificate_in,
    write_secret,
)
from server.home import HubHome

SERVICE, HUB_FILE, LOCK = "service", "hub.json", ".lock"


class RunningHub(BaseModel):
    """Where the hub listens at this moment."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1]
    address: str
    """host:port of the SuperLink, on the loopback."""
    session: str
    """Another one at every start of the SuperLink, which begins empty."""


@dataclass(frozen=True)
class Interior:
    """HUB/service of a hub's home."""

    home: HubHome

    @property
    def folder(self) -> Path:
        """Private to the operator's account."""
        return self.home.folder / SERVICE

    def certificate(self) -> ServerCertificate:
        """The SuperLink's, made once; it never leaves this machine."""
        found = server_certificate_in(self.folder)
        if all(path.exists() for path in (found.authority, found.certificate, found.key)):
            return found
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return issue_server_certificate(self.folder, days=AUTHORITY_DAYS)

    def new_secrets(self) -> tuple[Path, Path]:
        """Files of the executor's and the operator's secret, both made anew."""
        return write_secret(self.folder / "secret"), write_secret(self.folder / "operator.secret")

    def announce(self, hub: RunningHub) -> None:
        """Let the operator's commands find the running hub."""
        write_whole(self.folder / HUB_FILE, hub.model_dump_json(indent=2).encode() + b"\n")

    def withdraw(self) -> None:
        """The hub runs no more."""
        (self.folder / HUB_FILE).unlink(missing_ok=True)

    def running(self) -> RunningHub:
        """The hub that runs on this home.

        Raises:
            ConfigurationError: none does.
        """
        try:
            return RunningHub.model_validate_json(read_regular(self.folder / HUB_FILE))
        except (OSError, ValidationError):
            raise ConfigurationError(
                f"no hub runs on {self.home.folder}; start it with `fedvlp-server start`, or name its --home"
            ) from None

    def control(self) -> Control:
        """The operator's line to the running hub.

        Raises:
            ConfigurationError: none runs, or its secret is another account's.
        """
        address = self.running().address
        try:
            secret = read_regular(self.folder / "operator.secret")
        except OSError as error:
            raise ConfigurationError(
                f"{self.folder / 'operator.secret'}: {error.strerror}; use the account that runs the hub"
            ) from None
        return Control(address, authority=self.certificate().authority, secret=secret)

    def alone(self) -> AbstractContextManager[None]:
        """Serve this home alone.

        Raises:
            ConfigurationError: another hub does.
        """
        refusal = f"a hub runs on {self.home.folder} already; stop it first, or name another --home"
        return held_alone(self.folder / LOCK, refusal=refusal)

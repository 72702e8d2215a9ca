"""Nodes are let in exactly as the members' files say: `admit` and `remove` work on a hub that runs."""

import logging

from common.errors import FederationError
from server.control import Control
from server.home import HubHome
from server.members import Members
from server.patience import Patience

log = logging.getLogger("fedvlp")


class Admission:
    """Keeps a SuperLink that began empty in step with the members of a home."""

    def __init__(self, home: HubHome, control: Control, patience: Patience | None = None) -> None:
        self._members, self._control = Members(home), control
        self._admitted: dict[str, tuple[str, int]] = {}
        """Name -> node key, node id."""
        self._patience = patience or Patience()
        """With what the SuperLink does not do for us."""

    def refresh(self) -> None:
        """Shut out whom the home does not list any more, then let in whom it lists.

        A damaged file of members changes nothing; nobody is let in or out before it is mended.
        """
        try:
            wanted = {one.name: one.request.node_key for one in self._members.all() if one.removed is None}
        except FederationError as error:
            self._say(str(error), error)
            return
        for name, (key, node) in list(self._admitted.items()):
            if wanted.get(name) != key:
                self._shut_out(name, node)
        for name, key in wanted.items():
            if name not in self._admitted and self._patience.may_try(key):
                self._admit(name, key)

    def _shut_out(self, name: str, node: int) -> None:
        try:
            self._control.unregister(node)
        except FederationError as error:  # tried again at the next call, and the hub goes on for the others
            self._say(f"{name} {node}", error)
        else:
            del self._admitted[name]
            log.warning("%s is shut out", name)

    def _admit(self, name: str, key: str) -> None:
        try:
            self._admitted[name] = (key, self._control.register(name, key.encode()))
        except FederationError as error:
            self._say(key, error)
        else:
            self._patience.succeeded(key)
            log.warning("%s is let in", name)

    def _say(self, about: str, error: FederationError) -> None:
        if self._patience.failed(about):
            log.warning("%s", error)

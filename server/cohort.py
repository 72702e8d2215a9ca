"""Who takes part in a round: the project's sites, by name, that are connected now."""

import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from common.errors import PeerError
from common.messages import HELLO
from common.project import Project
from server.report.records import SiteRound

LATECOMER_SECONDS = 30.0
"""How long the first round waits for the last sites once the quorum is there."""
ASK_AGAIN_SECONDS = 15.0
"""How long a site that does not approve is left in peace before it is asked again."""
SHORTEST_POLL, LONGEST_POLL = 0.002, 0.5

UNAVAILABLE = frozenset(
    {ErrorCode.MESSAGE_UNAVAILABLE, ErrorCode.REPLY_MESSAGE_UNAVAILABLE, ErrorCode.NODE_UNAVAILABLE}
)
"""Flower's own errors for a site that went away; it said nothing."""

LONGEST_REASON = 200
"""Characters kept of what a site says went wrong."""

_RAISED = re.compile(r"<class '(?:\w+\.)*(?P<kind>\w+)'>:<'(?P<words>.*)'>", re.DOTALL)
"""How Flower words an exception of a ClientApp."""

Cohort = Mapping[str, int]
"""Site name -> node id, in the order of names."""


@dataclass(frozen=True)
class Reply:
    """What came back from a site: a message, an error text, or nothing (both None)."""

    site: str
    message: Message | None
    error: str | None
    silence: str = "no answer in time"
    """Why nothing came."""

    def absence(self) -> SiteRound:
        """Of a site that sent no message: whether it refused, or nothing came of it."""
        if self.error is not None:
            return SiteRound(name=self.site, status="refused", reason=self.error)
        return SiteRound(name=self.site, status="late", reason=self.silence)


class Approvers(Protocol):
    """Who may be asked in a run."""

    @property
    def ask(self) -> bool:
        """Whether sites are asked what they approve."""

    def current(self) -> Collection[str]:
        """Sites that approve at this moment."""

    def hear(self, site: str, said: bytes) -> None:
        """Take what the node named `site` answered, in the encoding of a statement."""


@dataclass(frozen=True)
class Everyone:
    """All sites of a project that nobody had to sign, as in simulation."""

    project: Project
    ask: bool = False

    def current(self) -> Collection[str]:
        """The project's sites."""
        return self.project.manifest.sites

    def hear(self, site: str, said: bytes) -> None:
        """Nothing is asked for, and nothing kept."""


class Roster:
    """Finds the project's sites among the connected nodes.

    Flower's own node names are used where the operator registered them; Flower's simulation has none, so its
    nodes are asked once and remembered.
    """

    def __init__(self, grid: Grid, project: Project, approvers: Approvers | None = None) -> None:
        self._grid = grid
        self._project = project
        self._approvers = Everyone(project) if approvers is None else approvers
        self._names: dict[int, str] = {}
        self._asked_at: dict[int, float] = {}

    def gather(self, *, patience_seconds: float, doubted: Collection[str] = ()) -> Cohort:
        """The project's sites that are connected and approve; waits for all, or at least for the quorum.

        Args:
            patience_seconds: how long to wait for the rest once the quorum is there.
            doubted: sites to ask anew what they approve, such as those that refused in the round before.

        Raises:
            PeerError: fewer sites than the quorum, even after federation.reply_timeout_seconds.
        """
        federation = self._project.spec.federation
        wanted = set(self._project.manifest.sites)
        started, poll = time.monotonic(), SHORTEST_POLL
        self._ask_for_approval(self._connected(wanted), doubted)
        while True:
            connected = self._connected(wanted)
            found = self._approving(connected)
            waited = time.monotonic() - started
            enough = len(found) >= federation.min_sites
            if len(found) == len(wanted) or (enough and waited >= patience_seconds):
                return dict(sorted(found.items()))
            if not enough and waited >= federation.reply_timeout_seconds:
                raise PeerError(
                    f"{len(connected)} of {len(wanted)} sites are connected, federation.min_sites = "
                    f"{federation.min_sites}; {_wanting(wanted, connected, found)} and resume"
                )
            time.sleep(poll)
            poll = min(2 * poll, LONGEST_POLL)

    def _connected(self, wanted: set[str]) -> dict[str, int]:
        nodes = list(self._grid.get_nodes())
        named = {node.node_id: node.name for node in nodes if node.name}
        unnamed = [node.node_id for node in nodes if not node.name and node.node_id not in self._names]
        self._names |= named | self._ask(unnamed)
        present = {node.node_id for node in nodes}
        return {name: node for node, name in self._names.items() if node in present and name in wanted}

    def _approving(self, connected: Mapping[str, int]) -> dict[str, int]:
        """Those of `connected` who approve; the others are asked, though not without a pause."""
        approving = self._approvers.current()
        now = time.monotonic()
        others = {
            name: node
            for name, node in connected.items()
            if name not in approving
            and now - self._asked_at.get(node, -ASK_AGAIN_SECONDS) >= ASK_AGAIN_SECONDS
        }
        if others:
            self._ask_for_approval(others, others)
            approving = self._approvers.current()
        return {name: node for name, node in connected.items() if name in approving}

    def _ask_for_approval(self, connected: Mapping[str, int], names: Collection[str]) -> None:
        """Ask these sites what they approve."""
        asked = {node: name for name, node in connected.items() if name in names and self._approvers.ask}
        for node, said in self._hello(list(asked)).items():
            statement = said.get("statement")
            if isinstance(statement, bytes) and statement:
                self._approvers.hear(asked[node], statement)
        self._asked_at |= dict.fromkeys(asked, time.monotonic())

    def _ask(self, nodes: list[int]) -> dict[int, str]:
        """Node id -> the name it gives; a node that does not answer properly stays unknown."""
        answers = self._hello(nodes)
        return {
            node: str(said["site"]) for node, said in answers.items() if isinstance(said.get("site"), str)
        }

    def _hello(self, nodes: list[int]) -> dict[int, ConfigRecord]:
        """Node id -> its answer to "hello"."""
        messages = {str(node): Message(RecordDict(), node, HELLO) for node in nodes}
        answers = {}
        for reply in exchange(self._grid, messages, timeout_seconds=LATECOMER_SECONDS):
            said = None if reply.message is None else reply.message.content.get("hello")
            if isinstance(said, ConfigRecord):
                answers[int(reply.site)] = said
        return answers


def _wanting(wanted: Collection[str], connected: Collection[str], found: Collection[str]) -> str:
    """What must happen before there are enough sites."""
    away, silent = sorted({*wanted} - {*connected}), sorted({*connected} - {*found})
    todo = [f"bring up {', '.join(away)}"] if away else []
    return ", ".join([*todo, *([f"have {', '.join(silent)} approve the project"] if silent else [])])


def exchange(
    grid: Grid,
    messages: Mapping[str, Message],
    *,
    timeout_seconds: float,
    on_reply: Callable[[Reply], None] | None = None,
) -> list[Reply]:
    """Push one message per site, then pull one reply at a time; a site that stays silent is late.

    Args:
        grid: Flower's, or the in-process one.
        messages: site -> message; let go once pushed, so that a caller who keeps none has their memory back.
        timeout_seconds: until a missing reply counts as late.
        on_reply: called with each reply as it comes; replies are then not kept, so that memory does not grow
            with the number of sites.

    Returns:
        Replies in the order of site names, late ones included; without messages if `on_reply` took them.
    """
    deadline = time.monotonic() + timeout_seconds
    sites = sorted(messages)
    pushed = list(grid.push_messages([messages[site] for site in sites]))
    del messages
    pending = {site: identity for site, identity in zip(sites, pushed, strict=True) if identity}
    replies: dict[str, Reply] = {}
    poll = SHORTEST_POLL
    while pending and time.monotonic() < deadline:
        arrived = False
        for site, identity in list(pending.items()):
            reply = _pull(grid, site, identity)
            if reply is None:
                continue
            if on_reply is not None:
                on_reply(reply)
                reply = replace(reply, message=None)  # the message goes before the next one is pulled
            replies[site] = reply
            del pending[site]
            arrived = True
        poll = SHORTEST_POLL if arrived else min(2 * poll, LONGEST_POLL)
        if pending and not arrived:
            time.sleep(poll)
    for site in sites:
        if site not in replies:
            late = Reply(site, None, None)
            replies[site] = late
            if on_reply is not None:
                on_reply(late)
    return [replies[site] for site in sites]


def _pull(grid: Grid, site: str, identity: str) -> Reply | None:
    """The reply to the message `identity`, or None if it is not there yet."""
    return next((_reply(site, message) for message in grid.pull_messages([identity])), None)


def _reply(site: str, message: Message) -> Reply:
    if not message.has_error():
        return Reply(site, message, None)
    if message.error.code in UNAVAILABLE:
        return Reply(site, None, None, "no answer: the connection was lost")
    reason = message.error.reason or f"error {message.error.code}"
    raised = _RAISED.fullmatch(reason)
    words = reason if raised is None else f"{raised['kind']}: {raised['words']}"
    return Reply(site, None, " ".join(words.split())[:LONGEST_REASON])

"""The one way out of a hospital: what a handler would send is written down, and then it leaves.

Every handler of `client.app` answers through `answered`. ASKED is in the audit log before anything is done,
ANSWERED or REFUSED before anything leaves; a process that dies in between leaves ASKED alone. The gate, which
the app cannot reach, checks again and writes LEFT or REFUSED through `Exit`.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from flwr.app import Array, ConfigRecord, Context, Message, RecordDict

from client.approvals import NodeConfig
from client.audit import AUDIT, Audit
from client.audit_line import Event
from client.egress import Egress, require_hello
from client.round import open_site
from common.canonical import canonical
from common.errors import FederationError, withhold_details
from common.messages import HELLO

LONGEST_STAGE = 64
"""Characters kept of what the hub calls a stage: ours have at most thirteen, Flower takes any number."""


def answered(message: Message, context: Context, answer: Callable[[], RecordDict]) -> Message:
    """The reply to `message`: what `answer` returns, once the audit log says that it leaves.

    Raises:
        FederationError: `answer` refused or failed, or the log cannot be written; only its outward words
            leave.
    """
    audit, origin = _audit_of(context.node_config), _origin(message)
    _note(audit, origin, event="ASKED")
    try:
        with withhold_details(origin.stage):
            content = answer()
            _permit(message, context.node_config, content)
            size, digest = (0, None) if audit is None else fingerprint(content)
    except FederationError as error:
        _note(audit, origin, event="REFUSED", reason=str(error))
        raise
    _note(audit, origin, event="ANSWERED", size=size, sha256=digest)
    return Message(content, reply_to=message)


@dataclass(frozen=True)
class Exit:
    """The gate's side of the way out, for one message."""

    node: NodeConfig
    message: Message

    def left(self, content: RecordDict) -> None:
        """Write down that `content` leaves now.

        Raises:
            FederationError: the log cannot be written; then it must not leave.
        """
        size, digest = fingerprint(content)
        self._note(event="LEFT", size=size, sha256=digest)

    def refused(self, reason: str) -> None:
        """Write down what the hub is told in place of a reply.

        Raises:
            FederationError: the log cannot be written.
        """
        self._note(event="REFUSED", reason=reason)

    def _note(self, **what: object) -> None:
        _note(_audit_of(self.node), _origin(self.message), **what)


def _permit(message: Message, node: NodeConfig, content: RecordDict) -> None:
    """Refuse what the approved project does not let out at this stage; see `client.egress`."""
    stage = message.metadata.message_type
    if stage == HELLO:
        require_hello(str(node["site"]), content)
        return
    site = open_site(node)
    ledger = Path(str(node["ledger"])) if node.get("ledger") else None
    Egress(site.name, site.project, ledger).require(stage, message.content, content)


def fingerprint(content: RecordDict) -> tuple[int, str]:
    """Bytes and SHA-256 of all that `content` carries, each value after its name, kind and length."""
    digest, size = hashlib.sha256(), 0
    for record, entry, kind, value in _values(content):
        head = canonical({"record": record, "entry": entry, "kind": kind, "bytes": len(value)})
        digest.update(head)
        digest.update(value)
        size += len(value)
    return size, digest.hexdigest()


def _values(content: RecordDict) -> Iterator[tuple[str, str, str, bytes]]:
    for name in sorted(content):
        record = content[name]
        for key in sorted(record):
            value = record[key]
            match value:
                case Array():
                    yield name, key, f"{value.dtype} {value.shape}", value.data
                case bytes():
                    yield name, key, "bytes", value
                case _:
                    yield name, key, type(value).__name__, repr(value).encode()


def _audit_of(node: NodeConfig) -> Audit | None:
    """The log in this site's home; a site of a simulation may have none."""
    return Audit(Path(str(node["home"])) / AUDIT) if node.get("home") else None


def _origin(message: Message) -> Event:
    """What `message` says of itself, as far as it can be told."""
    said = message.content.get("round") if message.has_content() else None
    numbers = said if isinstance(said, ConfigRecord) else {}
    return Event(
        event="ASKED",
        stage=stage_of(message),
        run=message.metadata.run_id,
        round=_whole(numbers.get("round")),
        attempt=_whole(numbers.get("attempt")),
    )


def stage_of(message: Message) -> str:
    """What the hub calls what it asks for, as far as it is kept."""
    return message.metadata.message_type[:LONGEST_STAGE]


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _note(audit: Audit | None, origin: Event, **what: object) -> None:
    if audit is not None:
        with withhold_details():
            audit.append(origin.model_copy(update=what))

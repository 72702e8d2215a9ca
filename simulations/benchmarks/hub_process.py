"""The measured process of the hub memory benchmark: the real ServerApp on a Grid whose sites only answer.

The answers were made before by another process and lie on disc as the objects that Flower sends. A reply is
read when it is pulled, and put together as Flower's own `HttpGrid` does it, so its copies count as well.
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil
from flwr.app import ConfigRecord, Message, RecordDict

from common.messages import INPUT, Step
from common.project import open_project
from server.app import app as server_app
from server.settings import RunSettings
from simulations.benchmarks.fresh import peak_bytes
from simulations.benchmarks.made_answer import read_arrays
from simulations.benchmarks.secure_sites import Asked, SecureSites
from simulations.local_grid import FIRST_NODE, LocalGrid, be_the_hub, hub_context


@dataclass(frozen=True)
class _Asked:
    """What is kept of a pushed message: the model has left for the SuperLink."""

    bare: Message
    said: dict[str, str | int]


class AnsweringGrid(LocalGrid):
    """Sites that answer every instruction with the one answer in `folder`."""

    def __init__(self, sites: tuple[str, ...], folder: Path) -> None:
        super().__init__(sites)
        self._folder = folder
        self._waiting: dict[str, _Asked] = {}

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies, each once."""
        return [self._reply(identity) for identity in message_ids]

    def _push(self, message: Message) -> str:
        """Note what was asked, and let the rest go."""
        metadata = message.metadata
        bare = Message(RecordDict(), metadata.dst_node_id, metadata.message_type, group_id=metadata.group_id)
        identity = self._name(bare)
        said = message.content["round"]
        digests = {key: str(said[key]) for key in ("project", "model") if key in said}
        self._waiting[identity] = _Asked(bare, {"round": int(str(said["round"])), **digests})
        return identity

    def _reply(self, identity: str) -> Message:
        asked = self._waiting.pop(identity)
        records = RecordDict({"round": ConfigRecord({**asked.said}), **read_arrays(self._folder)})
        return Message(records, reply_to=asked.bare)


class SecureGrid(AnsweringGrid):
    """The same under secure aggregation: the sites are in a process of their own and take every step."""

    def __init__(self, names: tuple[str, ...], sites: SecureSites) -> None:
        super().__init__(names, Path())
        self._sites = sites
        self._asked: dict[str, Asked] = {}

    def _push(self, message: Message) -> str:
        asked = Asked.of(message, message.metadata.dst_node_id - FIRST_NODE)
        identity = super()._push(message)
        self._asked[identity] = asked
        return identity

    def _reply(self, identity: str) -> Message:
        asked, bare = self._asked.pop(identity), self._waiting.pop(identity).bare
        body = self._sites.ask(asked)
        records = Step(asked.round, asked.attempt, body).to_records()
        if asked.kind == INPUT:
            records.update(read_arrays(self._sites.masked_in(asked.site)))
        return Message(records, reply_to=bare)


def main() -> None:
    """PROJECT ANSWER OUT RESULT: run the whole federation, and write base and peak in bytes to RESULT."""
    project_folder, answer, out, result = map(Path, sys.argv[1:])
    project = open_project(project_folder)
    sites, secure = project.manifest.sites, project.spec.secure_aggregation.mode == "sa1"
    del project
    be_the_hub()
    settings = RunSettings(
        project=project_folder, out=out, evaluation_stores={}, resume=False, engine="deployment"
    )
    context = hub_context(settings.to_config())
    if secure:
        with SecureSites(project_folder, answer) as others:
            base = psutil.Process().memory_info().rss
            server_app(SecureGrid(sites, others), context)
    else:
        base = psutil.Process().memory_info().rss
        server_app(AnsweringGrid(sites, answer), context)
    result.write_text(json.dumps({"base": base, "peak": peak_bytes()}))

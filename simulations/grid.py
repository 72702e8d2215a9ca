"""Flower's Grid inside one machine: the same ServerApp and ClientApp objects, no network, no Ray.

A message pushed to a site is handled by the real ClientApp when its reply is pulled, or by a worker process
as soon as it is pushed. Sites stay with their worker, so that a store is opened once. What a site trains does
not depend on the number of workers, only how long it takes.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from simulations.workers import log_handler, worker_pool

NodeConfig = Mapping[str, str | int | float | bool]
Fault = Literal["dies", "silent"]
"""`dies`: the site's process ends while it works, and Flower reports it; `silent`: no reply ever comes."""

HUB = SUPERLINK_NODE_ID
FIRST_NODE = HUB + 1
RUN_ID = TASK_ID = 1


@dataclass(frozen=True)
class Faults:
    """What goes wrong, by site and round; empty for a healthy federation."""

    at: Mapping[tuple[str, int], Fault] = field(default_factory=dict)

    def of(self, site: str, message: Message) -> Fault | None:
        """The fault that this message meets."""
        said = message.content.config_records.get("round", ConfigRecord())
        number = said.get("round")
        return self.at.get((site, number)) if isinstance(number, int) else None


class InProcessGrid(Grid):
    """A federation of `sites` on this machine; a context manager when it has workers."""

    def __init__(
        self,
        sites: Mapping[str, NodeConfig],
        *,
        client_app: ClientApp | None = None,
        workers: int = 1,
        faults: Faults | None = None,
        log: Path | None = None,
    ) -> None:
        """Lay out the sites.

        Args:
            sites: name -> what the site finds in `context.node_config`.
            client_app: the app to run; FedVLP's own when None. Another one needs `workers` = 1.
            workers: processes that train at the same time; 1 trains in this process.
            faults: injected failures.
            log: file that workers log to; their stderr when None.
        """
        assert client_app is None or workers == 1
        self._client_app = client_app
        self._faults = faults or Faults()
        self._nodes = {FIRST_NODE + place: name for place, name in enumerate(sorted(sites))}
        self._contexts = {node: node_context(node, sites[name]) for node, name in self._nodes.items()}
        self._waiting: dict[str, tuple[Message, Future[Message] | None]] = {}
        self._pushed = 0
        be_the_hub()
        self.parallel_sites = workers
        self._workers: list[ProcessPoolExecutor] = []
        self._log = log
        if workers > 1:
            self._workers = [worker_pool(1, log=log) for _ in range(workers)]
            for ready in [worker.submit(_warm_up) for worker in self._workers]:
                ready.result()

    def __enter__(self) -> "InProcessGrid":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.shutdown(wait=True, cancel_futures=True)

    def get_node_ids(self) -> Iterable[int]:
        """All sites are connected."""
        return list(self._nodes)

    def get_nodes(self) -> Iterable[NodeInfo]:
        """All sites, under their names, as an operator would have registered them."""
        return [NodeInfo(node_id=node, name=name) for node, name in self._nodes.items()]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Take messages; workers begin at once."""
        return [self._push(message) for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Wait for the sites that these messages went to, and hand out their replies, each once."""
        replies = []
        for identity in message_ids:
            held = self._waiting.pop(identity, None)
            if held is not None:
                replies.append(self._reply(*held))
        return replies

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Push, then pull everything; sites on one machine need no timeout."""
        del timeout
        return self.pull_messages(self.push_messages(messages))

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Part of Flower's interface; use `Message` itself."""
        return Message(content, dst_node_id, message_type, group_id=group_id, ttl=ttl)

    def set_run(self, run: Run) -> None:
        """There is one run only."""

    @property
    def run(self) -> Run:
        """The one run."""
        return Run.create_empty(RUN_ID)

    def _push(self, message: Message) -> str:
        self._pushed += 1
        identity = f"message-{self._pushed}"
        message.metadata.__dict__["_message_id"] = identity
        node = message.metadata.dst_node_id
        fault = self._faults.of(self._nodes[node], message)
        if fault == "silent":
            return identity
        future = None
        if fault == "dies":
            future = Future[Message]()
            future.set_exception(BrokenExecutor())
        elif self._workers:
            future = self._submit((node - FIRST_NODE) % len(self._workers), message, self._contexts[node])
        self._waiting[identity] = (message, future)
        return identity

    def _submit(self, place: int, message: Message, context: Context) -> Future[Message]:
        """Hand `message` to a worker; one that died in an earlier round is replaced."""
        try:
            return self._workers[place].submit(_handle_in_worker, message, context)
        except BrokenExecutor:
            self._workers[place] = worker_pool(1, log=self._log)
            return self._workers[place].submit(_handle_in_worker, message, context)

    def _reply(self, message: Message, future: "Future[Message] | None") -> Message:
        if future is None:
            return handle(self._client_app, message, self._contexts[message.metadata.dst_node_id])
        try:
            return future.result()
        except BrokenExecutor:  # the site's process died
            crash = Error(ErrorCode.CLIENT_APP_CRASHED, "ClientApp stopped responding.")
            return Message(crash, reply_to=message)


def hub_context(run_config: Mapping[str, str | bool]) -> Context:
    """What Flower hands to a ServerApp that is run with `run_config`."""
    return Context(run_id=RUN_ID, node_id=HUB, node_config={}, state=RecordDict(), run_config={**run_config})


def node_context(node: int, config: NodeConfig) -> Context:
    """What Flower hands to the ClientApp of a node that was started with `config`."""
    return Context(run_id=RUN_ID, node_id=node, node_config={**config}, state=RecordDict(), run_config={})


def be_the_hub() -> None:
    """What Flower sets for a process that runs a ServerApp: who sends the messages it makes."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = RUN_ID, HUB, TASK_ID


def handle(client_app: ClientApp | None, message: Message, context: Context) -> Message:
    """Run the app as Flower does: an exception becomes an error reply that carries its text."""
    try:
        return (client_app or fedvlp_client_app())(message, context)
    except Exception as error:
        reason = f"{type(error)}:<'{error}'>"
        return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)


def fedvlp_client_app() -> ClientApp:
    """The app that hospitals run, loaded where a site runs."""
    from client.app import app

    return app


@contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Send what sites and hub log to `path` instead of stderr, which is the user's."""
    handler = log_handler(path)
    logging.getLogger("fedvlp").addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger("fedvlp").removeHandler(handler)
        handler.close()


def _handle_in_worker(message: Message, context: Context) -> Message:
    return handle(None, message, context)


def _warm_up() -> None:
    fedvlp_client_app()

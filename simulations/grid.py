"""Flower's Grid inside one machine: the same ServerApp and ClientApp objects, no network, no Ray.

A message pushed to a site is handled by the real ClientApp when its reply is pulled, or by a worker process
as soon as it is pushed. Sites stay with their worker, so that a store is opened once. What a site trains does
not depend on the number of workers, only how long it takes.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from flwr.app import ConfigRecord, Context, Error, Message, RecordDict
from flwr.app.message.message import remove_content_from_message
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode

from simulations.local_grid import FIRST_NODE, LocalGrid, NodeConfig, be_the_hub, node_context
from simulations.nursery import log_handler
from simulations.workers import WorkerPool

Fault = Literal["dies", "silent"]
"""`dies`: the site's process ends while it works, and Flower reports it; `silent`: no reply ever comes."""


@dataclass(frozen=True)
class Faults:
    """What goes wrong, by site and round; empty for a healthy federation."""

    at: Mapping[tuple[str, int], Fault] = field(default_factory=dict)

    def of(self, site: str, message: Message) -> Fault | None:
        """The fault that this message meets."""
        said = message.content.config_records.get("round", ConfigRecord())
        number = said.get("round")
        return self.at.get((site, number)) if isinstance(number, int) else None


class InProcessGrid(LocalGrid):
    """A federation of `sites` on this machine."""

    def __init__(
        self,
        sites: Mapping[str, NodeConfig],
        *,
        client_app: ClientApp | None = None,
        workers: Sequence[WorkerPool] = (),
        faults: Faults | None = None,
    ) -> None:
        """Lay out the sites.

        Args:
            sites: name -> what the site finds in `context.node_config`.
            client_app: the app to run; FedVLP's own when None. Workers run that one only.
            workers: pools of one process each, which train at the same time; this process trains when empty.
            faults: injected failures.
        """
        super().__init__(sorted(sites))
        assert client_app is None or not workers
        self._client_app = client_app
        self._faults = faults or Faults()
        self._contexts = {node: node_context(node, sites[name]) for node, name in self.nodes.items()}
        self._waiting: dict[str, tuple[Message, Future[Message] | None]] = {}
        be_the_hub()
        self.parallel_sites = max(1, len(workers))
        self._workers = workers
        for node, context in self._contexts.items() if workers else ():
            self._worker_of(node).submit(_come_up, context)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Wait for the sites that these messages went to, and hand out their replies, each once."""
        replies = []
        for identity in message_ids:
            held = self._waiting.pop(identity, None)
            if held is not None:
                replies.append(self._reply(*held))
        return replies

    def _push(self, message: Message) -> str:
        """Workers begin at once."""
        identity = self._name(message)
        node = message.metadata.dst_node_id
        fault = self._faults.of(self.nodes[node], message)
        if fault == "silent":
            return identity
        future = None
        if fault == "dies":
            future = Future[Message]()
            future.set_exception(BrokenExecutor())
        elif self._workers:
            bare = remove_content_from_message(message)
            worker = self._worker_of(node)
            future = worker.submit(_handle_in_worker, message.content, bare, self._contexts[node])
        self._waiting[identity] = (message, future)
        return identity

    def _worker_of(self, node: int) -> WorkerPool:
        """A site stays with its worker."""
        return self._workers[(node - FIRST_NODE) % len(self._workers)]

    def _reply(self, message: Message, future: "Future[Message] | None") -> Message:
        if future is None:
            return handle(self._client_app, message, self._contexts[message.metadata.dst_node_id])
        try:
            return future.result()
        except BrokenExecutor:  # the site's process died
            crash = Error(ErrorCode.CLIENT_APP_CRASHED, "ClientApp stopped responding.")
            return Message(crash, reply_to=message)


@contextmanager
def site_workers(count: int, *, log: Path) -> Iterator[list[WorkerPool]]:
    """What trains `count` sites at once, until the block ends, and logs to `log`; nothing for one at a time.

    A pool for each worker, because a site stays with its worker.
    """
    with ExitStack() as pools:
        yield [pools.enter_context(WorkerPool(1, log=log)) for _ in range(count if count > 1 else 0)]


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


def _come_up(context: Context) -> None:
    """Open the site's store while the hub gets ready; what fails now fails again when the hub asks."""
    from client.round import open_site

    with suppress(Exception):
        open_site(context.node_config)


def _handle_in_worker(content: RecordDict, message: Message, context: Context) -> Message:
    """Messages of a round have one content, the model, which goes to a worker once."""
    message.content = content
    return handle(None, message, context)

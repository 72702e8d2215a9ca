"""What every Grid on one machine shares: sites that are always connected, messages that are numbered.

Flower's own Grids reach a SuperLink; those that follow hold both ends of a message in one process.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence

from flwr.app import Context, Message, RecordDict
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

NodeConfig = Mapping[str, str | int | float | bool]

HUB = SUPERLINK_NODE_ID
FIRST_NODE = HUB + 1
RUN_ID = TASK_ID = 1


class LocalGrid(Grid):
    """A Grid of `sites`, whose nodes are numbered in that order."""

    def __init__(self, sites: Sequence[str]) -> None:
        self.nodes = {FIRST_NODE + place: name for place, name in enumerate(sites)}
        """Node -> site."""
        self._pushed = 0

    def get_node_ids(self) -> Iterable[int]:
        """All sites are connected."""
        return list(self.nodes)

    def get_nodes(self) -> Iterable[NodeInfo]:
        """All sites, under their names, as an operator would have registered them."""
        return [NodeInfo(node_id=node, name=name) for node, name in self.nodes.items()]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Take messages."""
        return [self._push(message) for message in messages]

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

    @abstractmethod
    def _push(self, message: Message) -> str:
        """Take one message; the name under which its reply is pulled."""

    def _name(self, message: Message) -> str:
        """Give `message` the next name."""
        self._pushed += 1
        identity = f"message-{self._pushed}"
        message.metadata.__dict__["_message_id"] = identity
        return identity


def hub_context(run_config: Mapping[str, str | bool]) -> Context:
    """What Flower hands to a ServerApp that is run with `run_config`."""
    return Context(run_id=RUN_ID, node_id=HUB, node_config={}, state=RecordDict(), run_config={**run_config})


def node_context(node: int, config: NodeConfig) -> Context:
    """What Flower hands to the ClientApp of a node that was started with `config`."""
    return Context(run_id=RUN_ID, node_id=node, node_config={**config}, state=RecordDict(), run_config={})


def be_the_hub() -> None:
    """What Flower sets for a process that runs a ServerApp: who sends the messages it makes."""
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = RUN_ID, HUB, TASK_ID

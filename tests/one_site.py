"""One message to one hospital's app, as Flower would bring it."""

from collections.abc import Mapping

from flwr.app import Message, RecordDict

from client.app import app
from common.messages import TRAIN
from simulations.grid import handle
from simulations.local_grid import FIRST_NODE, be_the_hub, node_context


def ask(node: Mapping[str, str], content: RecordDict | None = None, kind: str = TRAIN) -> Message:
    """The app's reply on a node that was started with `node`."""
    be_the_hub()  # who may write messages
    message = Message(content or RecordDict(), FIRST_NODE, kind)
    return handle(app, message, node_context(FIRST_NODE, node))

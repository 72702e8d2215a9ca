"""Inside the app's process: one message after another from the gate, to the ClientApp and back.

This process has no network and never sees Flower's token; what it may say is for the gate to judge.
"""

from multiprocessing.connection import Connection

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.supercore.task_identity import TaskIdentity

from client.gate.wire import Failure, Question, receive_question, send_reply


def serve(connection: Connection, app: ClientApp) -> None:
    """Answer until the gate closes its end."""
    while True:
        try:
            question = receive_question(connection)
        except (EOFError, ConnectionError):
            return
        send_reply(connection, _answer(app, question))


def _answer(app: ClientApp, question: Question) -> RecordDict | Failure:
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = question.run, question.node, 0
    message = Message(question.content, question.node, question.kind, group_id=question.group)
    context = Context(
        run_id=question.run,
        node_id=question.node,
        node_config={**question.config},
        state=RecordDict(),
        run_config={},
    )
    try:
        reply = app(message=message, context=context)
    except Exception as error:
        return Failure(f"{type(error)}:<'{error}'>")  # Flower's own words, which the hub reads
    return Failure(reply.error.reason or "") if reply.has_error() else reply.content

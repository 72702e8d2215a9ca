"""A SuperNode's Runtime API as an executor sees it, with messages of ours and a clock, and nothing behind it.

It keeps Flower's public contract of tasks: one task at a time, its input, its message object by object, the
reply the same way back, the end. Time runs from the answer that gives a task to the request that ends it, so
no poll interval of anybody is in it.
"""

import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue
from typing import Any, Self

from flwr.app import Context, Message
from flwr.app.message import remove_content_from_message
from flwr.common.serde import context_to_proto, fab_to_proto, message_to_proto, run_to_proto
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedResponse,
    PullObjectRequest,
    PullObjectResponse,
    PushObjectRequest,
    PushObjectResponse,
)
from flwr.proto.runtime_pb2 import (
    AcquireTaskResponse,
    PullAppMessagesResponse,
    PullTaskInputResponse,
    PushAppMessagesRequest,
    PushAppMessagesResponse,
    PushTaskOutputRequest,
    PushTaskOutputResponse,
    SendTaskHeartbeatResponse,
)
from flwr.proto.task_pb2 import Task
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree
from flwr.supercore.inflatable.inflatable_object import iterate_object_tree as walk
from flwr.supercore.run import Run

from common.errors import PeerError

HOST = "127.0.0.1"
CLIENT_APP = "flwr-clientapp"
PATIENCE_SECONDS = 300.0


class TaskServer:
    """Serves one app's messages to whichever executor asks, on a port of its own."""

    def __init__(self, *, fab: bytes, sha256: str, identity: tuple[str, str], context: Context) -> None:
        """Prepare to serve.

        Args:
            fab: the app's bundle.
            sha256: of it.
            identity: the bundle's name as Flower has it ("publisher/project"), and its version.
            context: what the app is told of its node.
        """
        self._fab = Fab(sha256, fab, {})
        self._run = Run.create_empty(context.run_id)
        self._run.fab_id, self._run.fab_version, self._run.fab_hash = *identity, sha256
        self._context = context
        self._waiting: Queue[Message] = Queue()
        self._done: Queue[tuple[float, str]] = Queue()
        self._message: Message | None = None
        self._began = 0.0
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                answer = server._answer(self.path.rpartition("/")[2], body)
                self.send_response(200)
                self.send_header("content-type", "application/protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def address(self) -> str:
        """ "host:port"."""
        return f"{HOST}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def seconds_for(self, message: Message) -> float:
        """Seconds from the moment that an executor has the task of `message` until it ends it.

        Raises:
            PeerError: nobody took it in time, or it failed.
        """
        message.metadata.__dict__["_message_id"] = message.object_id
        self._objects = {key: held.deflate() for key, held in get_all_nested_objects(message).items()}
        self._tree = get_object_tree(message)
        self._message = message
        self._waiting.put(message)
        try:
            seconds, failure = self._done.get(timeout=PATIENCE_SECONDS)
        except Empty:
            raise PeerError(f"no executor answered within {PATIENCE_SECONDS:.0f} s") from None
        if failure:
            raise PeerError(f"the app failed: {failure}")
        return seconds

    def _answer(self, method: str, body: bytes) -> bytes:
        answers: Mapping[str, Callable[[bytes], Any]] = {
            "acquire-task": self._acquire,
            "pull-task-input": self._input,
            "pull-messages": self._pull,
            "pull-object": self._object,
            "confirm-message-received": lambda _: ConfirmMessageReceivedResponse(),
            "push-messages": self._push,
            "push-object": self._pushed,
            "send-task-heartbeat": lambda _: SendTaskHeartbeatResponse(success=True),
            "push-task-output": self._end,
        }
        answer: bytes = answers[method](body).SerializeToString()
        return answer

    def _acquire(self, _: bytes) -> Any:
        try:
            self._waiting.get_nowait()
        except Empty:
            return AcquireTaskResponse()
        task = Task(task_id=1, type=CLIENT_APP, run_id=self._run.run_id, fab_hash=self._fab.hash_str)
        answer = AcquireTaskResponse(token="token", task=task)
        self._began = time.perf_counter()
        return answer

    def _input(self, _: bytes) -> Any:
        return PullTaskInputResponse(
            context=context_to_proto(self._context),
            run=run_to_proto(self._run),
            fab=fab_to_proto(self._fab),
            task_id=1,
        )

    def _pull(self, _: bytes) -> Any:
        assert self._message is not None
        return PullAppMessagesResponse(
            messages_list=[message_to_proto(remove_content_from_message(self._message))],
            message_object_trees=[self._tree],
        )

    def _object(self, body: bytes) -> Any:
        wanted = PullObjectRequest.FromString(body).object_id
        return PullObjectResponse(
            object_found=True, object_available=True, object_content=self._objects[wanted]
        )

    def _push(self, body: bytes) -> Any:
        (tree,) = PushAppMessagesRequest.FromString(body).message_object_trees
        return PushAppMessagesResponse(
            message_ids=["reply"], objects_to_push=[each.object_id for each in walk(tree)], session_id="one"
        )

    def _pushed(self, body: bytes) -> Any:
        PushObjectRequest.FromString(body)
        return PushObjectResponse(stored=True)

    def _end(self, body: bytes) -> Any:
        said = PushTaskOutputRequest.FromString(body)
        self._done.put((time.perf_counter() - self._began, said.details))
        return PushTaskOutputResponse()

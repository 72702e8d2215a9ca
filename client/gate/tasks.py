"""Flower's public contract of tasks, as the gate keeps it: take one from the site's SuperNode, answer it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import httpx
from flwr.app import Context, Error, Message, RecordDict
from flwr.common.constant import ErrorCode, SubStatus
from flwr.proto.runtime_pb2 import AcquireTaskRequest, SendTaskHeartbeatRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.protobuf.client import ProtobufClientInterceptor
from flwr.supercore.retry import make_simple_http_retry_invoker
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

from common.errors import PeerError

ACQUIRE = "/flwr.proto.Runtime/AcquireTask"
CLIENT_APP, AGENT_APP = TaskType.CLIENT_APP, TaskType.AGENT_APP
"""An agent's task is taken too, to be refused: the SuperNode waits for an answer to every message."""


class Tasks:
    """The tasks of one SuperNode."""

    def __init__(self, address: str, secret: bytes) -> None:
        """Take them from the SuperNode at `address`, which shares `secret` with us."""
        self._address = address
        proof = SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods=[ACQUIRE])
        self._client = _client(address, "SuperExec", [proof])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def acquire(self) -> "Task | None":
        """The next one; None if there is none, or nobody answers as they should.

        Raises:
            PeerError: the SuperNode refuses us.
        """
        request = AcquireTaskRequest(supported_task_types=[CLIENT_APP, AGENT_APP])
        try:
            found = self._client.AcquireTask(request)
        except httpx.TransportError:  # it starts, or ends
            return None
        except httpx.HTTPStatusError as error:
            if error.response.is_server_error:
                return None
            raise PeerError(
                f"the SuperNode at {self._address} refuses this gate (HTTP {error.response.status_code}); "
                "both need the same secret file and the same version of Flower"
            ) from None
        if not found.token:
            return None
        client = _client(self._address, "flwr-clientapp", [RuntimeTokenHttpInterceptor(found.token)])
        return Task(found.task.type, found.task.fab_hash, client)


@dataclass
class Task:
    """One message for the app. Only the gate holds its token."""

    kind: str
    """Flower's type of the task."""
    fab_hash: str
    client: RuntimeHttpClient

    def pull(self) -> tuple[Message, Context]:
        """The message, and the context that the SuperNode keeps.

        Raises:
            httpx.HTTPError: it does not come.
        """
        self._message, self._context, _, _ = pull_task_input(self.client)
        return self._message, self._context

    def wanted(self) -> bool:
        """Tell the SuperNode that we are at it; False when the run was stopped."""
        try:
            return bool(self.client.SendTaskHeartbeat(SendTaskHeartbeatRequest()).success)
        except httpx.HTTPError:  # it hears of us the next time, or has ended
            return True

    def answer(self, content: RecordDict) -> None:
        """Let `content` go to the hub."""
        push_message(self.client, Message(content, reply_to=self._message), self._context)
        self._done(SubStatus.COMPLETED, "")

    def refuse(self, code: int, reason: str) -> None:
        """Tell the hub in one line that there is no answer."""
        error = Error(code=code, reason=reason)
        push_message(self.client, Message(error, reply_to=self._message), self._context)
        self._done(SubStatus.FAILED, reason)

    def close(self) -> None:
        """Let the connection go."""
        self.client.close()

    def _done(self, status: str, details: str) -> None:
        # The context goes back as it came: what an app keeps, it keeps in its home.
        push_task_output(client=self.client, context=self._context, sub_status=status, details=details)


INVALID_FAB, RAISED, CRASHED = (
    ErrorCode.INVALID_FAB,
    ErrorCode.CLIENT_APP_RAISED_EXCEPTION,
    ErrorCode.CLIENT_APP_CRASHED,
)


def _client(address: str, component: str, more: Sequence[ProtobufClientInterceptor]) -> RuntimeHttpClient:
    retries = make_simple_http_retry_invoker()
    retries.max_tries = 3
    return RuntimeHttpClient.from_server_address(
        server_address=address,
        insecure=True,
        root_certificates=None,
        interceptors=[RuntimeVersionHttpInterceptor(component_name=component), *more],
        retry_invoker=retries if component != "SuperExec" else None,
    )

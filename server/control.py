"""The operator's side of a SuperLink: admit nodes, start a run, watch it.

Flower 1.41 serves its Control API as protobuf over HTTPS. The `flwr` command makes the same calls, at about
two seconds of start-up each; here they cost milliseconds. Proxies from the environment are not used.
"""

import hashlib
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import httpx
from flwr.common.serde import user_config_from_proto, user_config_to_proto
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    ListNodesResponse,
    ListRunsRequest,
    ListRunsResponse,
    RegisterNodeRequest,
    RegisterNodeResponse,
    StartRunRequest,
    StartRunResponse,
    StopRunRequest,
    StopRunResponse,
    StreamLogsRequest,
    StreamLogsResponse,
    UnregisterNodeRequest,
    UnregisterNodeResponse,
)
from flwr.proto.fab_pb2 import Fab
from flwr.proto.run_pb2 import Run

from common.errors import PeerError
from server.superlink import authorization

PROTOBUF = "application/protobuf"
FRAME_HEADER_BYTES = 4
TIMEOUT_SECONDS = 30.0
LONGEST_ANSWER = 300
"""Characters of a refusal that are passed on."""

Setting = str | int | float | bool


class Message(Protocol):
    """What we need of a protobuf message."""

    def SerializeToString(self, *, deterministic: bool) -> bytes: ...  # noqa: D102, N802 - protobuf's name

    def ParseFromString(self, content: bytes, /) -> Any: ...  # noqa: D102, N802 - protobuf's name


Answer = TypeVar("Answer", bound=Message)


@dataclass(frozen=True)
class RunStatus:
    """Where a run stands."""

    finished: bool
    completed: bool
    """Finished, and the ServerApp returned."""
    details: str
    """Why it failed, in Flower's words; "" if it did not."""


class Control:
    """A connection to the Control API of the SuperLink at `address` ("host:port")."""

    def __init__(self, address: str, *, authority: Path, secret: bytes) -> None:
        """Trust only whom the PEM file `authority` vouches for, and show them the operator's `secret`."""
        self._client = httpx.Client(
            base_url=f"https://{address}",
            verify=ssl.create_default_context(cafile=str(authority)),
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
            headers={"authorization": authorization(secret)},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def answers(self) -> bool:
        """Whether the SuperLink serves requests."""
        try:
            return self._client.get("/health").is_success
        except httpx.TransportError:
            return False

    def register(self, name: str, public_key: bytes) -> int:
        """Admit the SuperNode with the private half of `public_key` (PEM) as `name`; return its node id."""
        request = RegisterNodeRequest(public_key=public_key, name=name)
        return self._call("register-node", request, RegisterNodeResponse).node_id

    def unregister(self, node: int) -> None:
        """Shut a SuperNode out; its key can never be registered again at this SuperLink."""
        self._call("unregister-node", UnregisterNodeRequest(node_id=node), UnregisterNodeResponse)

    def online_since(self) -> dict[str, str]:
        """Name of every node that is online -> when it was activated, ISO 8601.

        A node that was killed stays in the list until its heartbeat lapses, up to 60 s later.
        """
        answer = self._call("list-nodes", ListNodesRequest(), ListNodesResponse)
        return {node.name: node.last_activated_at for node in answer.nodes_info if node.status == "online"}

    def start(self, fab: bytes, config: Mapping[str, Setting]) -> int:
        """Start a run of the bundle `fab` and return its number."""
        request = StartRunRequest(
            fab=Fab(hash_str=hashlib.sha256(fab).hexdigest(), content=fab),
            override_config=user_config_to_proto(dict(config)),
        )
        answer = self._call("start-run", request, StartRunResponse)
        if not answer.HasField("run_id"):
            raise PeerError(
                f"the SuperLink started no run: {answer.note or 'it gave no reason'}; see its log"
            )
        return answer.run_id

    def status(self, run: int) -> RunStatus:
        """Ask where `run` stands."""
        status = self.find(run)
        if status is None:
            raise PeerError(f"the SuperLink does not know run {run} any more; see its log")
        return status

    def find(self, run: int) -> RunStatus | None:
        """Where `run` stands; None if the SuperLink does not know it."""
        answer = self._call("list-runs", ListRunsRequest(run_id=run), ListRunsResponse)
        return _status_of(answer.run_dict[run]) if run in answer.run_dict else None

    def going_on(self, config: Mapping[str, Setting]) -> int | None:
        """The number of the run with these settings that has not finished; None if there is none."""
        answer = self._call("list-runs", ListRunsRequest(), ListRunsResponse)
        for number, run in answer.run_dict.items():
            same = dict(user_config_from_proto(run.override_config)) == dict(config)
            if same and not _status_of(run).finished:
                return int(number)
        return None

    def output(self, run: int, *, after: float = 0.0) -> Iterator[tuple[str, float]]:
        """What the ServerApp of `run` prints, as it comes, until the run has ended.

        Args:
            run: number of the run.
            after: leave out what came before this moment, seconds since 1970 by the SuperLink's clock.

        Yields:
            A piece of text, not necessarily whole lines, and the moment it came.
        """
        request = StreamLogsRequest(run_id=run, after_timestamp=after)
        media = {"content-type": PROTOBUF, "accept": "application/flower-protobuf-stream"}
        patience = httpx.Timeout(TIMEOUT_SECONDS, read=None)
        frames = bytearray()
        try:
            with self._client.stream(
                "POST",
                "/v1/control/stream-logs",
                content=request.SerializeToString(deterministic=True),
                headers=media,
                timeout=patience,
            ) as response:
                _require_success("stream-logs", response.status_code, "")
                for chunk in response.iter_bytes():
                    frames += chunk
                    for frame in _whole_frames(frames):
                        answer = StreamLogsResponse.FromString(frame)
                        yield answer.log_output, answer.latest_timestamp
        except (httpx.TransportError, httpx.StreamError) as error:
            raise _silence("stream-logs", error) from None

    def stop(self, run: int) -> None:
        """Stop `run`; its ServerApp gets no more answers."""
        self._call("stop-run", StopRunRequest(run_id=run), StopRunResponse)

    def _call(self, method: str, request: Message, kind: type[Answer]) -> Answer:
        try:
            response = self._client.post(
                f"/v1/control/{method}",
                content=request.SerializeToString(deterministic=True),
                headers={"content-type": PROTOBUF, "accept": PROTOBUF},
            )
        except httpx.TransportError as error:
            raise _silence(method, error) from None
        _require_success(method, response.status_code, response.text)
        answer = kind()
        answer.ParseFromString(response.content)
        return answer


def _status_of(run: Run) -> RunStatus:
    finished = run.status.status == "finished"
    return RunStatus(finished, finished and run.status.sub_status == "completed", run.status.details)


def _whole_frames(buffer: bytearray) -> Iterator[bytes]:
    """Take every whole frame off the front: four bytes of length, big endian, then that many more."""
    while len(buffer) >= FRAME_HEADER_BYTES:
        end = FRAME_HEADER_BYTES + int.from_bytes(buffer[:FRAME_HEADER_BYTES], "big")
        if len(buffer) < end:
            return
        frame = bytes(buffer[FRAME_HEADER_BYTES:end])
        del buffer[:end]
        yield frame


def _require_success(method: str, status: int, text: str) -> None:
    if not httpx.codes.is_success(status):
        said = " ".join(text.split())[:LONGEST_ANSWER] or "no reason given"
        raise PeerError(f"the SuperLink refused {method} (HTTP {status}): {said}; see its log")


def _silence(method: str, error: Exception) -> PeerError:
    return PeerError(f"the SuperLink does not answer ({method}: {type(error).__name__}); see its log")

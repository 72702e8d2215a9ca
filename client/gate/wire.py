"""What the gate and the app's process say to each other over a pipe: a header in JSON, then frames of bytes.

The gate's end trusts nothing: no pickle, a bound on all bytes together, and types that are checked.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Literal

from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.common.serde import (
    config_record_from_proto,
    config_record_to_proto,
    metric_record_from_proto,
    metric_record_to_proto,
)
from flwr.proto.recorddict_pb2 import ConfigRecord as ConfigBytes
from flwr.proto.recorddict_pb2 import MetricRecord as MetricBytes
from pydantic import BaseModel, ConfigDict, ValidationError

NodeConfig = dict[str, str | int | float | bool]

HEADER_BYTES = 1 << 20
"""Names, shapes and settings; a message of ours has some hundred bytes of them."""


class _Head(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Tensor(_Head):
    key: str
    dtype: str
    shape: list[int]
    stype: str


class _Record(_Head):
    name: str
    kind: Literal["arrays", "config", "metrics"]
    tensors: list[_Tensor] = []


class _Asked(_Head):
    kind: str
    group: str
    run: int
    node: int
    config: NodeConfig
    records: list[_Record]


class _Answered(_Head):
    failure: str | None
    records: list[_Record]


class MalformedError(Exception):
    """The other end sent something else than these messages, or more than it may."""


@dataclass(frozen=True)
class Question:
    """A message for the app, and the node that it came to."""

    kind: str
    """Such as "train.share"."""
    group: str
    run: int
    node: int
    config: NodeConfig
    """The site's own settings, not the hub's."""
    content: RecordDict


@dataclass(frozen=True)
class Failure:
    """What the app raised, as Flower would tell it."""

    reason: str


def send_question(connection: Connection, question: Question) -> None:
    """Send it; see `receive_question`."""
    head = _Asked(
        kind=question.kind,
        group=question.group,
        run=question.run,
        node=question.node,
        config=question.config,
        records=_heads(question.content),
    )
    connection.send_bytes(head.model_dump_json().encode())
    _send_frames(connection, question.content)


def receive_question(connection: Connection) -> Question:
    """What `send_question` sent.

    Raises:
        EOFError: the gate has closed its end.
    """
    head = _Asked.model_validate_json(connection.recv_bytes())
    content = _receive_records(connection, head.records, limit_bytes=None)
    return Question(head.kind, head.group, head.run, head.node, head.config, content)


def send_reply(connection: Connection, reply: RecordDict | Failure) -> None:
    """Send it; see `receive_reply`."""
    if isinstance(reply, Failure):
        connection.send_bytes(_Answered(failure=reply.reason, records=[]).model_dump_json().encode())
        return
    head = _Answered(failure=None, records=_heads(reply))
    connection.send_bytes(head.model_dump_json().encode())
    _send_frames(connection, reply)


def receive_reply(connection: Connection, *, limit_bytes: int) -> RecordDict | Failure:
    """What `send_reply` sent, of which all frames together hold at most `limit_bytes`.

    Raises:
        EOFError: the process has ended.
        MalformedError: it sent something else, or more.
    """
    try:
        head = _Answered.model_validate_json(connection.recv_bytes(HEADER_BYTES))
        if head.failure is not None:
            return Failure(head.failure)
        return _receive_records(connection, head.records, limit_bytes=limit_bytes)
    except ConnectionError:
        raise EOFError from None
    except (OSError, ValidationError) as error:
        raise MalformedError(type(error).__name__) from None


def _heads(records: RecordDict) -> list[_Record]:
    heads = []
    for name, record in records.items():
        if isinstance(record, ArrayRecord):
            tensors = [
                _Tensor(key=key, dtype=array.dtype, shape=list(array.shape), stype=array.stype)
                for key, array in record.items()
            ]
            heads.append(_Record(name=name, kind="arrays", tensors=tensors))
        else:
            kind: Literal["config", "metrics"] = "config" if isinstance(record, ConfigRecord) else "metrics"
            heads.append(_Record(name=name, kind=kind))
    return heads


def _send_frames(connection: Connection, records: RecordDict) -> None:
    for record in records.values():
        for frame in _frames(record):
            connection.send_bytes(frame)


def _frames(record: ArrayRecord | ConfigRecord | MetricRecord) -> Iterator[bytes]:
    if isinstance(record, ArrayRecord):
        yield from (array.data for array in record.values())
    elif isinstance(record, ConfigRecord):
        yield config_record_to_proto(record).SerializeToString()
    else:
        yield metric_record_to_proto(record).SerializeToString()


def _receive_records(connection: Connection, heads: list[_Record], *, limit_bytes: int | None) -> RecordDict:
    left = limit_bytes

    def frame() -> bytes:
        nonlocal left
        taken = connection.recv_bytes(left)
        left = None if left is None else left - len(taken)
        return taken

    records = RecordDict()
    for head in heads:
        records[head.name] = _record(head, frame)
    return records


def _record(head: _Record, frame: Callable[[], bytes]) -> ArrayRecord | ConfigRecord | MetricRecord:
    if head.kind == "arrays":
        return ArrayRecord(
            {each.key: Array(each.dtype, tuple(each.shape), each.stype, frame()) for each in head.tensors}
        )
    try:
        if head.kind == "config":
            return config_record_from_proto(ConfigBytes.FromString(frame()))
        return metric_record_from_proto(MetricBytes.FromString(frame()))
    except OSError:
        raise
    except Exception as error:  # what protobuf raises at hostile bytes, and Flower at odd values
        raise MalformedError(type(error).__name__) from None

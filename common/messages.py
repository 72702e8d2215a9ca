"""What hub and hospitals say to each other, as typed values and as Flower records.

    hub -> site   Instruction   round number, digests of project and model, the model, the clip table
    site -> hub   Answer        the same digests, the packed update, the sums
    both ways     Step          with secure aggregation: one message of SA-1 instead of the Answer

Records are looked up in the RecordDict itself: its views `array_records` and `config_records` leave a
reference cycle behind at every use, and with it all arrays of the message until Python's collector comes by.
Shapes: N coordinates of the model, L tensors, K sums.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from flwr.common.constant import SType
from numpy.lib.format import (
    dtype_to_descr,
    read_array_header_1_0,
    read_magic,
    write_array_header_1_0,
)

from common.errors import IntegrityError
from common.large_pages import joined
from common.update import Planes, Vector

Number = TypeVar("Number", bound=np.generic)

HEADERS = 64
"""Of arrays in numpy's format, kept once written or read."""
PREAMBLE = 10
"""Bytes of an array in numpy's format 1.0 up to its header; the last two are the header's length."""

HELLO = "query.hello"
TRAIN = "train"
SHARE, INPUT, CONSENT, REVEAL = "train.share", "train.input", "train.consent", "train.reveal"
"""What follows TRAIN with secure aggregation, see `common.secagg.site`."""


@dataclass(frozen=True)
class LedgerWord:
    """What a hospital says of its privacy ledger: functions of public settings and of rounds alone."""

    head: str
    """Digest of the last entry."""
    steps: int
    """Private steps charged to this project so far, those of failed rounds included."""


@dataclass(frozen=True)
class Instruction:
    """Train one round from this model."""

    round: int
    """From 1."""
    project: str
    """Digest of the project the hub runs; a site that approved another one refuses."""
    model: str
    """Digest of `weights`."""
    weights: Vector
    """(N,) float32."""
    clips: Vector
    """(L,) float32."""
    ledgers: Mapping[str, str] = field(default_factory=dict)
    """Site -> the head of its privacy ledger that the hub remembers; empty without privacy."""
    attempt: int = 0
    """With secure aggregation: rises with every try of every round; 0 without."""

    def to_records(self) -> RecordDict:
        """As Flower sends it."""
        records = RecordDict(
            {
                "round": ConfigRecord(
                    {
                        "round": self.round,
                        "project": self.project,
                        "model": self.model,
                        "attempt": self.attempt,
                    }
                ),
                "model": ArrayRecord({"weights": array_of(self.weights), "clips": array_of(self.clips)}),
            }
        )
        if self.ledgers:
            records["ledgers"] = ConfigRecord({**self.ledgers})
        return records

    @classmethod
    def from_records(cls, records: RecordDict) -> "Instruction":
        """The inverse of `to_records`.

        Raises:
            IntegrityError: a record or a value is missing or has another type.
        """
        said = _config(records, "round")
        arrays = _arrays(records, "model")
        heads = _config(records, "ledgers") if "ledgers" in records else ConfigRecord()
        return cls(
            round=_integer(said, "round"),
            project=_text(said, "project"),
            model=_text(said, "model"),
            weights=_array(arrays, "weights", np.float32).copy(),  # torch warns of what it cannot write to
            clips=_array(arrays, "clips", np.float32),
            ledgers={site: _text(heads, site) for site in heads},
            attempt=_integer(said, "attempt"),
        )


@dataclass(frozen=True)
class Answer:
    """What leaves a hospital after a round, and all that leaves it."""

    round: int
    project: str
    model: str
    """Digest of the model that was trained from."""
    planes: Planes
    """(N,) the packed update."""
    sums: npt.NDArray[np.uint64]
    """(K,) see `common.update.sum_names`."""
    ledger: LedgerWord | None = None
    """None without privacy."""

    def to_records(self) -> RecordDict:
        """As Flower sends it."""
        return RecordDict(
            {
                "round": ConfigRecord({"round": self.round, "project": self.project, "model": self.model}),
                "update": planes_to_record(self.planes),
                "sums": ArrayRecord({"sums": array_of(self.sums)}),
                **_ledger_record(self.ledger),
            }
        )

    @classmethod
    def from_records(cls, records: RecordDict) -> "Answer":
        """The inverse of `to_records`.

        Raises:
            IntegrityError: a record or a value is missing or has another type.
        """
        said = _config(records, "round")
        return cls(
            round=_integer(said, "round"),
            project=_text(said, "project"),
            model=_text(said, "model"),
            planes=planes_from_record(_arrays(records, "update")),
            sums=_array(_arrays(records, "sums"), "sums", np.uint64),
            ledger=_ledger(records),
        )


@dataclass(frozen=True)
class Step:
    """A message of secure aggregation, either way; only the answer to INPUT carries numbers, and masked."""

    round: int
    attempt: int
    body: bytes
    """As `common.secagg.messages` writes it; may be empty."""
    planes: Planes | None = None
    """(N,) the masked update."""
    lanes: npt.NDArray[np.uint64] | None = None
    """(K,) the masked sums."""
    ledger: LedgerWord | None = None
    """With the answer to TRAIN under privacy."""

    def to_records(self) -> RecordDict:
        """As Flower sends it."""
        said = ConfigRecord({"round": self.round, "attempt": self.attempt, "body": self.body})
        records = RecordDict({"round": said, **_ledger_record(self.ledger)})
        if self.planes is not None and self.lanes is not None:
            records["update"] = planes_to_record(self.planes)
            records["sums"] = ArrayRecord({"sums": array_of(self.lanes)})
        return records

    @classmethod
    def from_records(cls, records: RecordDict) -> "Step":
        """The inverse of `to_records`.

        Raises:
            IntegrityError: a record or a value is missing or has another type.
        """
        said = _config(records, "round")
        body = said.get("body")
        if not isinstance(body, bytes):
            raise IntegrityError("the message's 'body' is not bytes", outward="malformed message")
        planes = lanes = None
        if "update" in records:
            planes = planes_from_record(_arrays(records, "update"))
            lanes = _array(_arrays(records, "sums"), "sums", np.uint64)
        number, attempt = _integer(said, "round"), _integer(said, "attempt")
        return cls(number, attempt, body, planes, lanes, _ledger(records))


def planes_to_record(planes: Planes) -> ArrayRecord:
    """As Flower sends it: one array or two."""
    arrays = {"low": array_of(planes.low)}
    if planes.high is not None:
        arrays["high"] = array_of(planes.high)
    return ArrayRecord(arrays)


def array_of(vector: npt.NDArray[np.generic]) -> Array:
    """What `Array(vector)` is, in a fraction of the time: the bytes are copied once."""
    data = joined([_header_of(vector.dtype, len(vector)), vector.view(np.uint8).data])
    return Array(str(vector.dtype), vector.shape, SType.NUMPY, data)


@lru_cache(maxsize=HEADERS)
def _header_of(dtype: np.dtype[np.generic], length: int) -> bytes:
    """What stands before the bytes of a vector; a run has a handful of them."""
    header = BytesIO()
    described = {"descr": dtype_to_descr(dtype), "fortran_order": False, "shape": (length,)}
    write_array_header_1_0(header, described)
    return header.getvalue()


def planes_from_record(record: ArrayRecord) -> Planes:
    """The inverse of `planes_to_record`; whether they fit the model is for the reader to judge.

    Raises:
        IntegrityError: an array is missing or has another type.
    """
    high = _array(record, "high", np.uint8) if "high" in record else None
    return Planes(_array(record, "low", np.uint16), high)


def _ledger_record(word: LedgerWord | None) -> dict[str, ConfigRecord]:
    if word is None:
        return {}
    return {"ledger": ConfigRecord({"head": word.head, "steps": word.steps})}


def _ledger(records: RecordDict) -> LedgerWord | None:
    if "ledger" not in records:
        return None
    said = _config(records, "ledger")
    return LedgerWord(head=_text(said, "head"), steps=_integer(said, "steps"))


def _config(records: RecordDict, name: str) -> ConfigRecord:
    record = records.get(name)
    if not isinstance(record, ConfigRecord):
        raise IntegrityError(f"the message has no record '{name}'", outward="malformed message")
    return record


def _arrays(records: RecordDict, name: str) -> ArrayRecord:
    record = records.get(name)
    if not isinstance(record, ArrayRecord):
        raise IntegrityError(f"the message has no record '{name}'", outward="malformed message")
    return record


def _integer(said: ConfigRecord, key: str) -> int:
    value = said.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise IntegrityError(f"the message's '{key}' is not a whole number", outward="malformed message")
    return value


def _text(said: ConfigRecord, key: str) -> str:
    value = said.get(key)
    if not isinstance(value, str):
        raise IntegrityError(f"the message's '{key}' is not text", outward="malformed message")
    return value


def _array(record: ArrayRecord, key: str, dtype: type[Number]) -> npt.NDArray[Number]:
    held = record.get(key)
    try:
        if held is not None:
            return _view(held, dtype)
    except Exception:  # a hostile header makes numpy raise a dozen kinds, MemoryError among them
        pass
    raise IntegrityError(
        f"the message's '{key}' is not a vector of {np.dtype(dtype)}", outward="malformed message"
    )


def _view(held: Array, dtype: type[Number]) -> npt.NDArray[Number]:
    """What `Array.numpy` returns, read-only and not copied; anything but a vector of `dtype` raises."""
    start = PREAMBLE + int.from_bytes(held.data[PREAMBLE - 2 : PREAMBLE], "little")
    if held.stype != SType.NUMPY:
        raise ValueError
    shape, found = _said_by(held.data[:start])
    array = np.frombuffer(held.data, dtype, offset=start)
    if found != dtype or shape != array.shape:
        raise ValueError
    return array


@lru_cache(maxsize=HEADERS)
def _said_by(header: bytes) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Shape and type of the array that `header` stands before; numpy has Python's compiler read it."""
    file = BytesIO(header)
    if read_magic(file) != (1, 0):
        raise ValueError
    shape, _, found = read_array_header_1_0(file)
    return shape, found

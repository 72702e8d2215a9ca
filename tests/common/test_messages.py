import io
import zipfile
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from common.errors import IntegrityError
from common.messages import Answer, Instruction, array_of
from common.update import Planes

Read = Callable[[RecordDict], object]
both = pytest.mark.parametrize("read", [Instruction.from_records, Answer.from_records])


def instruction(coordinates: int = 3) -> Instruction:
    return Instruction(
        round=2,
        project="p" * 64,
        model="m" * 64,
        weights=np.arange(coordinates, dtype=np.float32),
        clips=np.array([0.5], np.float32),
    )


def answer(coordinates: int = 3) -> Answer:
    return Answer(
        round=2,
        project="p" * 64,
        model="m" * 64,
        planes=Planes(np.arange(coordinates, dtype=np.uint16), np.full(coordinates, 255, np.uint8)),
        sums=np.array([2**64 - 1, 0], np.uint64),
    )


def thin_answer(coordinates: int = 3) -> Answer:
    return replace(answer(), planes=Planes(np.arange(coordinates, dtype=np.uint16), None))


def same(one: object, other: object) -> bool:
    if isinstance(one, Instruction | Answer | Planes):
        return all(same(value, getattr(other, name)) for name, value in vars(one).items())
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and np.array_equal(one, other)
    return one == other


@pytest.mark.parametrize("coordinates", [0, 1, 1000])
def test_what_is_said_is_heard(coordinates: int) -> None:
    assert same(instruction(coordinates), Instruction.from_records(instruction(coordinates).to_records()))
    assert same(answer(coordinates), Answer.from_records(answer(coordinates).to_records()))
    assert same(thin_answer(coordinates), Answer.from_records(thin_answer(coordinates).to_records()))


def test_special_numbers_travel_to_the_bit() -> None:
    wild = np.array([np.nan, -0.0, np.inf, np.float32(1e-45)], np.float32)
    said = Instruction(1, "p", "m", wild, wild)
    heard = Instruction.from_records(said.to_records())
    assert_array_equal(heard.weights.view(np.uint32), wild.view(np.uint32))


@both
def test_an_empty_message_is_malformed(read: Read) -> None:
    with pytest.raises(IntegrityError, match="no record 'round'") as caught:
        read(RecordDict())
    assert caught.value.outward == "malformed message"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("round", "2", "'round' is not a whole number"),
        ("round", True, "'round' is not a whole number"),
        ("round", 2.0, "'round' is not a whole number"),
        ("project", 2, "'project' is not text"),
        ("model", b"m", "'model' is not text"),
    ],
)
def test_a_value_of_another_type_is_named(key: str, value: str | int | float | bytes, words: str) -> None:
    for said, kind in ((instruction(), Instruction), (answer(), Answer)):
        records = said.to_records()
        records.config_records["round"][key] = value
        with pytest.raises(IntegrityError, match=words):
            kind.from_records(records)
        del records.config_records["round"][key]
        with pytest.raises(IntegrityError, match=f"'{key}' is not"):
            kind.from_records(records)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(3, np.float64),
        np.zeros(3, ">f4"),
        np.zeros((3, 1), np.float32),
        np.array(1, np.float32),
        np.array(["a"]),
    ],
    ids=["float64", "big endian", "matrix", "scalar", "text"],
)
def test_an_array_of_another_kind_is_named(array: np.ndarray) -> None:
    records = instruction().to_records()
    records.array_records["model"]["weights"] = Array(array)
    with pytest.raises(IntegrityError, match="'weights' is not a vector of float32"):
        Instruction.from_records(records)


def npy(header: bytes) -> bytes:
    """The first bytes of an .npy file with this header."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


def zip_archive(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, b"nothing")
    return buffer.getvalue()


MALICE = {
    "nothing": b"",
    "noise": b"noise",
    "pickle": b"cos\nsystem\n(S'true'\ntR.",
    "magic alone": b"\x93NUMPY",
    "unknown version": b"\x93NUMPY\x09\x00\x00\x00",
    "header is no literal": npy(b"{'descr': __import__('os'), }\n"),
    "header never closes": npy(b"{'descr': '<f4', 'shape': (((((((((\n"),
    "header lacks keys": npy(b"{'descr': '<f4'}\n"),
    "objects": npy(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n"),
    "unknown type": npy(b"{'descr': 'zzz', 'fortran_order': False, 'shape': (1,)}\n"),
    "cut short": npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (9,)}\n"),
    "negative size": npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-9,)}\n"),
    "too large for memory": npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1 << 60,)}\n"),
    "far too large": npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1152921504606846976,)}\n"),
    "beyond 64 bits": npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (%d,)}\n" % 10**30),
    "no archive": b"PK\x03\x04 but no archive",
    "an archive": zip_archive("weights.npy"),
    "an empty archive": b"PK\x05\x06" + bytes(18),
}


@pytest.mark.parametrize("data", MALICE.values(), ids=MALICE.keys())
def test_bytes_that_are_no_array_are_malformed(data: bytes) -> None:
    records = instruction().to_records()
    records.array_records["model"]["weights"] = Array("float32", (3,), "numpy.ndarray", data)
    with pytest.raises(IntegrityError, match="'weights' is not a vector of float32"):
        Instruction.from_records(records)


def test_another_serialisation_is_malformed() -> None:
    records = answer().to_records()
    records.array_records["sums"]["sums"] = Array("uint64", (1,), "torch.tensor", b"x")
    with pytest.raises(IntegrityError, match="'sums' is not a vector of uint64"):
        Answer.from_records(records)


scalars = st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=5) | st.binary(max_size=5)
values = scalars | st.booleans() | st.lists(st.integers(0, 9), max_size=2)
arrays = st.builds(
    Array,
    dtype=st.sampled_from(["float32", "uint8", "object", "nonsense"]),
    shape=st.lists(st.integers(0, 5), max_size=2).map(tuple),
    stype=st.sampled_from(["numpy.ndarray", "numpy.ndarray", "torch"]),
    data=st.sampled_from([*MALICE.values()]) | st.binary(max_size=60),
) | st.sampled_from([np.float32, np.uint8, np.uint16, np.uint64]).map(lambda kind: Array(np.zeros(2, kind)))
keys = st.sampled_from(["round", "project", "model", "weights", "clips", "low", "high", "sums"])
record = (
    st.dictionaries(keys, values).map(ConfigRecord)
    | st.dictionaries(keys, arrays).map(ArrayRecord)
    | st.dictionaries(keys, st.integers(0, 9)).map(MetricRecord)
)
messages = st.dictionaries(st.sampled_from(["round", "model", "update", "sums", "other"]), record)


def heard(read: Read, records: RecordDict) -> object:
    """What `read` makes of `records`; None when it refuses them as malformed, in one line."""
    try:
        return read(records)
    except IntegrityError as error:
        said = error
    assert said.outward == "malformed message"
    assert "\n" not in str(said)
    return None


@both
@given(content=messages)
@settings(max_examples=80, deadline=None)
def test_whatever_arrives_is_understood_or_refused_as_malformed(
    read: Read, content: dict[str, ConfigRecord]
) -> None:
    heard(read, RecordDict(content))


@both
@given(spoilt=st.data())
@settings(max_examples=80, deadline=None)
def test_a_good_message_with_one_thing_spoilt_is_understood_or_refused(
    read: Read, spoilt: st.DataObject
) -> None:
    said = instruction() if read == Instruction.from_records else answer()
    records = said.to_records()
    assert type(heard(read, records)) is type(said)
    held = records[spoilt.draw(st.sampled_from(sorted(records)))]
    key = spoilt.draw(st.sampled_from(sorted(held)))
    held[key] = spoilt.draw(arrays if isinstance(held, ArrayRecord) else values)
    heard(read, records)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint64, np.float32])
@pytest.mark.parametrize("size", [0, 1, 1000])
def test_an_array_has_the_bytes_that_flower_gives_it(dtype: type[np.generic], size: int) -> None:
    vector = np.arange(size).astype(dtype)
    ours, theirs = array_of(vector), Array(vector)
    assert (ours.dtype, ours.shape, ours.stype) == (theirs.dtype, theirs.shape, theirs.stype)
    assert ours.data == theirs.data
    assert_array_equal(ours.numpy(), vector)

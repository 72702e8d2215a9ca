"""A site that requires secure aggregation lets nothing unmasked leave, whatever is asked and whatever fails.

All handlers that the app has are asked everything that a hub could have kept of a round, in any order, and
every stage of theirs fails with the patients' numbers in the words of the failure.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from secure_samples import SITES, STAGES, Place, secure_spec
from tiny import tiny_store

from client import app as client_app
from client import departure, secagg
from client.audit import AUDIT, LOG, Audit
from client.secagg import SecureRounds
from common.errors import PeerError
from common.messages import CONSENT, HELLO, INPUT, REVEAL, SHARE, TRAIN, Answer, Step
from common.secagg.terms import Terms

TARGET = "south"
REQUIRED = {"require-secure-aggregation": True}
KINDS = sorted(name.removesuffix(".default") for name in client_app.app._registered_funcs)
STRANGE = ["query", "evaluate", "evaluate.weights", "query.embeddings", "train.update"]
WINDOW_WORDS = 16
"""So much of an update, with four different words in it, is found nowhere by chance."""
LARGEST_SMALL_NUMBER = 1 << 40
"""Counts, microseconds and losses in fixed point are below; a masked lane is above in all but one of 2^24."""

MAY_SEND: Mapping[str, set[frozenset[str]]] = {
    HELLO: {frozenset({"hello"})},
    TRAIN: {frozenset({"round"})},
    SHARE: {frozenset({"round"})},
    INPUT: {frozenset({"round", "update", "sums"})},
    CONSENT: {frozenset({"round"})},
    REVEAL: {frozenset({"round"})},
}
"""What each handler may answer with; a new handler has to be entered here, and thought about."""
MAY_SAY = {"hello": {"site", "project"}, "round": {"round", "attempt", "body"}}


@dataclass
class Secrets:
    """What must not leave: the updates that a site would have sent without secure aggregation."""

    answers: list[Answer] = field(default_factory=list)

    def pieces(self) -> Iterator[bytes]:
        """Bytes and words by which an update or a sum would be known again."""
        for answer in self.answers:
            windows = np.lib.stride_tricks.sliding_window_view(answer.planes.low, WINDOW_WORDS)[::7]
            telling = [window.tobytes() for window in windows if len(set(window.tolist())) >= 4]
            assert len(telling) > 20
            yield from telling
            yield from (number.to_bytes(8, "little") for number in self._numbers_of(answer))

    def numbers(self) -> Iterator[re.Pattern[bytes]]:
        """The sums in words; among other digits, such as those of a time, theirs stand by chance."""
        for answer in self.answers:
            yield from (re.compile(rb"(?<!\d)%d(?!\d)" % number) for number in self._numbers_of(answer))

    def _numbers_of(self, answer: Answer) -> list[int]:
        return [number for number in answer.sums.tolist() if number > 10_000]


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> Secrets:
    found, opened = Secrets(), SecureRounds.open

    def spy(rounds: SecureRounds, terms: Terms, answer: Answer) -> Step:
        copy = replace(answer.planes, low=answer.planes.low.copy())
        found.answers.append(replace(answer, planes=copy, sums=answer.sums.copy()))
        return opened(rounds, terms, answer)

    monkeypatch.setattr(SecureRounds, "open", spy)
    return found


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("stores")
    return {site: tiny_store(folder / site, seed=number).folder for number, site in enumerate(SITES)}


@pytest.fixture
def place(tmp_path: Path, stores: dict[str, Path]) -> Place:
    return Place(tmp_path / "secure", stores, secure_spec())


def require_nothing_leaks(kind: str, reply: Message, secrets: Secrets) -> None:
    content = RecordDict() if reply.has_error() else reply.content
    said = reply.error.reason.encode() if reply.has_error() else b""
    for record in content.values():
        assert not isinstance(record, MetricRecord)
        for value in record.values():
            said += value.data if isinstance(record, ArrayRecord) else _bytes_of(value)
    for piece in secrets.pieces():
        assert piece not in said
    for number in secrets.numbers():
        assert not number.search(said)
    if reply.has_error():
        return
    assert frozenset(content) in MAY_SEND[kind]
    for name, record in content.items():
        if isinstance(record, ConfigRecord):
            assert set(record) <= MAY_SAY[name]
    if kind == INPUT:
        step = Step.from_records(content)
        assert step.planes is not None
        assert step.lanes is not None
        assert min(step.lanes.tolist()) > LARGEST_SMALL_NUMBER
        assert all((step.planes.low != answer.planes.low).mean() > 0.99 for answer in secrets.answers)


def _bytes_of(value: object) -> bytes:
    return value if isinstance(value, bytes) else repr(value).encode()


def test_every_handler_that_the_app_has_is_thought_about() -> None:
    assert set(KINDS) == set(MAY_SEND)
    assert not client_app.app._mods, "a mod would see every answer"


# --- everything that a hub could have kept, in any order -------------------------------------------------


class Recording:
    """The apps, and what the hub sent to one of them."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, RecordDict]] = []

    def __call__(self, message: Message, context: Context) -> Message:
        if context.node_config["site"] == TARGET:
            self.sent.append((message.metadata.message_type, message.content))
        return client_app.app(message, context)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_a_hub_asks_in_whatever_order_nothing_unmasked_leaves(
    place: Place, secrets: Secrets, data: st.DataObject
) -> None:
    (place.home(TARGET) / secagg.DATABASE).unlink(missing_ok=True)  # as at a site that is new to the run
    recording = Recording()
    with suppress(PeerError):  # the others remember the round before
        place.collect_from(recording)
    others = [RecordDict(), place.instruction.to_records(), Step(1, 1, b"").to_records()]
    kept = [records for _, records in recording.sent] + others
    for _ in range(data.draw(st.integers(1, 12))):
        kind = data.draw(st.sampled_from([*KINDS, *STRANGE]))
        records = _varied(kept[data.draw(st.integers(0, 99)) % len(kept)], data)
        reply = place.ask(TARGET, kind, records, **REQUIRED)
        assert kind in KINDS or reply.has_error()
        require_nothing_leaks(kind, reply, secrets)


def _varied(records: RecordDict, data: st.DataObject) -> RecordDict:
    """The same message, perhaps with another attempt, or with something more in it."""
    attempt = data.draw(st.none() | st.integers(0, 2**45))
    varied = RecordDict(dict(records.items()))
    said = varied.get("round")
    if attempt is not None and isinstance(said, ConfigRecord):
        varied["round"] = ConfigRecord({**said, "attempt": attempt})
    if data.draw(st.booleans()):
        varied["update"] = ArrayRecord([np.zeros(3, np.float32)])
        varied["metrics"] = MetricRecord({"loss": 1.0})
    return varied


# --- failures at every stage -----------------------------------------------------------------------------

FAILURES: list[tuple[str, object, str]] = [
    (TRAIN, client_app, "validate_model"),
    (TRAIN, client_app, "train_locally"),
    (TRAIN, client_app, "whole_numbers"),
    (TRAIN, client_app, "answer"),
    (TRAIN, secagg, "advertise"),
    (TRAIN, SecureRounds, "_keep_update"),
    (TRAIN, SecureRounds, "open"),
    (SHARE, secagg, "share"),
    (INPUT, SecureRounds, "_take_update"),
    (INPUT, secagg, "mask"),
    (INPUT, SecureRounds, "input"),
    (CONSENT, secagg, "consent"),
    (REVEAL, secagg, "reveal"),
    *((stage, SecureRounds, "_database") for stage in (TRAIN, CONSENT, REVEAL)),
    *((stage, secagg, "write_whole") for stage in STAGES[:-1]),
    *((stage, departure, "fingerprint") for stage in STAGES),
]
"""A stage, and what fails in it once it has done its work."""


def without_digests(log: bytes) -> bytes:
    """`log` without what is random in it, where five digits in a row turn up by chance."""
    return re.sub(rb"[0-9a-f]{32,}", b"", log)


@pytest.mark.parametrize(
    ("stage", "owner", "name"), FAILURES, ids=[f"{stage} {name}" for stage, _, name in FAILURES]
)
def test_whatever_fails_takes_no_number_of_the_patients_out(
    place: Place,
    secrets: Secrets,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    owner: Any,
    name: str,
) -> None:
    original: Callable[..., Any] = getattr(owner, name)
    failed = []

    def fails_at_the_end(*arguments: Any, **options: Any) -> Any:
        result = original(*arguments, **options)
        failed.append(name)
        raise ValueError(f"{arguments} {result} {[answer.sums.tolist() for answer in secrets.answers]}")

    replies: list[tuple[str, Message]] = []

    def app(message: Message, context: Context) -> Message:
        kind = message.metadata.message_type
        if context.node_config["site"] != TARGET:
            return client_app.app(message, context)
        with pytest.MonkeyPatch.context() as patch:
            if kind == stage:
                patch.setattr(owner, name, fails_at_the_end)
            reply = place.ask(TARGET, kind, message.content, **REQUIRED)
        replies.append((kind, reply))
        if reply.has_error():
            replies.append((kind, place.ask(TARGET, kind, message.content, **REQUIRED)))
            raise OSError(reply.error.reason)
        return reply

    place.collect_from(app)
    assert failed
    failures = [reply for kind, reply in replies if kind == stage]
    assert failures[0].has_error()
    assert "ValueError; hospital log, reference" in failures[0].error.reason
    for kind, reply in replies:
        require_nothing_leaks(kind, reply, secrets)
    log = without_digests((place.home(TARGET).parent / AUDIT / LOG).read_bytes())
    assert all(piece not in log for piece in secrets.pieces())
    assert not any(number.search(log) for number in secrets.numbers())
    assert Audit(place.home(TARGET).parent / AUDIT).read().lines

"""Nothing leaves but what the approved project says: no record, entry, type, size or byte beside it."""

import ast
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.common.constant import SType
from hypothesis import given
from hypothesis import strategies as st
from one_site import ask
from tiny import first_instruction, node_config, tiny_spec, tiny_store

import client
import common
from client import departure
from client.egress import REFUSED, Egress, require_hello
from client.outward import FIXED, SCRUBBED, may_leave, scrubbed
from client.secagg import SecureRounds
from common.errors import FederationError, PolicyError
from common.messages import (
    CONSENT,
    HELLO,
    INPUT,
    REVEAL,
    SHARE,
    TRAIN,
    Answer,
    Step,
    array_of,
    planes_to_record,
)
from common.project import Project, open_project
from common.secagg.messages import Advert
from common.store import Store
from common.update import Planes
from simulations.federation import Federation, run_federation

Change = Callable[[RecordDict], object]


def array(reply: RecordDict, record: str, key: str, values: Array) -> None:
    held = ArrayRecord({**reply[record]})
    held[key] = values
    reply[record] = held


def entry(reply: RecordDict, record: str, **values: object) -> None:
    reply[record] = ConfigRecord({**reply[record]} | values)  # type: ignore[arg-type]  # what Flower takes


def hidden_in_the_header(reply: RecordDict) -> None:
    """The same vector behind a longer header, which numpy reads as well."""
    held = reply["sums"]["sums"]
    header, body = held.data[:128], held.data[128:]
    text = header[10:].rstrip().decode() + " Jane Doe"
    padded = header[:8] + (246).to_bytes(2, "little") + text.encode().ljust(245) + b"\n"
    array(reply, "sums", "sums", Array(held.dtype, held.shape, held.stype, padded + body))


def hidden_in_the_padding(reply: RecordDict) -> None:
    """A comment where the header has spaces; no byte longer, and numpy reads it as well."""
    held = reply["sums"]["sums"]
    spaces = held.data.index(b" " * 12, 0, 128)
    data = held.data[:spaces] + b"  # Jane Doe" + held.data[spaces + 12 :]
    assert len(data) == len(held.data)
    array(reply, "sums", "sums", Array(held.dtype, held.shape, held.stype, data))


def count(reply: RecordDict) -> int:
    return int(reply["update"]["low"].shape[0])


CHANGES: dict[str, Change] = {
    "an extra tensor": lambda reply: array(reply, "update", "extra", array_of(np.zeros(3, np.uint16))),
    "an extra record of tensors": lambda reply: reply.update(
        {"raw": ArrayRecord({"weights": array_of(np.zeros(3, np.float32))})}
    ),
    "a metric": lambda reply: reply.update({"metrics": MetricRecord({"auroc": 0.9})}),
    "a metric in the place of the sums": lambda reply: reply.update({"sums": MetricRecord({"sums": 0.9})}),
    "words": lambda reply: entry(reply, "round", note="Jane Doe"),
    "words in a record of their own": lambda reply: reply.update({"x": ConfigRecord({"x": "Jane Doe"})}),
    "a record too few": lambda reply: reply.pop("sums"),
    "raw weights": lambda reply: array(reply, "update", "low", array_of(np.zeros(count(reply), np.float32))),
    "another type": lambda reply: array(reply, "update", "high", array_of(np.zeros(count(reply), np.int8))),
    "a coordinate more": lambda reply: array(
        reply, "update", "high", array_of(np.zeros(count(reply) + 1, np.uint8))
    ),
    "two dimensions": lambda reply: array(
        reply, "update", "high", Array(np.zeros((count(reply), 1), np.uint8))
    ),
    "bytes behind a tensor": lambda reply: array(
        reply,
        "update",
        "high",
        Array("uint8", (count(reply),), SType.NUMPY, reply["update"]["high"].data + b"Jane Doe"),
    ),
    "bytes in a tensor's header": hidden_in_the_header,
    "bytes in the padding of a tensor's header": hidden_in_the_padding,
    "another way of writing it": lambda reply: array(
        reply, "update", "high", Array("uint8", (count(reply),), "pickle", reply["update"]["high"].data)
    ),
    "another round": lambda reply: entry(reply, "round", round=2),
    "a truth value for a number": lambda reply: entry(reply, "round", round=True),
    "another project": lambda reply: entry(reply, "round", project="0" * 64),
    "another model": lambda reply: entry(reply, "round", model="0" * 64),
    "a ledger's word without a ledger": lambda reply: reply.update(
        {"ledger": ConfigRecord({"head": "0" * 64, "steps": 2})}
    ),
}


@pytest.fixture
def node(project: Project, stores: dict[str, Store], bank: Store) -> dict[str, str]:
    return node_config(project, stores, "east", bank)


@pytest.mark.parametrize("what", CHANGES)
def test_the_handlers_let_nothing_else_out(
    what: str, node: dict[str, str], project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = first_instruction(project).to_records()
    genuine = ask(node, asked).content

    def dishonest(*_: object) -> RecordDict:
        reply = RecordDict({**genuine})
        CHANGES[what](reply)
        return reply

    monkeypatch.setattr("client.app._train", dishonest)
    reply = ask(node, asked)
    assert reply.has_error()
    assert reply.error.reason == f"<class 'common.errors.PolicyError'>:<'{REFUSED}'>"


def test_a_stage_of_another_protocol_is_refused(project: Project) -> None:
    asked = RecordDict({"round": ConfigRecord({"round": 1, "attempt": 1, "body": b""})})
    for stage in (SHARE, INPUT, CONSENT, REVEAL, "train.other", "query.other"):
        with pytest.raises(PolicyError, match="no such stage"):
            Egress("east", project, None).require(stage, asked, Step(1, 1, b"").to_records())


@pytest.mark.parametrize(
    "said",
    [
        {"site": "west", "project": "0" * 64},
        {"site": "east", "project": "Jane Doe"},
        {"site": "east", "project": "0" * 64, "note": "Jane Doe"},
        {"site": "east", "statement": b"Jane Doe"},
        {"site": "east"},
    ],
)
def test_an_introduction_is_a_name_and_a_digest_or_a_statement(said: dict[str, str | bytes]) -> None:
    with pytest.raises(PolicyError):
        require_hello("east", RecordDict({"hello": ConfigRecord({**said})}))


# --- under secure aggregation -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Spoken:
    """One stage of a genuine round, and an update in the clear that would have fitted."""

    guard: Egress
    asked: RecordDict
    reply: RecordDict


@pytest.fixture(scope="module")
def round_of_east(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Spoken], Answer]:
    folder = tmp_path_factory.mktemp("secure")
    spec = tiny_spec(
        evaluation__retrieval=False,
        evaluation__zero_shot=[],
        data__anchor_pairs=0,
        train__vocabulary_rows="frozen",
        train__local_steps=1,
        federation__rounds=1,
        federation__min_sites=3,
        secure_aggregation={"mode": "sa1", "min_sites": 3, "rare_rows": "frozen"},
    )
    sites = {
        name: tiny_store(folder / name, seed=seed).folder for seed, name in enumerate(("east", "n", "w"))
    }
    spoken: dict[str, tuple[RecordDict, RecordDict]] = {}
    kept: list[Answer] = []
    permit, opened = departure._permit, SecureRounds.open

    def listen(message: Message, node: dict[str, str], reply: RecordDict) -> None:
        permit(message, node, reply)
        if node["site"] == "east":
            spoken[message.metadata.message_type] = (message.content, reply)

    def keep(self: SecureRounds, terms: object, answer: Answer) -> Step:
        kept.append(Answer(**{**vars(answer), "planes": copied(answer.planes)}))
        return opened(self, terms, answer)  # type: ignore[arg-type]  # passed on as it came

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(departure, "_permit", listen)
        patch.setattr(SecureRounds, "open", keep)
        run_federation(Federation(spec, sites, None, folder / "out"), engine="inprocess", workers=1)
    guard = Egress("east", open_project(folder / "out" / "project"), None)
    return {stage: Spoken(guard, *said) for stage, said in spoken.items() if stage != HELLO}, kept[0]


def copied(planes: Planes) -> Planes:
    return Planes(planes.low.copy(), None if planes.high is None else planes.high.copy())


def test_a_genuine_round_passes(round_of_east: tuple[dict[str, Spoken], Answer]) -> None:
    spoken, _ = round_of_east
    assert sorted(spoken) == sorted([TRAIN, SHARE, INPUT, CONSENT, REVEAL])
    for stage, said in spoken.items():
        said.guard.require(stage, said.asked, said.reply)


def test_an_update_in_the_clear_is_told_from_a_masked_one(
    round_of_east: tuple[dict[str, Spoken], Answer],
) -> None:
    spoken, clear = round_of_east
    said = spoken[INPUT]
    reply = RecordDict({**said.reply, "update": planes_to_record(clear.planes)})
    with pytest.raises(PolicyError, match="in 'update'"):
        said.guard.require(INPUT, said.asked, reply)


@pytest.mark.parametrize("stage", [TRAIN, SHARE, INPUT, CONSENT, REVEAL])
@pytest.mark.parametrize("body", [b"Jane Doe", b"\0" * 63, bytes(1 << 20), "text", 7])
def test_a_step_carries_its_own_kind_of_body(
    round_of_east: tuple[dict[str, Spoken], Answer], stage: str, body: object
) -> None:
    said = round_of_east[0][stage]
    reply = RecordDict({**said.reply})
    entry(reply, "round", body=body)
    with pytest.raises(PolicyError):
        said.guard.require(stage, said.asked, reply)


def test_a_site_sends_its_own_keys_and_no_other_site_s(
    round_of_east: tuple[dict[str, Spoken], Answer],
) -> None:
    said = round_of_east[0][TRAIN]
    own = Advert.from_bytes(said.reply["round"]["body"])
    reply = RecordDict({**said.reply})
    entry(reply, "round", body=replace(own, site=own.site + 1).to_bytes())
    with pytest.raises(PolicyError, match="'body'"):
        said.guard.require(TRAIN, said.asked, reply)


def test_the_update_leaves_at_no_other_stage(round_of_east: tuple[dict[str, Spoken], Answer]) -> None:
    spoken, clear = round_of_east
    for stage in (TRAIN, SHARE, CONSENT, REVEAL):
        said = spoken[stage]
        reply = RecordDict({**said.reply, "update": planes_to_record(clear.planes)})
        with pytest.raises(PolicyError, match="too many"):
            said.guard.require(stage, said.asked, reply)
    with pytest.raises(PolicyError):
        spoken[TRAIN].guard.require(TRAIN, spoken[TRAIN].asked, clear.to_records())


# --- words ------------------------------------------------------------------------------------------------


@given(st.text(), st.sampled_from(["common.errors.PolicyError", "builtins.ValueError", "client.app.Jane"]))
def test_no_text_of_an_app_leaves_unless_it_is_ours(text: str, kind: str) -> None:
    reason = f"<class '{kind}'>:<'{text}'>"
    left = scrubbed(reason)
    assert left == f"<class 'common.errors.WithheldError'>:<'{SCRUBBED}'>" or (
        left == reason and may_leave(text, FederationError)
    )


@pytest.mark.parametrize(
    "text",
    [
        "Jane Doe",
        "no training rows of Jane Doe",
        "no training rows\nJane Doe",
        "",
        "JaneDoeError; hospital log, reference 19500101",
        "store holds 1\u09670x32 images, not 16x16",  # digits of other scripts are more letters to write with
    ],
)
def test_a_patient_s_name_is_no_word_of_ours(text: str) -> None:
    assert SCRUBBED in scrubbed(f"<class 'common.errors.PolicyError'>:<'{text}'>")
    assert SCRUBBED in scrubbed(text)


TEMPLATES = {
    "? differs from the project manifest": "ontology.json differs from the project manifest",
    "?/? differs from the project manifest": "pretrained/image/config.json differs from the project manifest",
    "? not signed by ?": "project bundle not signed by this site",
    "clock differs from the date of the ?": "clock differs from the date of the kit",
    "damaged ?": "damaged approval",
    "device '?' is not there": "device 'cuda' is not there",
    "no ? at this site": "no project bundle at this site",
    "store fails data.quality.?": "store fails data.quality.min_pairs",
    "store holds ? images, not ?": "store holds 16x16 images, not 32x32",
    "store was made with another data.images.?": "store was made with another data.images.burned_in",
}
"""Lines with a word in them, as the sources have them -> an example."""


def test_every_line_that_our_errors_send_out_is_on_the_list() -> None:
    fixed, formed = set(), set()
    for package in (client, common):
        for path in Path(str(package.__file__)).parent.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.keyword) and node.arg == "outward":
                    for part in ast.walk(node.value):
                        if isinstance(part, ast.JoinedStr):
                            formed.add(template(part))
                    if isinstance(node.value, ast.Constant):
                        fixed.add(str(node.value.value))
                    if isinstance(node.value, ast.IfExp):
                        fixed |= {ast.literal_eval(node.value.body), ast.literal_eval(node.value.orelse)}
    assert fixed <= FIXED
    assert formed == set(TEMPLATES)
    examples = [
        *TEMPLATES.values(),
        "training stopped at step 12: the loss of masked_image, knowledge is not finite",
        "OSError; hospital log, reference 0123abcd",
        "out-of-order",
        REFUSED,
        "code not approved at this site",
    ]
    assert [line for line in examples if not may_leave(line, FederationError)] == []


def template(line: ast.JoinedStr) -> str:
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "?" for part in line.values)

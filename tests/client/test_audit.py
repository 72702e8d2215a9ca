"""The audit log: every line there before the reply leaves, no change unseen, no kill that stops the site."""

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st
from one_site import ask
from saying import Say
from tiny import first_instruction, node_config

from client import audit as audit_module
from client.audit import AUDIT, HEAD, LOG, Audit
from client.audit_line import Event
from client.departure import LONGEST_STAGE, Exit, fingerprint
from common.errors import ConfigurationError, IntegrityError
from common.messages import HELLO, SHARE, TRAIN, Answer, array_of
from common.project import Project
from common.store import Store
from simulations.grid import be_the_hub


def event(number: int) -> Event:
    return Event(event="ANSWERED", stage="train", run=7, round=number, size=number, sha256=f"{number:064x}")


def filled(folder: Path, lines: int = 6, *, first: int = 1) -> Audit:
    audit = Audit(folder / AUDIT)
    for number in range(first, first + lines):
        audit.append(event(number))
    return audit


def refusal_of(audit: Audit) -> str:
    with pytest.raises(IntegrityError) as refused:
        audit.read()
    return str(refused.value)


def test_what_was_appended_is_read_back_in_order_and_chained(tmp_path: Path) -> None:
    record = filled(tmp_path).read()
    assert [line.round for line in record.lines] == [1, 2, 3, 4, 5, 6]
    assert [line.previous for line in record.lines[1:]] == [line.digest for line in record.lines[:-1]]
    assert record.lines[0].previous == "0" * 64
    assert record.head.digest == record.lines[-1].digest
    assert not record.half


def test_the_folder_is_its_owners_alone(tmp_path: Path) -> None:
    audit = filled(tmp_path)
    assert audit.folder.stat().st_mode & 0o077 == 0
    assert [path.name for path in audit.folder.iterdir() if path.stat().st_mode & 0o077] == []


# --- changes ---------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_no_byte_can_be_changed_unseen(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    audit = filled(tmp_path_factory.mktemp("log"), lines=3)
    path = audit.folder / data.draw(st.sampled_from([LOG, HEAD]))
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    refusal_of(audit)


CHANGES = {
    "dropped": (lambda lines: lines[:2] + lines[3:], 3),
    "the first dropped": (lambda lines: lines[1:], 1),
    "moved": (lambda lines: [*lines[:1], lines[2], lines[1], *lines[3:]], 2),
    "repeated": (lambda lines: [*lines[:4], lines[3], *lines[4:]], 5),
    "the last cut off": (lambda lines: lines[:-1], 6),
    "the last three cut off": (lambda lines: lines[:-3], 4),
    "all cut off": (lambda lines: [], 1),
    "half of the last cut off": (lambda lines: [*lines[:-1], lines[-1][:50]], 6),
    "its end cut off": (lambda lines: [*lines[:-1], lines[-1][:-1]], 6),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_line_that_was_tampered_with_is_named(tmp_path: Path, say: Say, change: str) -> None:
    audit = filled(tmp_path)
    tamper, line = CHANGES[change]
    lines = (audit.folder / LOG).read_bytes().splitlines(keepends=True)
    (audit.folder / LOG).write_bytes(b"".join(tamper(lines)))
    code, said = say("fedvlp-site", "audit", "verify", "--home", tmp_path)
    assert code == 6
    assert f"{LOG}, line {line}: " in said
    assert said.count("\n") == 1


def test_a_line_that_was_altered_is_named_also_when_its_own_digest_was_mended(tmp_path: Path) -> None:
    audit = filled(tmp_path)
    lines = audit.read().lines
    forged = audit_module.line_after(audit_module.Head(number=2, digest=lines[1].digest), event(9))
    texts = [line.to_bytes() for line in lines]
    (audit.folder / LOG).write_bytes(b"".join([*texts[:2], forged.to_bytes(), *texts[3:]]))
    assert "line 4" in refusal_of(audit), "the first that does not follow"


def test_a_log_without_its_head_or_a_head_without_its_log_is_refused(tmp_path: Path) -> None:
    audit = filled(tmp_path)
    head = (audit.folder / HEAD).read_bytes()
    (audit.folder / HEAD).unlink()
    assert "does not know it" in refusal_of(audit)
    with pytest.raises(IntegrityError):
        audit.append(event(7))
    (audit.folder / HEAD).write_bytes(head)
    (audit.folder / LOG).unlink()
    assert "line 1: missing" in refusal_of(audit)
    with pytest.raises(IntegrityError):
        audit.append(event(7))


@pytest.mark.parametrize("cut", [1, 100])
def test_nothing_is_appended_to_a_log_whose_end_was_altered(tmp_path: Path, cut: int) -> None:
    audit = filled(tmp_path)
    content = (audit.folder / LOG).read_bytes()
    (audit.folder / LOG).write_bytes(content[:-cut])
    with pytest.raises(IntegrityError, match="cut short"):
        audit.append(event(7))
    (audit.folder / LOG).write_bytes(content[:-60] + b"f" + content[-59:])
    with pytest.raises(IntegrityError, match="altered"):
        audit.append(event(7))


def test_a_log_that_was_made_up_anew_lacks_the_head_that_was_noted(tmp_path: Path, say: Say) -> None:
    noted = filled(tmp_path, 2).read().head.digest
    assert say("fedvlp-site", "audit", "verify", "--head", noted, "--home", tmp_path)[0] == 0
    for name in (LOG, HEAD):
        (tmp_path / AUDIT / name).unlink()
    filled(tmp_path, 5, first=2)
    assert say("fedvlp-site", "audit", "verify", "--home", tmp_path)[0] == 0
    code, said = say("fedvlp-site", "audit", "verify", "--head", noted, "--home", tmp_path)
    assert code == 6
    assert "made up anew" in said


# --- kills and full discs --------------------------------------------------------------------------------


@settings(deadline=None, max_examples=100)
@given(cuts=st.lists(st.integers(0, 700), min_size=1, max_size=4))
def test_half_a_line_stays_and_the_next_line_tells_of_it(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    """A kill is a write of which some bytes, or all, came to the disc, and no head after it."""
    audit = filled(tmp_path_factory.mktemp("log"), lines=2)
    for cut in cuts:
        log, head = (audit.folder / LOG).read_bytes(), (audit.folder / HEAD).read_bytes()
        audit.append(event(3))
        written = (audit.folder / LOG).read_bytes()[len(log) :]
        (audit.folder / LOG).write_bytes(log + written[:cut])
        (audit.folder / HEAD).write_bytes(head)
        before = audit.read()
        audit.append(event(4))
        after = audit.read()
        assert after.lines[-1].round == 4
        assert (audit.folder / LOG).read_bytes().startswith(log + written[:cut]), "only ever appended to"
        assert not after.half
        if before.half:
            assert after.lines[-2].event == "RECOVERED"
            assert after.lines[-2].size == len(before.half) + len(audit_module.CUT)


def test_half_a_line_that_was_changed_after_it_was_told_of_is_named(tmp_path: Path) -> None:
    audit = filled(tmp_path, 2)
    with (audit.folder / LOG).open("ab") as file:
        file.write(b'{"attempt":')
    audit.append(event(3))
    content = (audit.folder / LOG).read_bytes()
    (audit.folder / LOG).write_bytes(content.replace(b'{"attempt":~', b'{"attempt";~'))
    assert "line 3: altered" in refusal_of(audit)


def test_a_process_that_is_killed_leaves_a_log_that_goes_on(tmp_path: Path) -> None:
    audit = Audit(tmp_path / AUDIT)
    program = Path(__file__).with_name("audit_writer.py")
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, str(program), str(audit.folder)])
        lines = audit.read().head.number if audit.exists else 0
        while not audit.exists or audit.read().head.number < lines + 5:
            assert writer.poll() is None
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        audit.append(event(1))
    assert audit.read().head.number >= 18


def _append_fifty(folder: str) -> None:
    for number in range(50):
        Audit(Path(folder)).append(event(number))


def test_processes_that_append_at_once_take_turns(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append_fifty, args=(str(tmp_path / AUDIT),)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    record = Audit(tmp_path / AUDIT).read()
    assert record.head.number == 200
    assert {line.event for line in record.lines} == {"ANSWERED"}


def test_a_full_disc_stops_the_site_in_one_line_and_the_log_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = filled(tmp_path, 2)
    write = os.write

    def full(descriptor: int, content: bytes) -> int:
        if len(content) < 100:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, content[: len(content) - 60])

    monkeypatch.setattr(audit_module.os, "write", full)
    with pytest.raises(ConfigurationError, match="No space left on device") as refused:
        audit.append(event(3))
    assert refused.value.outward == "audit log cannot be written"
    monkeypatch.undo()
    assert audit.read().half
    audit.append(event(3))
    assert [line.event for line in audit.read().lines[2:]] == ["RECOVERED", "ANSWERED"]


# --- what leaves -----------------------------------------------------------------------------------------


@pytest.fixture
def node(project: Project, stores: dict[str, Store], bank: Store, tmp_path: Path) -> dict[str, str]:
    return {**node_config(project, stores, "east", bank), "home": str(tmp_path)}


def told(node: dict[str, str]) -> list[tuple[str, str, int | None, str | None]]:
    lines = Audit(Path(node["home"]) / AUDIT).read().lines
    return [(line.event, line.stage, line.round, line.reason) for line in lines]


def test_an_answer_is_in_the_log_with_the_digest_of_what_left(node: dict[str, str], project: Project) -> None:
    reply = ask(node, first_instruction(project).to_records())
    assert told(node) == [("ASKED", TRAIN, 1, None), ("ANSWERED", TRAIN, 1, None)]
    line = Audit(Path(node["home"]) / AUDIT).read().lines[-1]
    assert (line.size, line.sha256) == fingerprint(reply.content)
    answer = Answer.from_records(reply.content)
    assert line.size is not None
    assert line.size > answer.planes.nbytes


def test_a_refusal_is_in_the_log_with_the_words_that_left(node: dict[str, str]) -> None:
    reply = ask(node, RecordDict({"round": ConfigRecord({"round": 3})}), SHARE)
    (_, _, number, reason) = told(node)[-1]
    assert number == 3
    assert reason == "no secure aggregation in the approved project"
    assert reason in reply.error.reason


def test_an_unforeseen_failure_is_in_the_log_without_its_text(
    node: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise OSError("/data/Müller^Anna.dcm")

    monkeypatch.setattr("client.app.introduce", fail)
    reply = ask(node, kind=HELLO)
    event_, stage, _, reason = told(node)[-1]
    assert (event_, stage) == ("REFUSED", HELLO)
    assert reason is not None
    assert reason.startswith("OSError; hospital log, reference ")
    assert "Anna" not in (Path(node["home"]) / AUDIT / LOG).read_text() + reply.error.reason


def test_nothing_is_trained_and_nothing_leaves_when_the_log_cannot_be_written(
    node: dict[str, str], project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(audit_module.os, "write", refuse)
    monkeypatch.setattr("client.app.train_locally", lambda *_: pytest.fail("trained"))
    for kind in (TRAIN, HELLO, SHARE):
        reply = ask(node, first_instruction(project).to_records(), kind)
        assert reply.has_error()
        assert "audit log cannot be written" in reply.error.reason


def test_what_cannot_be_written_down_after_training_does_not_leave(
    node: dict[str, str], project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = Audit.append

    def second_fails(self: Audit, event: Event) -> None:
        if event.event == "ANSWERED":
            raise ConfigurationError("full", outward="audit log cannot be written")
        append(self, event)

    monkeypatch.setattr(Audit, "append", second_fails)
    reply = ask(node, first_instruction(project).to_records())
    assert reply.has_error()
    assert "audit log cannot be written" in reply.error.reason


def test_a_damaged_log_stops_the_site(node: dict[str, str], project: Project) -> None:
    ask(node, kind=HELLO)
    path = Path(node["home"]) / AUDIT / LOG
    path.write_bytes(path.read_bytes()[:-5])
    reply = ask(node, first_instruction(project).to_records())
    assert "audit log damaged" in reply.error.reason


def test_no_message_of_the_hub_makes_a_line_that_breaks_the_log(
    node: dict[str, str],
) -> None:
    """Flower takes a kind of message of any length."""
    be_the_hub()
    message = Message(RecordDict(), 1, "train." + "x" * 2 * audit_module.LONGEST_LINE)
    for _ in range(2):
        Exit({**node}, message).refused("code not approved at this site")
    assert [(event, stage[:8], len(stage)) for event, stage, *_ in told(node)] == [
        ("REFUSED", "train.xx", LONGEST_STAGE)
    ] * 2


def test_the_fingerprint_tells_all_that_could_differ() -> None:
    import numpy as np

    def content(name: str = "a", key: str = "k", values: object = (1, 2), more: object = b"x") -> RecordDict:
        return RecordDict(
            {
                name: ArrayRecord({key: array_of(np.array(values, np.uint16))}),
                "said": ConfigRecord({"more": more}),  # type: ignore[dict-item]  # what Flower takes
            }
        )

    variants = [content(), content("b"), content(key="l"), content(values=(2, 1)), content(more="x")]
    variants += [content(more=b"y"), content(values=(1, 2, 3)), RecordDict()]
    assert len({fingerprint(one) for one in variants}) == len(variants)
    assert fingerprint(content()) == fingerprint(content())


# --- commands --------------------------------------------------------------------------------------------


def test_people_see_what_left_and_what_was_refused(tmp_path: Path, say: Say) -> None:
    audit = filled(tmp_path, 1)
    audit.append(Event(event="ASKED", stage=SHARE, run=7, round=2, attempt=5))
    audit.append(Event(event="REFUSED", stage=SHARE, run=7, round=2, attempt=5, reason="out-of-order"))
    code, said = say("fedvlp-site", "audit", "show", "--home", tmp_path)
    assert code == 0
    assert "ANSWERED   train          run 7 round 1  1 bytes, SHA-256" in said
    assert "REFUSED    train.share    run 7 round 2 attempt 5  out-of-order" in said
    code, said = say("fedvlp-site", "audit", "show", "--last", 1, "--json", "--home", tmp_path)
    assert [line["reason"] for line in json.loads(said)] == ["out-of-order"]
    code, said = say("fedvlp-site", "audit", "verify", "--json", "--home", tmp_path)
    assert json.loads(said) == {"lines": 3, "head": audit.read().head.digest, "half_line_bytes": 0}


def test_a_home_without_a_log_says_so(tmp_path: Path, say: Say) -> None:
    code, said = say("fedvlp-site", "audit", "verify", "--home", tmp_path)
    assert code == 2
    assert "holds no audit log" in said

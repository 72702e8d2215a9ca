"""What a hospital approves is what runs there: anything else is refused, with its code and its line."""

import json
import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from consortium_samples import Consortium, found
from flwr.app import Message
from one_site import ask
from saying import Say
from tiny import SITES, first_instruction, tiny_spec

from client.approvals import APPROVALS, LOCK
from client.explanation import explain
from common.approval import Statement
from common.bundle_folder import Bundle
from common.errors import ConfigurationError, FederationError, IntegrityError, PolicyError
from common.lock_file import held_alone
from common.messages import HELLO, TRAIN
from common.project import Project, create_project
from common.signed import parse_signed
from common.store import Store
from server.flower_app import app_folder, build_app
from server.members import Members

Change = Callable[[Path], object]


@pytest.fixture
def chest(tmp_path: Path) -> Consortium:
    return found(tmp_path)


@pytest.fixture
def bundle(chest: Consortium, project: Project) -> Bundle:
    return chest.bundle(project)


@pytest.fixture
def approved(chest: Consortium, bundle: Bundle) -> Bundle:
    """Approved at east."""
    return chest.approvals("east").approve(bundle.project.folder, now=chest.founded)[0]


def said_by(reply: Message) -> Statement:
    said = reply.content.config_records["hello"]["statement"]
    assert isinstance(said, bytes)
    return parse_signed(said, Statement, where="hello")


# --- the bundle --------------------------------------------------------------------------------------------


def one_byte(name: str) -> Change:
    def change(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(bytes(content))

    return change


@pytest.mark.parametrize(
    "change",
    [
        *map(one_byte, ["app.fab", "requirements.lock", "spec.json", "project.json", "tokenizer.json"]),
        one_byte("bundle.json"),
        lambda folder: (folder / "app.fab").unlink(),
        lambda folder: (folder / "pretrained.json").write_text("what the operator did not sign"),
        lambda folder: (folder / "spec.json").write_bytes(b""),
        lambda folder: (folder / "link.json").symlink_to("nowhere"),
        lambda folder: (folder / "linked").symlink_to(folder.parent),
        lambda folder: os.mkfifo(folder / "pipe"),
        lambda folder: (folder / "bundle.json").write_bytes((folder / "bundle.json").read_bytes()[:99]),
    ],
)
def test_a_bundle_of_which_a_byte_was_changed_or_lost_is_refused_and_nothing_is_approved(
    chest: Consortium, bundle: Bundle, change: Change
) -> None:
    change(bundle.project.folder)
    with pytest.raises(FederationError) as refused:
        chest.approvals("east").approve(bundle.project.folder, now=chest.founded)
    assert refused.value.exit_code in (2, 6)
    assert "\n" not in str(refused.value)
    assert not (chest.homes["east"].folder / "approvals.json").exists()


def test_a_bundle_that_changes_while_it_is_approved_leaves_the_approved_copy_as_it_was(
    chest: Consortium, approved: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, copytree = chest.approvals("east").folder_of(approved.digest), shutil.copytree
    folder = chest.folder / approved.project.manifest.name
    copytree(place, folder)

    def exchanged(source: Path, *more: object, **options: object) -> object:
        one_byte("app.fab")(source)
        return copytree(source, *more, **options)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(shutil, "copytree", exchanged)
    with pytest.raises(IntegrityError, match=r"app\.fab differs"):
        chest.approvals("east").approve(folder, now=chest.founded)
    chest.approvals("east").open(place, now=chest.founded)
    assert len(chest.approvals("east").statements()) == 1


def test_what_the_manifest_says_of_the_project_must_be_true(chest: Consortium, bundle: Bundle) -> None:
    lying = bundle.manifest.model_copy(update={"rounds": 1}).signed_by(chest.hub.operator(None))
    lying.save(bundle.project.folder / "bundle.json")
    with pytest.raises(IntegrityError, match="rounds differs"):
        chest.approvals("east").approve(bundle.project.folder, now=chest.founded)


def test_the_bundle_of_another_operator_is_refused(
    chest: Consortium, project: Project, tmp_path: Path
) -> None:
    theirs = found(tmp_path / "other", sites=()).bundle(project)
    with pytest.raises(IntegrityError, match="signature of this consortium's operator"):
        chest.approvals("east").approve(theirs.project.folder, now=chest.founded)


def test_an_expired_bundle_and_a_late_clock_are_refused(chest: Consortium, bundle: Bundle) -> None:
    approvals, folder = chest.approvals("east"), bundle.project.folder
    with pytest.raises(PolicyError, match="expired on"):
        approvals.approve(folder, now=chest.founded + timedelta(days=30))
    with pytest.raises(ConfigurationError, match="10 minutes ahead of this machine's clock"):
        approvals.approve(folder, now=chest.founded - timedelta(minutes=10))
    approvals.approve(folder, now=chest.founded)
    with pytest.raises(PolicyError, match="expired on"):
        approvals.in_force(now=chest.founded + timedelta(days=31))


def test_a_site_that_the_bundle_does_not_name_cannot_approve_it(
    tmp_path: Path, chest: Consortium, bundle: Bundle
) -> None:
    stranger = found(tmp_path / "more", sites=("south",))
    kit = Members(chest.hub).admit(
        stranger.homes["south"].request("south", now=chest.founded),
        password=None, roster=None, now=chest.founded,
    )  # fmt: skip
    (stranger.homes["south"].folder / "kit.json").unlink()
    stranger.homes["south"].join(kit, operator=kit.operator, now=chest.founded)
    with pytest.raises(PolicyError, match="does not name site south"):
        stranger.approvals("south").approve(bundle.project.folder, now=chest.founded)


def test_the_same_tree_is_the_same_bundle(tmp_path: Path) -> None:
    first = build_app(app_folder(tmp_path / "one")).fab
    other = app_folder(tmp_path / "two")
    for file in other.rglob("*"):
        file.chmod(0o755)
    assert build_app(other).fab == first


# --- at the site -------------------------------------------------------------------------------------------


def test_a_site_obeys_the_approved_bundle_and_stops_at_the_message_after_its_revocation(
    chest: Consortium, approved: Bundle, stores: dict[str, Store], bank: Store
) -> None:
    node = chest.node("east", stores, bank)
    instruction = first_instruction(approved.project).to_records()
    assert not ask(node, instruction).has_error()
    assert said_by(ask(node, kind=HELLO)).in_force == approved.digest
    chest.approvals("east").revoke(now=chest.founded)
    for kind in (TRAIN, "train.share", "train.reveal"):
        reply = ask(node, instruction, kind)
        assert "project revoked at this site" in reply.error.reason
        assert str(chest.folder) not in reply.error.reason
    assert said_by(ask(node, kind=HELLO)).in_force is None


def test_before_any_approval_a_site_refuses_and_says_that_it_said_nothing(
    chest: Consortium, project: Project, stores: dict[str, Store], bank: Store
) -> None:
    node = chest.node("east", stores, bank)
    assert "no project approved" in ask(node, first_instruction(project).to_records()).error.reason
    assert ask(node, kind=HELLO).content.config_records["hello"]["statement"] == b""
    with_project = node | {"project": str(project.folder)}
    assert "beside the approved one" in ask(with_project, kind=TRAIN).error.reason
    assert "names another site" in ask(node | {"site": "west"}, kind=TRAIN).error.reason


def test_another_project_than_the_approved_one_is_refused(
    chest: Consortium, approved: Bundle, bank: Store, stores: dict[str, Store], tmp_path: Path
) -> None:
    other = create_project(tmp_path / "p", tiny_spec(train__local_steps=3), sites=[*SITES], bank=bank)
    reply = ask(chest.node("east", stores, bank), first_instruction(other).to_records())
    assert "project differs from the approved one" in reply.error.reason


def test_a_byte_changed_in_the_site_s_own_copy_is_found(
    chest: Consortium, approved: Bundle, stores: dict[str, Store], bank: Store
) -> None:
    copy = chest.approvals("east").folder_of(approved.digest)
    one_byte("bundle.json")(copy)
    instruction = first_instruction(approved.project).to_records()
    assert "project bundle" in ask(chest.node("east", stores, bank), instruction).error.reason


def test_another_project_put_into_the_site_s_own_copy_is_found(
    chest: Consortium, approved: Bundle, bank: Store, stores: dict[str, Store], tmp_path: Path
) -> None:
    """Whole in itself, and the one that the hub names: only the approved bundle tells that it is another."""
    other = create_project(tmp_path / "p", tiny_spec(train__local_steps=3), sites=[*SITES], bank=bank)
    shutil.copytree(other.folder, chest.approvals("east").folder_of(approved.digest), dirs_exist_ok=True)
    reply = ask(chest.node("east", stores, bank), first_instruction(other).to_records())
    assert "project bundle damaged" in reply.error.reason


def test_the_next_version_takes_the_place_of_the_last_and_never_goes_back(
    chest: Consortium, project: Project
) -> None:
    approvals = chest.approvals("east")
    first, second = chest.bundle(project, version=1), chest.bundle(project, version=2)
    approvals.approve(first.project.folder, now=chest.founded)
    approvals.approve(second.project.folder, now=chest.founded)
    assert approvals.in_force(now=chest.founded) == second.manifest
    with pytest.raises(PolicyError, match="does not follow version 2"):
        approvals.approve(first.project.folder, now=chest.founded)
    approvals.revoke(now=chest.founded)
    with pytest.raises(PolicyError, match="nothing to revoke"):
        approvals.revoke(now=chest.founded)
    approvals.approve(second.project.folder, now=chest.founded)
    assert [one.sequence for one in approvals.statements()] == [1, 2, 3, 4]


def test_pruning_keeps_what_is_in_force_and_what_was_approved_to_be_read(
    say: Say, chest: Consortium, project: Project
) -> None:
    approvals, home = chest.approvals("east"), chest.homes["east"].folder
    bundles = [chest.bundle(project, version=version, fab=bytes(5_000_000)) for version in (1, 2)]
    for bundle in bundles:
        (bundle.project.folder / "pretrained").mkdir()
        approvals.approve(bundle.project.folder, now=chest.founded)
    first, second = (approvals.folder_of(bundle.digest) for bundle in bundles)
    (first / "pretrained" / "spec.json").write_text("of a tower, not of the project")
    code, said = say("fedvlp-site", "project", "prune", "--home", home)
    assert (code, "5.0 MB freed" in said) == (0, True), said
    assert {path.name for path in first.rglob("*")} == {"bundle.json", "project.json", "spec.json"}
    assert approvals.in_force(now=chest.founded).version == 2
    approvals.open(second, now=chest.founded)
    third = chest.bundle(project, version=3)
    assert explain(third, site="east", before=Bundle(bundles[1].manifest, project)).compared_with == 2
    assert "0.0 MB freed" in say("fedvlp-site", "project", "prune", "--home", home)[1]
    assert approvals.revoke(now=chest.founded).bundle == bundles[1].digest
    assert approvals.prune() == 0  # the last of its project is what the next is compared with


def test_of_two_statements_made_at_once_none_is_lost(chest: Consortium, approved: Bundle) -> None:
    approvals = chest.approvals("east")
    with held_alone(chest.homes["east"].folder / LOCK, refusal=""):
        for say_more in (approvals.revoke, lambda now: approvals.approve(approved.project.folder, now=now)):
            with pytest.raises(ConfigurationError, match="is approving, revoking or pruning"):
                say_more(now=chest.founded)
    assert [one.decision for one in approvals.statements()] == ["approve"]


def test_a_bundle_is_not_thinned_out_while_somebody_approves(
    say: Say, chest: Consortium, project: Project, tmp_path: Path
) -> None:
    approvals, home = chest.approvals("east"), chest.homes["east"].folder
    replaced, _ = (
        approvals.approve(chest.bundle(project, version=version).project.folder, now=chest.founded)[0]
        for version in (1, 2)
    )
    with held_alone(home / LOCK, refusal=""):
        code, said = say("fedvlp-site", "project", "prune", "--home", home)
    assert (code, "approving, revoking or pruning" in said) == (2, True)
    approvals.open(approvals.folder_of(replaced.digest), now=chest.founded)  # whole as before
    assert say("fedvlp-site", "project", "prune", "--home", tmp_path / "nowhere")[0] == 2
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("damage", ["drop", "reorder", "edit", "half"])
def test_statements_that_were_tampered_with_approve_nothing(
    chest: Consortium, approved: Bundle, damage: str
) -> None:
    approvals = chest.approvals("east")
    approvals.revoke(now=chest.founded)
    path = chest.homes["east"].folder / APPROVALS
    said = json.loads(path.read_bytes())
    if damage == "drop":
        said = said[1:]
    elif damage == "reorder":
        said.reverse()
    elif damage == "edit":
        said[1]["decision"] = "approve"
    path.write_text(json.dumps(said)[: 200 if damage == "half" else None])
    with pytest.raises(IntegrityError):
        approvals.in_force(now=chest.founded)


# --- at the hub --------------------------------------------------------------------------------------------


def test_the_hub_counts_the_last_word_of_each_member(
    chest: Consortium, approved: Bundle, project: Project
) -> None:
    approvals, box = chest.approvals("east"), chest.box
    yes = approvals.statements()[-1]
    box.receive(yes, now=chest.founded)
    box.receive(yes, now=chest.founded)  # "hello" brings it again and again
    assert box.approvers(approved.digest) == ("east",)
    no = approvals.revoke(now=chest.founded)
    box.receive(no, now=chest.founded)
    assert box.approvers(approved.digest) == ()
    with pytest.raises(PolicyError, match="is a replay"):
        box.receive(yes, now=chest.founded)
    assert box.approvers(approved.digest) == ()


def test_a_statement_speaks_for_its_signer_alone(chest: Consortium, approved: Bundle) -> None:
    yes = chest.approvals("east").statements()[-1]
    for forged in (
        yes.model_copy(update={"site": "west"}),
        yes.model_copy(update={"site": "west"}).signed_by(chest.homes["east"].identity()),
        yes.model_copy(update={"sequence": 7}),
        yes.model_copy(update={"bundle": "0" * 64}),
    ):
        with pytest.raises(IntegrityError):
            chest.box.receive(forged, now=chest.founded)
    late = yes.model_copy(update={"made": chest.founded + timedelta(minutes=10)})
    with pytest.raises(ConfigurationError, match="ahead of this machine's clock"):
        chest.box.receive(late.signed_by(chest.homes["east"].identity()), now=chest.founded)
    assert chest.box.approvers(approved.digest) == ()


def test_a_removed_site_no_longer_approves_and_a_stranger_never_did(
    chest: Consortium, approved: Bundle, tmp_path: Path
) -> None:
    yes = chest.approvals("east").statements()[-1]
    chest.box.receive(yes, now=chest.founded)
    Members(chest.hub).remove("east", now=chest.founded)
    assert chest.box.approvers(approved.digest) == ()
    with pytest.raises(PolicyError, match="east was removed"):
        chest.box.receive(yes, now=chest.founded)
    stranger = yes.model_copy(update={"site": "nowhere"})
    with pytest.raises(PolicyError, match="nowhere is not a member"):
        chest.box.receive(stranger, now=chest.founded)
    back = found(tmp_path / "again", sites=("east",))
    request = back.homes["east"].request("east", now=chest.founded)
    Members(chest.hub).admit(request, password=None, roster=None, now=chest.founded)
    assert chest.box.approvers(approved.digest) == ()  # what it said under its old keys is void
    anew = yes.signed_by(back.homes["east"].identity())
    chest.box.receive(anew, now=chest.founded)
    assert chest.box.approvers(approved.digest) == ("east",)


# --- at the terminal ---------------------------------------------------------------------------------------


def test_a_bundle_goes_from_the_operator_to_a_site_and_its_approval_back(
    say: Say, chest: Consortium, tmp_path: Path, bank: Store
) -> None:
    import tomli_w
    from tiny import settings

    (tmp_path / "spec.toml").write_text(tomli_w.dumps(settings()))
    sites = [f"--site={name}" for name in SITES]
    create = ("fedvlp-server", "project", "create", tmp_path / "spec.toml", *sites, "--bank", bank.folder)
    code, said = say(*create, "--days", 30, "--out", "one", "--home", "hub")
    assert code == 0, said
    code, said = say(*create, "--days", 30, "--out", "one", "--home", "hub")
    assert (code, said.count("\n")) == (2, 1)

    code, said = say("fedvlp-site", "project", "show", "one", "--json", "--home", "east")
    assert code == 0, said
    first = json.loads(said)
    assert (first["version"], first["epsilon"], first["compared_with"]) == (1, None, None)
    expected = ("secure aggregation", "differential privacy", "image is not pinned")
    assert [words in warning for words, warning in zip(expected, first["warnings"], strict=True)] == [
        True
    ] * 3
    code, said = say("fedvlp-site", "project", "approve", "one", "--hash", "0" * 64, "--home", "east")
    assert (code, said.count("\n")) == (4, 1)
    code, said = say("fedvlp-site", "project", "approve", "one", "--home", "east")
    assert (code, said.count("\n")) == (2, 1)
    assert "--hash" in said
    digest = first["bundle"][:16]
    code, said = say("fedvlp-site", "project", "approve", "one", "--hash", digest, "--home", "east")
    assert code == 0, said

    (tmp_path / "spec.toml").write_text(tomli_w.dumps(settings(train__local_steps=5)))
    assert say(*create, "--days", 30, "--out", "two", "--home", "hub")[0] == 0
    code, said = say("fedvlp-site", "project", "show", "two", "--home", "east")
    assert code == 0
    assert "train.local_steps: 2 -> 5" in said
    assert "version 2" in said
    assert max(map(len, said.splitlines())) <= 100

    code, said = say("fedvlp-server", "project", "receive", "east.tiny.1.approval.json", "--home", "hub")
    assert code == 0, said
    listed = json.loads(say("fedvlp-server", "project", "approvals", "one", "--json", "--home", "hub")[1])
    assert listed["sites"] == {"east": True, "north": False, "west": False}
    assert say("fedvlp-site", "project", "status", "--home", "east")[0] == 0
    assert say("fedvlp-site", "project", "revoke", "--out", "no.json", "--home", "east")[0] == 0
    assert say("fedvlp-server", "project", "receive", "no.json", "--home", "hub")[0] == 0
    code, said = say("fedvlp-server", "project", "receive", "east.tiny.1.approval.json", "--home", "hub")
    assert (code, said.count("\n")) == (4, 1)
    assert "replay" in said
    assert say("fedvlp-site", "project", "status", "--home", "east")[0] == 4

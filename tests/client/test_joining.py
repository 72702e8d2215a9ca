"""A hospital joins a consortium, each party at its own terminal."""

import json
import re
import shutil
import ssl
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import create_server
from socket import socket as Socket

import pytest
from saying import Say

from client.home import LEDGER, Home
from client.ingest.pseudonyms import KEY_FILE, open_pseudonyms
from client.ledger import Ledger
from common.approval import Statement
from common.bundle import BundleManifest
from common.errors import ConfigurationError, IntegrityError, PolicyError
from common.joining import JoinRequest, Kit
from common.signed import read_signed
from server.home import HubHome
from server.members import Members

NOW = datetime.now(UTC).replace(microsecond=0)
KIT_OF_FORMAT_1 = Path(__file__).parents[1] / "fixtures" / "kit-format-1.json"
OPERATOR_OF_FIXTURE = "a86d77b78fdcdb4caaa2b5f218a2eac59b8ea1bf1b85db37ff3409742941d430"


def operator_of(said: str) -> str:
    found = re.search(r"^operator ([0-9a-f]{64})$", said, re.MULTILINE)
    assert found
    return found[1]


@pytest.fixture
def operator(say: Say) -> str:
    """A consortium in hub/, and its operator's key."""
    code, said = say("fedvlp-server", "init", "chest", "--hub", "hub.example.org:443", "--also", "127.0.0.1",
                     "--without-password", "--home", "hub")  # fmt: skip
    assert code == 0, said
    return operator_of(said)


def admitted(say: Say, name: str) -> Kit:
    assert say("fedvlp-site", "init", name, "--home", name)[0] == 0
    code, said = say("fedvlp-server", "admit", f"{name}.request.json", "--home", "hub")
    assert code == 0, said
    return read_signed(Path(f"{name}.kit.json"), Kit)


def joined(say: Say, name: str, operator: str) -> Home:
    admitted(say, name)
    code, said = say("fedvlp-site", "join", f"{name}.kit.json", "--operator", operator, "--home", name)
    assert code == 0, said
    return Home(Path(name))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_hospital_joins_and_its_private_keys_stay_with_it(say: Say, operator: str) -> None:
    home = joined(say, "north", operator)
    assert home.kit().hub == "hub.example.org:443"
    sent = Path("north.request.json").read_bytes() + Path("north.kit.json").read_bytes()
    for name in ("identity.key", "sealing.key", "node.key"):
        key = home.folder / name
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert key.read_bytes() not in sent
        assert key.read_bytes().hex().encode() not in sent
    assert b"PRIVATE" not in sent
    for name in ("operator.key", "authority.key", "server.key"):
        assert stat.S_IMODE((Path("hub") / name).stat().st_mode) == 0o600


def test_init_again_asks_anew_with_the_same_keys_and_never_for_another_site(say: Say, operator: str) -> None:
    admitted(say, "north")
    keys = files_of(Path("north"))
    assert say("fedvlp-site", "init", "north", "--home", "north")[0] == 0
    assert files_of(Path("north"))["north/identity.key"] == keys["north/identity.key"]
    code, said = say("fedvlp-site", "init", "south", "--home", "north")
    assert (code, said.count("\n")) == (2, 1)
    assert "home of north" in said


@pytest.mark.parametrize("name", ["", "..", "../x", "a b", "-x", "x" * 64, "a\n"])
def test_a_name_that_is_no_folder_name_makes_no_keys(say: Say, name: str) -> None:
    code, said = say("fedvlp-site", "init", "--home", "home", "--", name)
    assert (code, said.count("\n")) == (2, 1)
    assert not Path("home").exists()


@pytest.mark.parametrize(
    "hub", ["hub", "hub:0", "hub:65536", "hub:x", "h b:1", ":443", "::1:443", "https://h:1"]
)
def test_an_address_that_cannot_be_begins_no_consortium(say: Say, hub: str) -> None:
    code, said = say("fedvlp-server", "init", "c", "--hub", hub, "--without-password", "--home", "hub")
    assert (code, said.count("\n")) == (2, 1)
    assert not (Path("hub") / "consortium.json").exists()


def test_an_address_may_be_of_ipv6(say: Say) -> None:
    options = ("--hub", "[2001:db8::1]:443", "--without-password", "--home", "hub")
    assert say("fedvlp-server", "init", "c", *options)[0] == 0
    assert HubHome(Path("hub")).consortium().names == ("2001:db8::1",)


def test_another_site_changes_nothing_at_the_first(say: Say, operator: str) -> None:
    north = joined(say, "north", operator)
    before, at_hub = files_of(north.folder), files_of(Path("hub"))
    joined(say, "south", operator)
    assert files_of(north.folder) == before
    after = files_of(Path("hub"))
    assert {name: content for name, content in after.items() if name in at_hub} == at_hub


def test_the_first_kit_needs_the_operator_s_key_told_by_a_trusted_way(say: Say, operator: str) -> None:
    admitted(say, "north")
    code, said = say("fedvlp-site", "join", "north.kit.json", "--home", "north")
    assert (code, said.count("\n")) == (2, 1)
    assert "--operator" in said
    code, said = say("fedvlp-site", "join", "north.kit.json", "--operator", "0" * 64, "--home", "north")
    assert code == 6
    assert "comes from operator" in said
    assert not Home(Path("north")).joined


@pytest.mark.parametrize("key", sorted(set(Kit.model_fields) - {"format", "signature", "operator"}))
def test_any_key_of_a_kit_that_was_changed_is_found(say: Say, operator: str, key: str) -> None:
    kit = json.loads(admitted(say, "north").to_bytes())
    changed = {"roster": kit["roster"], "issued": "2026-01-01T00:00:00Z", "identity": "0" * 64}
    kit[key] = changed.get(key, "hub.elsewhere.org:443")
    if key == "roster":
        del kit[key]
    Path("changed.json").write_text(json.dumps(kit))
    code, said = say("fedvlp-site", "join", "changed.json", "--operator", operator, "--home", "north")
    assert (code, said.count("\n")) == (6, 1), said
    assert not Home(Path("north")).joined


def test_half_a_kit_is_refused_in_one_line_and_the_kit_in_force_stays(say: Say, operator: str) -> None:
    home = joined(say, "north", operator)
    before = files_of(home.folder)
    whole = Path("north.kit.json").read_bytes()
    for length in (0, 1, len(whole) // 2, len(whole) - 3):
        Path("half.json").write_bytes(whole[:length])
        code, said = say("fedvlp-site", "join", "half.json", "--home", "north")
        assert (code, said.count("\n")) == (6, 1), said
        assert "fetch it again" in said
    code, said = say("fedvlp-site", "join", "absent.json", "--home", "north")
    assert (code, said.count("\n")) == (2, 1)
    newer = json.loads(whole) | {"format": 2}
    Path("newer.json").write_text(json.dumps(newer))
    code, said = say("fedvlp-site", "join", "newer.json", "--home", "north")
    assert code == 2
    assert "upgrade" in said
    assert files_of(home.folder) == before


def test_the_kit_of_another_site_or_of_lost_keys_is_refused(say: Say, operator: str) -> None:
    admitted(say, "north")
    admitted(say, "south")
    code, said = say("fedvlp-site", "join", "south.kit.json", "--operator", operator, "--home", "north")
    assert code == 6
    assert "the kit is for site south" in said
    assert say("fedvlp-site", "init", "north", "--home", "another")[0] == 0
    code, said = say("fedvlp-site", "join", "north.kit.json", "--operator", operator, "--home", "another")
    assert code == 6
    assert "other keys" in said


def test_a_kit_of_a_foreign_authority_is_refused_though_the_operator_signed_it(
    say: Say, operator: str
) -> None:
    home = joined(say, "north", operator)
    assert say("fedvlp-server", "init", "other", "--hub", "a:1", "--without-password", "--home", "o")[0] == 0
    kit, signing = home.kit(), HubHome(Path("hub")).operator(None)
    foreign = (Path("o") / "authority.pem").read_text()
    with pytest.raises(IntegrityError, match="not by this consortium's authority"):
        home.join(kit.model_copy(update={"authority": foreign}).signed_by(signing), operator=None, now=NOW)
    theirs = Members(HubHome(Path("o"))).admit(
        read_signed(home.folder / "request.json", JoinRequest), password=None, roster=None, now=NOW
    )
    with pytest.raises(IntegrityError, match="comes from operator"):
        home.join(theirs, operator=None, now=NOW)
    moved = theirs.model_copy(update={"operator": kit.operator}).signed_by(signing)
    with pytest.raises(IntegrityError, match="another authority"):
        home.join(moved, operator=None, now=NOW)


def test_a_later_kit_renews_and_an_older_one_is_refused(say: Say, operator: str) -> None:
    home = joined(say, "north", operator)
    first = home.kit()
    soon = first.issued + timedelta(seconds=90)
    later = Members(HubHome(Path("hub"))).renew("north", password=None, roster=None, now=soon)
    home.join(later, operator=None, now=soon)
    assert (home.folder / "certificate.pem").read_text() == later.certificate != first.certificate
    with pytest.raises(PolicyError, match="older than the one in force"):
        home.join(first, operator=None, now=soon)
    with pytest.raises(PolicyError, match="held until"):
        home.join(later, operator=None, now=NOW + timedelta(days=500))


def test_a_clock_that_is_ten_minutes_late_is_named(say: Say, operator: str) -> None:
    home = joined(say, "north", operator)
    for document in (home.kit(), read_signed(home.folder / "request.json", JoinRequest)):
        made = document.issued if isinstance(document, Kit) else document.made
        document.require_valid(now=made - timedelta(minutes=4))
        with pytest.raises(ConfigurationError, match="10 minutes ahead of this machine's clock"):
            document.require_valid(now=made - timedelta(minutes=10))


def test_a_request_must_prove_both_keys(say: Say, operator: str) -> None:
    for name in ("north", "south"):
        assert say("fedvlp-site", "init", name, "--home", name)[0] == 0
    north = read_signed(Path("north.request.json"), JoinRequest)
    south = read_signed(Path("south.request.json"), JoinRequest)
    stolen = north.model_copy(update={"identity": south.identity})
    with pytest.raises(IntegrityError, match="signature of the site"):
        stolen.require_valid(now=NOW)
    der = north.certificate_request.splitlines()
    der[-3] = der[-3][:-6] + ("AAAAAA" if der[-3][-6:] != "AAAAAA" else "BBBBBB")
    broken = north.model_copy(update={"certificate_request": "\n".join(der)})
    with pytest.raises(IntegrityError):
        broken.signed_by(Home(Path("north")).identity()).require_valid(now=NOW)


def test_a_removed_site_stays_out_until_it_has_new_keys(say: Say, operator: str) -> None:
    admitted(say, "north")
    assert say("fedvlp-server", "remove", "north", "--home", "hub")[0] == 0
    code, said = say("fedvlp-server", "admit", "north.request.json", "--home", "hub")
    assert (code, said.count("\n")) == (4, 1)
    assert "was removed" in said
    code, said = say("fedvlp-server", "renew", "north", "--home", "hub")
    assert (code, said.count("\n")) == (2, 1)
    assert say("fedvlp-server", "remove", "north", "--home", "hub")[0] == 2
    listed = json.loads(say("fedvlp-server", "members", "--json", "--home", "hub")[1])
    assert [member["removed"] is not None for member in listed["members"]] == [True]
    assert say("fedvlp-site", "init", "north", "--home", "fresh")[0] == 0
    assert say("fedvlp-server", "admit", "north.request.json", "--home", "hub")[0] == 0
    for name in ("north", "south"):
        old = Home(Path("north")).request("north", now=NOW).model_copy(update={"site": name})
        with pytest.raises(PolicyError):
            Members(HubHome(Path("hub"))).admit(
                old.signed_by(Home(Path("north")).identity()), password=None, roster=None, now=NOW
            )


def test_nobody_takes_a_member_s_name_or_key(say: Say, operator: str) -> None:
    admitted(say, "north")
    assert say("fedvlp-site", "init", "north", "--home", "impostor")[0] == 0
    code, said = say("fedvlp-server", "admit", "north.request.json", "--home", "hub")
    assert code == 4
    assert "member with other keys" in said
    alias = Home(Path("north")).request("north", now=NOW).model_copy(update={"site": "south"})
    with pytest.raises(PolicyError, match="belongs to north"):
        Members(HubHome(Path("hub"))).admit(
            alias.signed_by(Home(Path("north")).identity()), password=None, roster=None, now=NOW
        )


def test_the_operator_s_keys_open_with_the_password_alone(say: Say) -> None:
    say("fedvlp-server", "--help")
    for name, word in (("right", "correct horse\n"), ("wrong", "battery\n"), ("empty", "\n")):
        Path(name).write_text(word)
    code, said = say("fedvlp-server", "init", "chest", "--hub", "h:443", "--home", "hub")
    assert (code, said.count("\n")) == (2, 1)
    assert "no terminal" in said
    assert (
        say("fedvlp-server", "init", "c", "--hub", "h:443", "--password-file", "empty", "--home", "hub")[0]
        == 2
    )
    assert (
        say("fedvlp-server", "init", "c", "--hub", "h:443", "--password-file", "right", "--home", "hub")[0]
        == 0
    )
    before = files_of(Path("hub"))
    assert say("fedvlp-site", "init", "north", "--home", "north")[0] == 0
    for option in ((), ("--password-file", "wrong"), ("--password-file", "absent")):
        code, said = say("fedvlp-server", "admit", "north.request.json", *option, "--home", "hub")
        assert (code, said.count("\n")) == (2, 1), said
        assert files_of(Path("hub")) == before
    assert (
        say("fedvlp-server", "admit", "north.request.json", "--password-file", "right", "--home", "hub")[0]
        == 0
    )
    code, said = say(
        "fedvlp-server", "init", "again", "--hub", "h:443", "--without-password", "--home", "hub"
    )
    assert code == 2
    assert "already" in said


@pytest.mark.parametrize("damage", [b"", b"-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n"])
def test_a_damaged_key_stops_and_is_never_replaced(say: Say, operator: str, damage: bytes) -> None:
    home = joined(say, "north", operator)
    home.node_key.write_bytes(damage)
    code, said = say("fedvlp-site", "init", "north", "--home", "north")
    assert (code, said.count("\n")) == (2, 1)
    assert "damaged" in said
    assert home.node_key.read_bytes() == damage
    (home.folder / "identity.key").write_bytes(damage)
    assert say("fedvlp-site", "init", "north", "--home", "north")[0] == 2
    assert (home.folder / "identity.key").read_bytes() == damage


def test_two_commands_do_not_change_one_home_at_once(say: Say, operator: str) -> None:
    admitted(say, "north")
    with HubHome(Path("hub")).locked():
        code, said = say("fedvlp-server", "remove", "north", "--home", "hub")
    assert (code, said.count("\n")) == (2, 1)
    assert "another fedvlp-server" in said


def greet(hub: HubHome, trust: ssl.SSLContext) -> str:
    """Serve one TLS connection with the hub's files as they are now; who the client found there."""
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(hub.folder / "server.pem", hub.folder / "server.key")
    with create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            accepted, _ = listener.accept()
            with accepted, serving.wrap_socket(accepted, server_side=True) as answered:
                answered.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        with Socket() as plain:
            plain.connect(listener.getsockname())
            with trust.wrap_socket(plain, server_hostname="hub.example.org") as connection:
                found = connection.getpeercert()
                connection.send(b"x")
        thread.join()
    assert found
    return str(found["serialNumber"])


def test_a_hub_whose_certificate_was_renewed_is_trusted_by_a_site_that_did_nothing(
    say: Say, operator: str
) -> None:
    home, hub = joined(say, "north", operator), HubHome(Path("hub"))
    trust = ssl.create_default_context(cafile=str(home.folder / "authority.pem"))
    first = greet(hub, trust)
    assert say("fedvlp-server", "renew", "hub", "--home", "hub")[0] == 0
    assert greet(hub, trust) != first


def test_a_hub_that_was_restored_from_its_backup_goes_on_and_no_hospital_notices(
    say: Say, operator: str
) -> None:
    home = joined(say, "north", operator)
    trust = ssl.create_default_context(cafile=str(home.folder / "authority.pem"))
    assert say("fedvlp-server", "proxy", "--out", "door", "--home", "hub")[0] == 0
    before = greet(HubHome(Path("hub")), trust)
    shutil.copytree("hub", "backup", ignore=shutil.ignore_patterns("service"))
    shutil.rmtree("hub")
    shutil.copytree("backup", "hub")
    assert say("fedvlp-server", "proxy", "--out", "door", "--home", "hub")[0] == 0
    assert greet(HubHome(Path("hub")), trust) == before
    assert say("fedvlp-server", "renew", "north", "--home", "hub")[0] == 0
    assert say("fedvlp-site", "join", "north.kit.json", "--home", "north")[0] == 0
    joined(say, "south", operator)


def test_a_new_home_goes_on_with_the_ledger_and_the_pseudonyms_of_the_old(say: Say, operator: str) -> None:
    """What a hospital is told to do whose keys were lost, or whose consortium was founded anew."""
    old, new = joined(say, "north", operator).folder, Path("new")
    Ledger.open_new(old / LEDGER, population="north", epsilon=8, delta=1e-6)
    head, names = Ledger(old / LEDGER).read().head, open_pseudonyms(old, create=True)
    assert say("fedvlp-server", "remove", "north", "--home", "hub")[0] == 0
    new.mkdir(mode=0o700)
    shutil.copytree(old / LEDGER, new / LEDGER)
    shutil.copy2(old / KEY_FILE, new)
    assert say("fedvlp-site", "init", "north", "--home", "new")[0] == 0
    assert say("fedvlp-server", "admit", "north.request.json", "--home", "hub")[0] == 0
    assert say("fedvlp-site", "join", "north.kit.json", "--operator", operator, "--home", "new")[0] == 0
    assert Ledger(new / LEDGER).read().head == head
    again = open_pseudonyms(new, create=False)
    assert again.patient("P1", "hospital") == names.patient("P1", "hospital")


def test_a_kit_that_the_first_version_made_is_read_and_trusted_by_this_one() -> None:
    kit = read_signed(KIT_OF_FORMAT_1, Kit)
    kit.require_valid(now=kit.issued + timedelta(days=30))
    assert (kit.site, kit.hub, kit.operator) == ("north", "hub.example.org:443", OPERATOR_OF_FIXTURE)


def test_what_the_first_version_signed_is_read_and_trusted_by_this_one() -> None:
    """All three are of one consortium; a file that a later version cannot read ends every approval."""
    fixtures = KIT_OF_FORMAT_1.parent
    request = read_signed(fixtures / "request-format-1.json", JoinRequest)
    request.require_valid(now=request.made)
    bundle = read_signed(fixtures / "bundle-format-1.json", BundleManifest)
    bundle.require_signature(bundle.operator, signer="its operator")
    bundle.require_in_time(bundle.created + timedelta(days=29))
    approval = read_signed(fixtures / "approval-format-1.json", Statement)
    approval.require_signature(request.identity, signer="east")
    assert approval.in_force == bundle.digest()

"""The images as they are deployed: a hub and four hospitals, each in a network of its own, one open port.

    hospital  10.77.N.2 ---- 10.77.N.1  hub, which is 10.77.0.1 for everybody

A hospital's network has one route, to the hub; the hub forwards nothing. `make images` makes what this needs.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from consortium_samples import Consortium, found
from saying import Say
from secure_samples import SECURE, SITES
from tiny import tiny_spec, tiny_store

from client.home import Home
from common.bundle_folder import Bundle
from common.project import create_project
from common.roster import Member, Roster, make_roster
from common.secagg.keys import identity_of
from common.store import Store
from server.flower_app import app_folder, build_app
from server.report.records import read_rounds

HUB, HUB_ADDRESS, ACCOUNT = "hub", "10.77.0.1", 10001
IMAGES = {"server": "localhost/fedvlp-server", "site": "localhost/fedvlp-site"}
PATIENCE_SECONDS = 240.0
ROUNDS = 3
LATER = ("coast", "east", "north", "south")
"""Who is there once west has left and coast has come."""
ASKED = "FEDVLP_TEST_CONTAINERS"


def missing() -> str | None:
    """Why containers cannot be tested here; None if they can."""
    if os.environ.get(ASKED) != "1":
        return "containers take minutes; make test-containers"
    for program in ("podman", "nginx", "ip"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if os.geteuid() != 0:
        return "network namespaces are made by root"
    for image in IMAGES.values():
        if subprocess.run(["podman", "image", "exists", image], check=False).returncode:
            return f"there is no image {image}; make images"
    return None


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def can_be_tested() -> None:
    if reason := missing():
        pytest.skip(reason)


def sh(*words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done


def until(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(1)
    return True


@dataclass
class Landscape:
    """Networks and containers, with names of their own."""

    mark: str
    names: list[str] = field(default_factory=list)
    networks: list[str] = field(default_factory=list)
    door: subprocess.Popen[bytes] | None = None

    def name(self, party: str) -> str:
        return f"fv{self.mark}-{party}"

    def add_network(self, party: str) -> None:
        network = self.name(party)
        sh("ip", "netns", "add", network)
        self.networks.append(network)
        sh("ip", "-n", network, "link", "set", "lo", "up")
        if party == HUB:
            sh("ip", "-n", network, "address", "add", f"{HUB_ADDRESS}/32", "dev", "lo")
            return
        number = len(self.networks) - 1
        here, there, hub = f"fv{self.mark}h{number}", f"fv{self.mark}s{number}", self.name(HUB)
        sh("ip", "link", "add", here, "netns", hub, "type", "veth", "peer", "name", there, "netns", network)
        sh("ip", "-n", hub, "address", "add", f"10.77.{number}.1/24", "dev", here)
        sh("ip", "-n", hub, "link", "set", here, "up")
        sh("ip", "-n", network, "address", "add", f"10.77.{number}.2/24", "dev", there)
        sh("ip", "-n", network, "link", "set", there, "up")
        sh("ip", "-n", network, "route", "add", f"{HUB_ADDRESS}/32", "via", f"10.77.{number}.1")

    def start(self, party: str, image: str, mounts: dict[Path, str], *words: object) -> None:
        for folder in mounts:
            give(folder)
        self.names.append(self.name(party))
        sh(
            *("podman", "run", "--detach", "--name", self.name(party)),
            *("--network", f"ns:/var/run/netns/{self.name(party)}"),
            *("--read-only", "--tmpfs", "/tmp:mode=1777", "--cap-drop", "all"),
            *("--security-opt", "no-new-privileges", "--stop-timeout", 20),
            *(word for folder, place in mounts.items() for word in ("--volume", f"{folder}:{place}")),
            *(IMAGES[image], *words),
        )

    def inside(self, party: str, *words: object) -> subprocess.CompletedProcess[str]:
        return sh("podman", "exec", self.name(party), *words, check=False)

    def said(self, party: str) -> str:
        done = sh("podman", "logs", self.name(party), check=False)
        return done.stdout + done.stderr

    def reaches(self, party: str, address: str, port: int) -> bool:
        connect = f"import socket; socket.create_connection(('{address}', {port}), timeout=2)"
        return self.inside(party, "python", "-c", connect).returncode == 0

    def open_door(self, settings: Path) -> None:
        command = ["ip", "netns", "exec", self.name(HUB), "nginx", "-c", str(settings), "-g", "daemon off;"]
        self.door = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def clear(self) -> None:
        if self.door is not None:
            self.door.terminate()
            self.door.wait()
        for name in self.names:
            sh("podman", "rm", "--force", "--time", 10, name, check=False)
        for network in self.networks:
            sh("ip", "netns", "del", network, check=False)


@pytest.fixture
def landscape() -> Iterator[Landscape]:
    made = Landscape(str(os.getpid() % 100000))
    try:
        yield made
    finally:
        made.clear()


def give(folder: Path) -> None:
    """To the account that the containers run as."""
    sh("chown", "-R", f"{ACCOUNT}:{ACCOUNT}", folder)


@dataclass(frozen=True)
class Study:
    """The consortium, and what its people do outside of the containers."""

    chest: Consortium
    folder: Path
    bank: Store

    @property
    def bundles(self) -> Path:
        return self.folder / "bundles"

    def approved(self, version: int, sites: tuple[str, ...], *, initial: Path | None = None) -> None:
        """A bundle of this version, on a roster of `sites`, which all of them sign and approve.

        With other members than before it starts from the model so far: on one model nobody helps twice.
        """
        homes = {site: self.chest.homes[site] for site in sites}
        roster = self._roster(version, homes)
        spec = tiny_spec(
            train__vocabulary_rows="frozen",
            model__initial=None if initial is None else str(initial),
            federation__rounds=ROUNDS,
            federation__min_sites=3,
            federation__reply_timeout_seconds=PATIENCE_SECONDS,
            secure_aggregation=dict(SECURE),
        )
        project = create_project(
            self.folder / f"unsigned-{version}", spec, sites=[*sites], bank=self.bank, roster=roster
        )
        app = build_app(app_folder(self.folder / f"app-{version}")).fab
        bundle: Bundle = self.chest.bundle(project, version=version, fab=app)
        for site, home in homes.items():
            home.approve(roster, now=self.chest.founded)
            self.chest.approvals(site).approve(bundle.project.folder, now=self.chest.founded)
            give(home.folder)
        shutil.copytree(bundle.project.folder, self.bundles / str(version))
        give(self.bundles)

    def _roster(self, version: int, homes: dict[str, Home]) -> Roster:
        keys = {site: home.identity() for site, home in homes.items()}
        roster = make_roster(
            version=version,
            expires=self.chest.founded + timedelta(days=90),
            members=tuple(Member(name=site, identity=identity_of(key).hex()) for site, key in keys.items()),
            min_sites=3,
            weight_cap=tiny_spec().federation.weight_cap,
            profiles=("wide",),
        )
        for site, key in keys.items():
            roster = roster.signed_by(site, key)
        return roster

    def start(self, landscape: Landscape, site: str, seed: int) -> None:
        store = tiny_store(self.folder / "stores" / site, seed=seed).folder
        folders = {
            self.chest.homes[site].folder: "/var/lib/fedvlp",
            store: "/store",
            self.bank.folder: "/bank",
        }
        landscape.start(site, "site", folders, "start", "--store", "/store", "--bank", "/bank")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    chest = found(tmp_path, sites=SITES, hub=f"{HUB_ADDRESS}:443")
    made = Study(chest, tmp_path, tiny_store(tmp_path / "bank", seed=99, rows=12))
    made.approved(1, SITES)
    return made


def everyone_answered(run: Path, sites: tuple[str, ...]) -> bool:
    statuses = [{site.name: site.status for site in record.sites} for record in read_rounds(run)]
    return statuses == [dict.fromkeys(sites, "ok")] * ROUNDS


def test_hospitals_behind_their_firewalls_train_together_through_one_port_and_come_and_go(
    say: Say, landscape: Landscape, study: Study, tmp_path: Path
) -> None:
    chest, door, runs = study.chest, tmp_path / "door", tmp_path / "runs"
    terms = ["--listen", f"{HUB_ADDRESS}:443", "--scratch", tmp_path, "--access-log", tmp_path / "door.log"]
    assert say("fedvlp-server", "proxy", "--home", chest.hub.folder, "--out", door, *terms)[0] == 0
    runs.mkdir()
    for party in (HUB, *SITES):
        landscape.add_network(party)
    mounts = {chest.hub.folder: "/var/lib/fedvlp", study.bundles: "/bundles", runs: "/runs"}
    landscape.start(HUB, "server", mounts, "start")
    landscape.open_door(door / "nginx.conf")
    for seed, site in enumerate(SITES):
        study.start(landscape, site, seed)

    def connected() -> bool:
        status = landscape.inside(HUB, "fedvlp-server", "status", "--json")
        return status.returncode == 0 and None not in json.loads(status.stdout)["sites"].values()

    def run(version: int) -> tuple[bool, str]:
        ran = landscape.inside(
            HUB, "fedvlp-server", "run", f"/bundles/{version}", "--out", f"/runs/{version}"
        )
        said = "\n".join(landscape.said(party) for party in (HUB, *chest.homes))
        return ran.returncode == 0, ran.stdout + ran.stderr + said

    assert until(connected), "\n".join(landscape.said(party) for party in (HUB, *SITES))

    assert landscape.reaches("east", HUB_ADDRESS, 443)
    assert not landscape.reaches("east", HUB_ADDRESS, 8000)
    assert not landscape.reaches("east", "10.77.1.1", 8000)
    assert not landscape.reaches("east", "10.77.2.2", 443)
    assert not landscape.reaches("east", "192.0.2.1", 443)
    assert landscape.inside("east", "python", "-c", "import os; print(os.getuid())").stdout == f"{ACCOUNT}\n"
    assert "Read-only" in landscape.inside("east", "touch", "/usr/x").stderr

    ended, said = run(1)
    assert ended, said
    assert everyone_answered(runs / "1", SITES), said

    assert landscape.inside(HUB, "fedvlp-server", "remove", "west").returncode == 0
    assert until(lambda: "SuperNode ended" in landscape.said("west")), landscape.said("west")

    request, kit, home = runs / "coast.request.json", runs / "coast.kit.json", tmp_path / "coast"
    assert say("fedvlp-site", "init", "coast", "--home", home, "--out", request)[0] == 0
    give(runs)
    admitted = landscape.inside(
        HUB, "fedvlp-server", "admit", "/runs/coast.request.json", "--out", "/runs/coast.kit.json"
    )
    assert admitted.returncode == 0, admitted.stderr
    operator = chest.homes["east"].kit().operator
    assert say("fedvlp-site", "join", kit, "--operator", operator, "--home", home)[0] == 0
    chest.homes["coast"] = Home(home)
    study.approved(2, LATER, initial=runs / "1" / "model")
    landscape.add_network("coast")
    study.start(landscape, "coast", 7)
    assert until(connected), landscape.said("coast")

    ended, said = run(2)
    assert ended, said
    assert everyone_answered(runs / "2", LATER), said
    sh("podman", "stop", landscape.name(HUB))
    assert "the hub has ended" in landscape.said(HUB)

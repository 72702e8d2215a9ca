"""A deployment on 127.0.0.1: one SuperLink, and per site one SuperNode with its gate.

    hub/           certificate, server key, secret, Flower's home of the SuperLink and the ServerApp
    sites/NAME/    node key, secret, settings, Flower's home of the SuperNode and the ClientApp
    logs/          one file per program and party; logs/hub/flwr-serverapp.log is what the ServerApp prints

Everything on the wire to the hub is TLS; a SuperNode proves its key, an executor its secret; apps run in
processes of their own (process isolation). The SuperLink keeps its state in memory: Flower's SQLite file
fails for large models ("database is locked"), and our checkpoints, not Flower, outlive a restart.
"""

import re
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from client import gate
from client.gate.settings import ApprovedSettings, GateSettings, PinnedSettings
from client.home import Home
from client.node_key import write_node_key
from common.errors import ConfigurationError, PeerError
from common.files import write_whole
from common.processes.child import stop
from common.processes.party import Party
from server.control import Control, Setting
from server.credentials import (
    PRIVATE,
    ServerCertificate,
    issue_server_certificate,
    write_secret,
)
from server.flower_app import build_app
from server.home import AUTHORITY, SERVER, SERVER_KEY, HubHome
from server.hub_processes import HOST, spawn_hub
from server.members import Members
from server.watching import SERVERAPP, watch_run

SUPERNODE, GATE = "flower-supernode", gate.__name__

WATCH_SECONDS = 0.2
START_SECONDS = 120.0
"""A machine that needs longer to start the processes is too busy to run them."""
REJOIN_SECONDS = 90.0
"""The hub refuses a killed site until its heartbeat lapses, up to 60 s."""

STILL_CONNECTED = "[code: 2004]"
"""What a SuperNode says before it ends because the hub believes it to be online already."""

_SITE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


class LoopbackDeployment:
    """The processes of a federation: started on entry, gone on exit, whatever happens in between."""

    def __init__(
        self,
        folder: Path,
        *,
        app: Path,
        sites: Mapping[str, Mapping[str, Setting]],
        threads: int = 1,
        consortium: HubHome | None = None,
    ) -> None:
        """Prepare; nothing runs before the `with` block.

        Args:
            folder: keys, settings and logs; keys of an earlier deployment there are replaced, logs continued.
            app: folder with the pyproject.toml of the Flower app; see `app_folder`.
            sites: name -> what the site's ClientApp finds in `context.node_config`.
            threads: OMP_NUM_THREADS of every process. Sums in another number of threads end in other
                last bits, so runs that are compared bit by bit need the same.
            consortium: whose certificate the hub shows and whose members are let in, each with the keys and
                the trust of the `home` in its settings; None makes keys for this deployment alone.

        Raises:
            ConfigurationError: no site, a name that cannot be a folder, an app that Flower refuses.
        """
        _check_names(sites)
        self._folder = folder.resolve()
        self._consortium = consortium
        self._bundle = build_app(app)
        self._settings = {name: dict(settings) for name, settings in sites.items()}
        self._hub = self._party("the hub", "hub", threads)
        self._sites = {name: self._party(name, f"sites/{name}", threads) for name in sites}

    @property
    def address(self) -> str:
        """The SuperLink's "host:port"; known once the deployment runs."""
        return f"{HOST}:{self._port}"

    @property
    def authority(self) -> Path:
        """PEM file of the authority that vouches for the SuperLink; known once the deployment runs."""
        return self._certificate.authority

    def control(self) -> Control:
        """A line to the SuperLink of one's own, with the operator's secret; the caller closes it."""
        return Control(self.address, authority=self.authority, secret=self._operator_secret.read_bytes())

    def __enter__(self) -> Self:
        """Start every process and wait until all sites are online.

        Raises:
            PeerError: a process ended or did not come up in time; everything is stopped again.
        """
        try:
            write_whole(self._folder / "app.fab", self._bundle.fab)
            self._start_hub()
            for name in self._sites:
                self._admit(name)
                self._launch(name)
            self._await_online(self._sites, before={}, seconds=START_SECONDS)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def run(
        self,
        config: Mapping[str, Setting],
        *,
        timeout_seconds: float,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        """Run the app once with these settings and wait for its end.

        Args:
            config: overrides of [tool.flwr.app.config].
            timeout_seconds: the run is stopped when it takes longer.
            on_line: called with every line that the ServerApp prints, as it comes.

        Raises:
            ConfigurationError: the app has no such setting.
            PeerError: the run failed, took too long, or a process of the hub ended.
            FederationError: what the ServerApp itself raised, if it raised one of ours.
        """
        if unknown := sorted(set(config) - self._bundle.settings):
            raise ConfigurationError(f"the app has no setting {unknown[0]!r} in [tool.flwr.app.config]")
        run = self._control.start(self._bundle.fab, config)
        try:
            watch_run(
                self._control,
                run,
                log=self._hub.log(SERVERAPP),
                hear=on_line or _ignore,
                timeout_seconds=timeout_seconds,
                alive=self._hub.require_running,
            )
        except BaseException:
            with suppress(PeerError):
                self._control.stop(run)
            raise

    def stop_site(self, name: str) -> None:
        """End a site as its administrator would; the hub hears of it at once."""
        self._site(name).stop()

    def kill_site(self, name: str) -> None:
        """End a site as a power cut would; the hub notices when heartbeats are missing, 40 to 60 s later."""
        self._site(name).kill()

    def start_site(self, name: str) -> None:
        """Start a stopped or killed site again and wait until it is online.

        A killed site is refused while the hub takes it for connected, so this may take up to a minute. Call
        it from the thread that entered the deployment: processes end with the thread that started them.

        Raises:
            PeerError: the site did not come back.
        """
        site = self._site(name)
        if site.running:
            return
        site.stop()
        before = self._control.online_since()
        deadline = time.monotonic() + REJOIN_SECONDS
        while True:
            self._launch(name)
            try:
                self._await_online([name], before=before, seconds=deadline - time.monotonic())
            except PeerError:
                refused = STILL_CONNECTED in site.said(SUPERNODE)
                site.stop()
                if not refused or time.monotonic() > deadline:
                    raise
            else:
                return

    @property
    def _operator_secret(self) -> Path:
        return self._hub.folder / "operator.secret"

    def _party(self, name: str, place: str, threads: int) -> Party:
        return Party(name, folder=self._folder / place, logs=self._folder / "logs" / place, threads=threads)

    def _site(self, name: str) -> Party:
        if name not in self._sites:
            raise ConfigurationError(f"the deployment has no site {name!r}; it has {', '.join(self._sites)}")
        return self._sites[name]

    def _start_hub(self) -> None:
        self._certificate = (
            issue_server_certificate(self._hub.folder)
            if self._consortium is None
            else ServerCertificate(
                *(self._consortium.folder / name for name in (AUTHORITY, SERVER, SERVER_KEY))
            )
        )
        secret = write_secret(self._hub.folder / "secret")
        self._port = free_port()
        operator_secret = write_secret(self._operator_secret)
        self._control = self.control()
        spawn_hub(
            self._hub,
            port=self._port,
            certificate=self._certificate,
            executor_secret=secret,
            operator_secret=operator_secret,
        )
        self._wait_until(self._control.answers, [self._hub], seconds=START_SECONDS)

    def _admit(self, name: str) -> None:
        """Register the public half of the site's key, which is made unless the site has a home."""
        folder = self._sites[name].folder
        if self._consortium is None:
            self._control.register(name, write_node_key(folder / "node.key"))
        else:
            member = Members(self._consortium).current(name)
            self._control.register(name, member.request.node_key.encode())
        write_secret(folder / "secret")

    def _launch(self, name: str) -> None:
        """Start the site's SuperNode and gate; settings go by file, so that no value needs quoting."""
        site, runtime = self._sites[name], free_port()
        node_key, authority = site.folder / "node.key", self.authority
        if self._consortium is not None:
            home = Home(Path(str(self._settings[name]["home"])))
            node_key, authority = home.node_key, home.folder / AUTHORITY
        secret = str(site.folder / "secret")
        site.spawn(
            SUPERNODE,
            [
                *("--superlink", self.address, "--root-certificates", str(authority)),
                *("--auth-supernode-private-key", str(node_key)),
                *("--host", HOST, "--port", str(runtime)),
                *("--isolation", "process", "--superexec-auth-secret-file", secret),
            ],
        )
        gate = GateSettings(
            runtime=f"{HOST}:{runtime}",
            secret=Path(secret),
            rule=self._rule(name),
            node=self._settings[name],
            memory_gib=None,
        )
        write_whole(site.folder / "gate.json", gate.model_dump_json().encode(), mode=PRIVATE)
        site.spawn_module(GATE, [str(site.folder / "gate.json")])

    def _rule(self, name: str) -> ApprovedSettings | PinnedSettings:
        """A member of the consortium runs what it approved; any other node the app that is deployed."""
        settings = self._settings[name]
        if self._consortium is not None:
            return ApprovedSettings(kind="approved", home=Path(str(settings["home"])))
        project = settings.get("project")
        fab = self._folder / "app.fab"
        return PinnedSettings(kind="pinned", fab=fab, project=None if project is None else Path(str(project)))

    def _await_online(self, names: Iterable[str], *, before: Mapping[str, str], seconds: float) -> None:
        """Wait until the sites are online by an activation that is not in `before`."""
        sites = {name: self._sites[name] for name in names}

        def online() -> bool:
            since = self._control.online_since()
            return all(name in since and since[name] != before.get(name) for name in sites)

        self._wait_until(online, [self._hub, *sites.values()], seconds=seconds)

    def _wait_until(self, ready: Callable[[], bool], parties: list[Party], *, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            for party in parties:
                party.require_running()
            if time.monotonic() > deadline:
                raise PeerError(
                    f"the deployment was not up after {seconds:.0f} s; see {self._folder / 'logs'}"
                )
            time.sleep(WATCH_SECONDS)

    def _end(self) -> None:
        """Stop the sites while the hub hears them leave, then the hub, which waits for open connections."""
        try:
            stop([child for site in self._sites.values() for child in site.children])
            for site in self._sites.values():
                site.stop()
        finally:
            if hasattr(self, "_control"):
                self._control.close()
            self._hub.stop()


def _check_names(sites: Iterable[str]) -> None:
    if not list(sites):
        raise ConfigurationError("a deployment needs at least one site; add --site NAME=STORE")
    for name in sites:
        if not _SITE_NAME.fullmatch(name):
            raise ConfigurationError(
                f"site name {name!r} cannot be used; take letters, digits, dots, hyphens and underscores"
            )


def free_port() -> int:
    """A port that nobody listens on now; should another process be quicker, the start fails and says so."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _ignore(_: str) -> None:
    """Where nobody listens to the ServerApp."""

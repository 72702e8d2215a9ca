"""A whole federation on one machine: a project from the spec, sites from their stores, one of three engines.

inprocess    the real apps on `InProcessGrid`: deterministic, no start-up, faults can be injected
deployment   SuperLink and SuperNodes as processes on loopback, TLS and node keys as in the field
ray          Flower's own simulation, for many GPUs or machines
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from client.home import Home
from client.ingest.quality import require_quality
from client.ledger import Ledger
from common.data.corpus import require_preparation
from common.errors import ConfigurationError, InputRefusedError, IntegrityError
from common.loading import loading
from common.project import MANIFEST, Project, create_project, open_project
from common.roster import Member, Roster, make_roster
from common.secagg.keys import identity_of
from common.spec.privacy import PatientPrivacySpec
from common.spec.run import Spec
from common.store import Store
from server.settings import Engine, RunSettings, refuse_another_run
from simulations.grid import Faults, InProcessGrid, log_to, site_workers
from simulations.local_grid import NodeConfig, hub_context
from simulations.workers import WorkerPool

DAYS_OF_ROSTER = 365
"""A run that is resumed later than that has to begin anew."""
LOG = "run.log"
"""What hospitals would find in their logs; in a run's folder, made when there is something to say."""


@dataclass(frozen=True)
class Federation:
    """Who takes part, with what, and where the run is written."""

    spec: Spec
    sites: Mapping[str, Path]
    """Site name -> its store."""
    bank: Path | None
    out: Path

    def prepare(self, *, resume: bool) -> Project:
        """Open every store before anything trains, and make the project, or find it again when resuming.

        Raises:
            InputRefusedError: a store is missing, holds images prepared otherwise or no training rows, or
                fails a threshold of `[data.quality]`.
            IntegrityError: a store was changed since ingest, or the project to resume is another one.
            ConfigurationError: names, bank or quorum do not fit the spec.
        """
        for name, folder in self.sites.items():
            store = Store(folder)
            store.verify()
            require_preparation(store, self.spec.preparation)
            if not len(store.rows("train")):
                raise InputRefusedError(
                    f"store {store.name} of site {name} has no training rows: ingest more studies"
                )
            require_quality(store, self.spec.data.quality)
        bank = None if self.bank is None else Store(self.bank)
        if bank is not None:
            bank.verify()
            require_preparation(bank, self.spec.preparation)
        if resume and (self.project_folder / MANIFEST).exists():
            return self._same_project(bank)
        return create_project(
            self.project_folder, self.spec, sites=list(self.sites), bank=bank, roster=self._consortium()
        )

    @property
    def project_folder(self) -> Path:
        """Where the project lies."""
        return self.out / "project"

    def node_configs(self) -> dict[str, NodeConfig]:
        """What each site's node is started with."""
        bank = "" if self.bank is None else str(self.bank.resolve())
        project = str(self.project_folder.resolve())
        nodes: dict[str, NodeConfig] = {}
        for name, store in self.sites.items():
            nodes[name] = {"site": name, "store": str(store.resolve()), "project": project, "bank": bank}
            if isinstance(self.spec.privacy, PatientPrivacySpec):
                nodes[name] = {**nodes[name], "ledger": str(self._ledger(name).resolve())}
            if self.spec.secure_aggregation.mode == "sa1":
                nodes[name] = {**nodes[name], "home": str(self._home(name).folder)}
        return nodes

    def open_ledgers(self) -> None:
        """Begin each hospital's privacy ledger with the spec's budget; one that is there stays."""
        privacy = self.spec.privacy
        for name in self.sites if isinstance(privacy, PatientPrivacySpec) else ():
            assert isinstance(privacy, PatientPrivacySpec)
            if not self._ledger(name).exists():
                Ledger.open_new(
                    self._ledger(name), population=name, epsilon=privacy.epsilon, delta=privacy.delta
                )

    def _ledger(self, site: str) -> Path:
        return self.out / "ledgers" / site

    def _home(self, site: str) -> Home:
        return Home(self.out.resolve() / "homes" / site)

    def _consortium(self) -> Roster | None:
        """With secure aggregation: an identity in every home, and a roster that all signed and approved."""
        secure, federation = self.spec.secure_aggregation, self.spec.federation
        if secure.mode == "off":
            return None
        now = datetime.now(UTC)
        keys = {name: self._home(name).identity(create=True) for name in sorted(self.sites)}
        members = [Member(name=name, identity=identity_of(key).hex()) for name, key in keys.items()]
        roster = make_roster(
            version=1,
            expires=now + timedelta(days=DAYS_OF_ROSTER),
            members=tuple(members),
            min_sites=secure.min_sites,
            weight_cap=federation.weight_cap,
            profiles=(federation.profile,),
        )
        for name, key in keys.items():
            roster = roster.signed_by(name, key)
        for name in keys:
            self._home(name).approve(roster, now=now)
        return roster

    def settings(self, *, engine: Engine, resume: bool) -> RunSettings:
        """What the hub is started with."""
        return RunSettings(
            project=self.project_folder.resolve(),
            out=self.out.resolve(),
            evaluation_stores={name: store.resolve() for name, store in sorted(self.sites.items())},
            resume=resume,
            engine=engine,
        )

    def _same_project(self, bank: Store | None) -> Project:
        project = open_project(self.project_folder)
        asked = (self.spec.digest(), tuple(sorted(self.sites)))
        if (project.manifest.spec_sha256, project.manifest.sites) != asked:
            raise IntegrityError(f"{self.out} holds a run of another spec or other sites; name another --out")
        if bank is not None and project.manifest.bank_sha256 not in (None, bank.digest()):
            raise IntegrityError(f"{self.out} holds a run with another public bank; name another --out")
        return project


def run_federation(
    federation: Federation,
    *,
    engine: Engine = "inprocess",
    resume: bool = False,
    workers: int | None = None,
    faults: Faults | None = None,
) -> None:
    """Run `federation` to the end; everything is written under its `out`.

    Args:
        federation: who, what, where.
        engine: see the module.
        resume: go on from the last checkpoint in `out`.
        workers: processes that train at the same time (in-process engine); None picks one per core.
        faults: injected failures (in-process engine).

    Raises:
        FederationError: as the stages say; `out` keeps the last good state.
    """
    settings = federation.settings(engine=engine, resume=resume)
    if not resume:
        refuse_another_run(settings)
    at_once = workers or default_workers(federation.spec, len(federation.sites))
    with site_workers(at_once if engine == "inprocess" else 1, log=federation.out / LOG) as pools:
        federation.prepare(resume=resume)  # while the workers come up
        federation.open_ledgers()
        ENGINES[engine](federation, settings, Local(pools, faults))


@dataclass(frozen=True)
class Local:
    """What only the in-process engine knows."""

    workers: Sequence[WorkerPool]
    faults: Faults | None


def default_workers(spec: Spec, sites: int) -> int:
    """As many sites at once as the cores can hold, each with the spec's threads."""
    return max(1, min(sites, (os.cpu_count() or 1) // spec.train.threads))


def _in_process(federation: Federation, settings: RunSettings, local: Local) -> None:
    with log_to(federation.out / LOG):
        grid = InProcessGrid(federation.node_configs(), workers=local.workers, faults=local.faults)
        with loading():  # while workers open the sites' stores
            from server.app import app as server_app
        server_app(grid, hub_context(settings.to_config()))


def _deployed(federation: Federation, settings: RunSettings, _: Local) -> None:
    from server.flower_app import app_folder
    from simulations.deployment.loopback import LoopbackDeployment

    folder = federation.out / "deployment"
    federation_limit = federation.spec.federation.rounds * (
        federation.spec.federation.reply_timeout_seconds + 600
    )
    with LoopbackDeployment(
        folder,
        app=app_folder(folder),
        sites=federation.node_configs(),
        threads=federation.spec.train.threads,
    ) as deployment:
        deployment.run(settings.to_config(), timeout_seconds=federation_limit, on_line=_pass_on_progress)


def _pass_on_progress(line: str) -> None:
    if ": rounds" in line or line.startswith("round"):
        print(line, flush=True)


def _ray(federation: Federation, settings: RunSettings, _: Local) -> None:
    try:
        with loading():
            from simulations.ray_engine import run_on_ray
    except ImportError:
        raise ConfigurationError("--engine ray needs Ray: pip install 'fedvlp[ray]'") from None
    run_on_ray(federation.node_configs(), settings.to_config(), threads=federation.spec.train.threads)


ENGINES: dict[Engine, Callable[[Federation, RunSettings, Local], None]] = {
    "inprocess": _in_process,
    "deployment": _deployed,
    "ray": _ray,
}

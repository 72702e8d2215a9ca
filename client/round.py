"""One hospital's part of a round, stage by stage: check, validate, train, quantise, answer.

Shapes: N coordinates of the model.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import torch

from client.approvals import Approvals, NodeConfig, project_of
from client.audit import AUDIT, Audit
from client.clock import SiteClock
from client.home import ROUNDS, Home
from client.ingest.quality import require_quality
from client.protection import Protection, Receipt, protect
from client.secagg import SecureRounds
from common.data.batch import Batch
from common.data.batches import Batches, fixed_batches
from common.data.corpus import read_corpus
from common.errors import ConfigurationError, InputRefusedError, IntegrityError, PolicyError
from common.messages import Answer, Instruction
from common.model.vlp import VLPModel
from common.project import Project, open_project
from common.store import Store
from common.training.losses import LossSums
from common.training.trainer import TrainingRecord, train, validate
from common.update import FIXED_POINT, Planes, Vector, pack, pack_sum, quantise, sum_names

log = logging.getLogger("fedvlp")

TRAINING, TRAINING_STATE = "training", "training-state.safetensors"
"""Folder in the site's home, and the file in it: see `train.save_every_steps`."""


@dataclass(frozen=True)
class Site:
    """A hospital with its approved project and its rows, ready to train."""

    name: str
    project: Project
    batches: Batches
    validation: list[Batch]
    train_rows: int
    protection: Protection | None = None
    """What `[privacy]` asks; None where it asks nothing."""
    secure_rounds: SecureRounds | None = None
    """Where the approved project has secure aggregation; an update then leaves in no other way."""
    state: Path | None = None
    """File that a killed round is gone on from; None where the site has no home to keep it in."""

    @property
    def weight(self) -> int:
        """How much this site counts in the mean; public bound, see FederationSpec."""
        federation = self.project.spec.federation
        if federation.weighting == "equal":
            return federation.weight_cap
        size = self.train_rows if self.protection is None else self.protection.size_class
        return min(size, federation.weight_cap)


def open_site(node: NodeConfig) -> Site:
    """The hospital that this node's own configuration describes; opened once per process.

    Args:
        node: `site` (name), `store` (folder), `bank` (folder; needed when the project has anchors), `ledger`
            (folder; needed under privacy), `home` (folder; what was approved there is obeyed), `project`
            (folder; only where no home has joined a consortium, as in simulation),
            `require-secure-aggregation` (true: no project without it).

    Raises:
        ConfigurationError: a setting is missing, or the project does not name this site.
        InputRefusedError: the store has no training pairs, images prepared otherwise, or fails a threshold of
            `[data.quality]`.
        IntegrityError: project, store or bank differ from their digests.
        PolicyError: the site asks for secure aggregation and the project has none, or its roster is not the
            approved one; or no project is approved, or it was revoked, or has expired.
    """
    missing = [key for key in ("site", "store") if not node.get(key)]
    if missing:
        raise ConfigurationError(
            f"node configuration lacks {', '.join(missing)}; set it with --node-config",
            outward="node configuration incomplete",
        )
    project = str(project_of(node, now=_now(node)))
    site = _open_site(
        str(node["site"]),
        str(node["store"]),
        project,
        *(str(node.get(key, "")) for key in ("bank", "ledger")),
    )
    if node.get("home"):
        site = replace(site, state=Path(str(node["home"])) / TRAINING / TRAINING_STATE)
    rounds = _secure_rounds(site.name, site.project, node)
    return site if rounds is None else replace(site, secure_rounds=rounds)


def _now(node: NodeConfig) -> datetime:
    """By this site's clock; one without a home, as in simulation, cannot tell whether it was set back."""
    return SiteClock(Path(str(node["home"]))).now() if node.get("home") else datetime.now(UTC)


def introduce(node: NodeConfig) -> dict[str, str | bytes]:
    """What this hospital tells a hub that asks: its name, and the project that it approved.

    A site of a consortium hands in its last statement, a revocation too; it opens no store for that.
    """
    home = Home(Path(str(node["home"]))) if node.get("home") else None
    if home is None or not home.joined:
        site = open_site(node)
        return {"site": site.name, "project": site.project.digest}
    return Approvals(home).introduction()


def _secure_rounds(name: str, project: Project, node: NodeConfig) -> SecureRounds | None:
    """What stands between an update and the hub; read anew each time, for an approval can be withdrawn."""
    if project.spec.secure_aggregation.mode == "off":
        if node.get("require-secure-aggregation"):
            raise PolicyError(
                f"this site asks for secure aggregation and project {project.manifest.name} has none",
                outward="this site takes part with secure aggregation only",
            )
        return None
    if not node.get("home"):
        raise ConfigurationError(
            "node configuration lacks home, where this site's identity lies; set it with --node-config",
            outward="node configuration incomplete",
        )
    home = Home(Path(str(node["home"])))
    member = home.member(name, project.roster, now=_now(node))
    return SecureRounds(
        member,
        home.folder / ROUNDS,
        home.sealing(),
        Audit(home.folder / AUDIT),
        threads=project.spec.train.threads,
    )


@cache
def _open_site(
    name: str, store_folder: str, project_folder: str, bank_folder: str, ledger_folder: str
) -> Site:
    project = _open_project(project_folder)
    if name not in project.manifest.sites:
        raise ConfigurationError(
            f"project {project.manifest.name} does not name site {name}; ask the operator",
            outward="site not in the project",
        )
    store = Store(Path(store_folder))
    store.verify()
    spec, preparation = project.spec, project.spec.preparation
    reading = project.reading
    private = read_corpus(store, "train", project.tokenizer, preparation=preparation, reading=reading)
    if not len(private):
        raise InputRefusedError(f"store {store.name} has no training rows", outward="no training rows")
    require_quality(store, spec.data.quality)
    bank = project.open_bank(Path(bank_folder) if bank_folder else None)
    anchors = (
        None
        if bank is None
        else read_corpus(bank, None, project.tokenizer, preparation=preparation, reading=reading)
    )
    held_out = read_corpus(store, "validation", project.tokenizer, preparation=preparation, reading=reading)
    batches = Batches(spec, project.tokenizer, private, anchors, name)
    _ = project.working_model  # made here, not in the first round
    return Site(
        name=name,
        project=project,
        batches=batches,
        validation=fixed_batches(spec, project.tokenizer, held_out, purpose=f"validation of {name}"),
        train_rows=len(private),
        protection=protect(name, project, store, batches, ledger_folder),
    )


@lru_cache(maxsize=1)
def _open_project(folder: str) -> Project:
    """Sites that share a process, as in simulation, share the project and its one model to work on."""
    return open_project(Path(folder))


def check_instruction(site: Site, instruction: Instruction) -> None:
    """Refuse anything but a piece of the approved project.

    Raises:
        IntegrityError: another project, a round it does not have, or a model that differs from its digest.
    """
    project = site.project
    if instruction.project != project.digest:
        raise IntegrityError(
            f"the hub runs project {instruction.project[:12]}, this site approved {project.digest[:12]}; "
            "fetch and approve the new one, or ask the operator",
            outward="project differs from the approved one",
        )
    if not 1 <= instruction.round <= project.spec.federation.rounds:
        raise IntegrityError(
            f"round {instruction.round} of {project.spec.federation.rounds} does not exist",
            outward="round out of range",
        )
    if len(instruction.weights) != project.layout.num_coordinates:
        raise IntegrityError("the model has another size than the project's", outward="model of another size")
    bounds = instruction.clips
    if len(bounds) != len(project.layout.names) or not (np.isfinite(bounds) & (bounds > 0)).all():
        raise IntegrityError("the clip table does not fit the model", outward="clip table does not fit")
    if project.layout.digest(instruction.weights) != instruction.model:
        raise IntegrityError("the model differs from its digest", outward="model differs from its digest")


@contextmanager
def charged(site: Site, instruction: Instruction) -> Iterator[Receipt]:
    """Nothing private is trained on outside this block, and under privacy it is paid for in advance.

    Raises:
        PolicyError: the privacy budget is used up; nothing was read and nothing leaves.
    """
    if site.protection is None:
        yield Receipt()
        return
    with site.protection.charged(instruction) as receipt:
        yield receipt


def receive_model(site: Site, instruction: Instruction) -> VLPModel:
    """The global model of this round; valid until the next round's is received in this process."""
    model = site.project.working_model
    weights = site.project.layout.unflatten(instruction.weights)
    model.load_exchanged({name: torch.from_numpy(array) for name, array in weights.items()})
    return model


def validate_model(site: Site, model: VLPModel) -> tuple[LossSums, float]:
    """The incoming model's losses on this hospital's validation patients, and the seconds it took.

    Under privacy nothing is measured: losses and times are functions of patients that no noise covers.
    """
    if site.protection is not None:
        return LossSums(), 0.0
    started = time.perf_counter()
    return validate(model, site.validation, site.project.spec), time.perf_counter() - started


def train_locally(site: Site, model: VLPModel, round_number: int) -> TrainingRecord:
    """Take this round's local steps; `model` is changed in place.

    Under privacy the record holds the number of steps, and of patients nothing but a noisy sum.
    """
    if site.protection is not None:
        return site.protection.train(model, round_number)
    spec = site.project.spec
    return train(
        model,
        site.batches,
        spec,
        first_step=(round_number - 1) * spec.train.local_steps,
        steps=spec.train.local_steps,
        total_steps=spec.federation.rounds * spec.train.local_steps,
        state=site.state,
    )


def whole_numbers(
    site: Site, instruction: Instruction, model: VLPModel, trained: TrainingRecord
) -> tuple[Planes, int]:
    """The site's part of the sum as packed integers, and how many coordinates were cut to make them fit.

    Under joint privacy that is the noisy sum as it is; how much of it was cut has no noise, and is not told.

    Raises:
        PolicyError: the update is not finite; nothing leaves.
    """
    project = site.project
    if trained.joint_sum is not None:
        return pack_sum(trained.joint_sum, project.profile), 0
    quantised, clipped = quantise(
        weighted_delta(site, instruction, model),
        instruction.clips,
        project.layout,
        project.profile,
        seed=project.spec.seed,
        site=site.name,
        round_number=instruction.round,
    )
    return pack(quantised, project.profile), clipped


def weighted_delta(site: Site, instruction: Instruction, model: VLPModel) -> Vector:
    """(N,) the site's share of the sum: (trained - received) times weight / weight_cap."""
    trained = {name: tensor.numpy() for name, tensor in model.exchanged().items()}
    delta = site.project.layout.flatten(trained)
    delta -= instruction.weights
    delta *= np.float32(site.weight / site.project.spec.federation.weight_cap)
    return delta


def answer(
    site: Site,
    instruction: Instruction,
    update: tuple[Planes, int],
    trained: TrainingRecord,
    validated: tuple[LossSums, float],
    receipt: Receipt,
) -> Answer:
    """Write down the sums that travel with the update."""
    project, (planes, clipped) = site.project, update
    validation, validation_seconds = validated
    lanes = {
        "weight": site.weight,
        "examples": trained.examples,
        "steps": trained.steps,
        "clipped": clipped,
        "training_microseconds": round(trained.seconds * 1e6),
        "validation_microseconds": round(validation_seconds * 1e6),
        **_loss_lanes("training", trained.losses),
        **_loss_lanes("validation", validation),
    }
    sums = [lanes.get(name, 0) for name in sum_names(project.spec.objectives.names)]
    return Answer(
        round=instruction.round,
        project=instruction.project,
        model=instruction.model,
        planes=planes,
        sums=np.array(sums, dtype=np.uint64),
        ledger=receipt.word,
    )


def _loss_lanes(moment: str, losses: LossSums) -> dict[str, int]:
    lanes = {f"{moment}/{name}/rows": rows for name, rows in losses.rows.items()}
    lanes |= {f"{moment}/{name}/loss": round(total * FIXED_POINT) for name, total in losses.totals.items()}
    return lanes

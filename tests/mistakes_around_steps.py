"""Known mistakes around the private step: who is counted, what leaves, what is charged, what is declared."""

import shutil
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal
from uuid import uuid4

import numpy as np
import pytest
import torch
from one_site import ask
from privacy_mistake import Mutant, bad
from privacy_samples import LOCAL, Seeded, open_population, private_spec, terms
from tiny import SITES, first_instruction, node_config
from torch import Tensor, nn

import client.app
import client.round
import server.ledgers
import simulations.planning
from client.ledger import Account, Charge, Ledger
from client.ledger import _require_budget as require_budget
from client.protection import Protection
from client.round import Site, open_site
from common.data.batch import Batch
from common.data.batches import Batches
from common.errors import ConfigurationError, IntegrityError
from common.messages import Answer, LedgerWord
from common.model.vlp import VLPModel
from common.privacy import accounting, step, training, units
from common.privacy.accounting import Steps
from common.privacy.entropy import Bits, Entropy
from common.privacy.lattice import LatticeSum
from common.privacy.mechanism import Terms
from common.privacy.sampling import sample_patients
from common.privacy.step import Covered, private_gradient, sum_units
from common.privacy.training import take_private_step, unit_losses
from common.privacy.units import Population
from common.project import Project, create_project, open_project
from common.spec import privacy as privacy_spec
from common.store import Store
from common.training.optimizer import build_optimizer
from common.training.trainer import TrainingRecord, validate
from common.update import sum_names
from server.ledgers import LedgerHeads, statement_of
from simulations.attacks.privacy import sensitivity
from simulations.attacks.privacy.canaries import gaussian_epsilon
from simulations.attacks.privacy.replay import replay_ledger


@dataclass(frozen=True)
class Hospital:
    """A tiny hospital that trains under privacy; everything is read only but `folder`."""

    project: Project
    stores: dict[str, Store]
    bank: Store
    folder: Path

    def ledger(self) -> Ledger:
        """A new one."""
        return Ledger.open_new(self.folder / uuid4().hex, population="east", epsilon=30.0, delta=1e-2)

    def node(self, ledger: Ledger) -> dict[str, str]:
        return node_config(self.project, self.stores, "east", self.bank) | {"ledger": str(ledger.folder)}

    def population(self) -> Population:
        return open_population(self.project, self.stores["east"], self.bank)


# --- alarms ------------------------------------------------------------------------------------------------

LOCAL_DELTA = float(str(LOCAL["delta"]))
PUBLIC = {"weight", "steps", "clipped"}
"""What an answer may tell beside the update; the count of clipped coordinates is made of noise."""


def payload_alarms(hospital: Hospital) -> bool:
    """Does an answer tell anything but noisy sums and public numbers?"""
    reply = ask(hospital.node(hospital.ledger()), first_instruction(hospital.project).to_records())
    if reply.has_error():  # the guard at the door noticed first; no other error will do
        assert "refused by the egress guard" in (reply.error.reason or ""), reply.error.reason
        return True
    answer = Answer.from_records(reply.content)
    names = sum_names(hospital.project.spec.objectives.names)
    told = {name for name, value in zip(names, answer.sums.tolist(), strict=True) if value}
    return not told <= PUBLIC or {*reply.content} != {"round", "update", "sums", "ledger"}


def coverage_alarms(hospital: Hospital) -> bool:
    """Does a tensor leave that no private step covers?"""
    model = open_project(hospital.project.folder).fresh_model()  # a project remembers its model's layout
    covered = {id(weight) for weight in Covered(model).parameters}
    parameters = dict(model.named_parameters())
    leaving = model.exchanged()
    return {id(parameters.get(name)) for name in leaving} != covered


def statistics_alarm(_: Hospital) -> bool:
    """Is a layer welcome that mixes patients?"""
    try:
        Covered(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)))
    except ConfigurationError:
        return False
    return True


def empty_step_alarms(hospital: Hospital) -> bool:
    """A step without anybody must move every weight by noise alone, of the declared width."""
    spec, population = private_spec(), hospital.population()
    nobody = replace(terms(spec), rate_numerator=1)
    model = hospital.project.fresh_model()
    losses = unit_losses(model, population.units(nobody, Seeded()), spec.train)
    covered = Covered(model)
    if sum_units(covered.parameters, losses).total.any():
        return True
    optimizer = build_optimizer(model, spec.train)
    take_private_step(model, covered, optimizer, population, nobody, spec.train, Entropy())
    gradients = [weight.grad for weight in model.parameters()]
    if any(gradient is None for gradient in gradients):
        return True
    noise = torch.cat([gradient.flatten() for gradient in gradients if gradient is not None]).double()
    width = noise.std().item() * nobody.denominator / (nobody.noise_multiplier * nobody.sensitivity)
    return abs(width - 1) * (2 * len(noise)) ** 0.5 > 6


def company_alarms(_: Hospital) -> bool:
    """Does one unit's share of the sum depend on the others?"""
    weight = nn.Parameter(torch.zeros(8))
    small, large = (lambda scale=scale: (weight * scale).sum() for scale in (0.01, 100.0))
    together, alone, other = (
        sum_units([weight], chosen).total for chosen in ([small, large], [small], [large])
    )
    return not torch.equal(together, alone + other)


def weight_alarms(hospital: Hospital) -> bool:
    """Does a site's weight follow from its store instead of its public size class?"""
    spec = private_spec(patients=dict.fromkeys(SITES, 5), federation__weighting="examples")
    project = create_project(hospital.folder / uuid4().hex, spec, sites=[*SITES], bank=hospital.bank)
    node = replace(hospital, project=project).node(hospital.ledger())
    return open_site(node).weight != 5


def ledger_alarms(_: Hospital) -> bool:
    """Do the raw lines of two projects, half of them aborted, say another epsilon than is stated?"""
    return bad(replay_ledger())


def late_charge_alarms(hospital: Hospital) -> bool:
    """Is the round not in the ledger while its patients are read?"""
    ledger = hospital.ledger()
    protection = open_site(hospital.node(ledger)).protection
    assert protection is not None
    with protection.charged(first_instruction(hospital.project)):
        return len(ledger.read().reserved) != 1


def rollback_alarms(hospital: Hospital) -> bool:
    """Does last month's copy of the ledger go on, though the hub remembers a later entry?"""
    ledger, copy = hospital.ledger(), hospital.folder / uuid4().hex
    shutil.copytree(ledger.folder, copy)
    protection = open_site(hospital.node(ledger)).protection
    assert protection is not None
    said = first_instruction(hospital.project)
    with protection.charged(said):
        pass
    restored = open_site(hospital.node(Ledger(copy))).protection
    assert restored is not None
    try:
        with restored.charged(replace(said, ledgers={"east": ledger.read().head})):
            return True
    except IntegrityError:
        return False


def accountant_alarms(_: Hospital) -> bool:
    """Is epsilon another than published for add-or-remove-one: 2.5839 (PLD) and 2.8665 (RDP)?"""
    accounting._curve.cache_clear()
    accounting._by_loss_distribution.cache_clear()
    spent = [Steps(int(0.01 * 2**32), 1.0, 2000)]
    try:
        found = accounting.epsilon_of(spent, 1e-5), accounting.reported_epsilon(spent, 1e-5)
    except Exception:  # an accountant that cannot do it is an alarm too
        return True
    finally:
        accounting._curve.cache_clear()
        accounting._by_loss_distribution.cache_clear()
    return not np.allclose(found, (2.8665, 2.5839), atol=2e-4)


def neighbours_alarm(_: Hospital) -> bool:
    """Two stores that differ in one person with thirty studies: how far are their sums apart?"""
    return bad(sensitivity.attack_model([("global_contrastive",)], seeds=1))


def provenance_alarms(_: Hospital) -> bool:
    """May a spec say that its settings were chosen on the patients themselves?"""
    with suppress(ValueError):
        privacy_spec.LocalPrivacySpec.model_validate(LOCAL | {"tuned_on": "private"})
        return True
    return False


def report_alarms(hospital: Hospital) -> bool:
    """Is any hospital's epsilon another than that of its own steps?"""
    heads = LedgerHeads(hospital.folder / uuid4().hex)
    heads._path.parent.mkdir()
    privacy, steps = terms(hospital.project.spec), {"east": 4, "north": 40}
    for site, count in steps.items():
        heads.remember(site, LedgerWord(head="a" * 64, steps=count))
    own = {
        site: accounting.reported_epsilon(
            [Steps(privacy.rate_numerator, privacy.noise_multiplier, count)], LOCAL_DELTA
        )
        for site, count in steps.items()
    }
    return any(heads.epsilon(site, hospital.project) != pytest.approx(own[site]) for site in steps)


def overlap_alarms(hospital: Hospital) -> bool:
    """Does a plan or a report hide what a patient of two hospitals loses?"""
    planned = simulations.planning.plan(
        mechanism="R",
        patients=1000,
        patients_per_step=100,
        group_size=1,
        rounds=2,
        local_steps=5,
        epsilon=3.0,
        delta=1e-5,
        hospitals=2,
    )
    stated = server.ledgers.statement_of(hospital.project)
    return (
        planned.epsilon_of_hospitals < 1.2 * planned.epsilon
        or stated is None
        or stated.hospitals_per_patient != LOCAL["hospitals_per_patient"]
    )


# --- mutants -----------------------------------------------------------------------------------------------


def replaced_one() -> SimpleNamespace:
    from dp_accounting import NeighboringRelation

    return SimpleNamespace(ADD_OR_REMOVE_ONE=NeighboringRelation.REPLACE_ONE)


def with_statistics(model: VLPModel) -> dict[str, Tensor]:
    return {**model.state_dict(), "statistics": torch.zeros(3)}


class Forgetful(Covered):
    """Leaves the last tensor out."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.parameters.pop()


def plain_gradient(
    parameters: list[Tensor], losses: Iterable[Callable[[], Tensor]], *_: object
) -> list[Tensor]:
    """Unclipped and without noise, as `p.grad` is beside a private optimiser."""
    total = [torch.zeros_like(weight) for weight in parameters]
    for loss in losses:
        value = loss()
        for place, part in zip(total, torch.autograd.grad(value, parameters, allow_unused=True), strict=True):
            place += 0 if part is None else part
    return total


def skipped(
    parameters: list[Tensor], losses: Iterable[Callable[[], Tensor]], terms_: Terms, bits: Bits
) -> list[Tensor]:
    came = [*losses]
    if not came:
        return [torch.zeros_like(weight) for weight in parameters]
    return private_gradient(parameters, came, terms_, bits)


def made_up(bits: object, patients: int, numerator: int) -> np.ndarray:
    drawn = sample_patients(bits, patients, numerator)
    return drawn if len(drawn) else np.array([0])


def adapting(add: Callable[..., Any]) -> Callable[..., Any]:
    """Clips to the mean length of the units so far."""

    def clipped(self: LatticeSum, gradients: list[Tensor | None]) -> None:
        seen = self.__dict__.setdefault("_seen", [])
        length = sum(float(each.norm()) ** 2 for each in gradients if each is not None) ** 0.5
        seen.append(length)
        share = min(1.0, sum(seen) / len(seen) / length)
        add(self, [None if each is None else each * share * 0.01 / length for each in gradients])

    return clipped


def counted(site: Site, model: VLPModel, round_number: int) -> TrainingRecord:
    return replace(client.round.train_locally(site, model, round_number), examples=site.train_rows)


def timed(site: Site, model: VLPModel, round_number: int) -> TrainingRecord:
    return replace(client.round.train_locally(site, model, round_number), seconds=0.25)


def judged(site: Site, model: VLPModel) -> object:
    return validate(model, site.validation, site.project.spec), 0.0


def textbook(spent: Iterable[Steps], delta: float, *, hospitals: int = 1) -> float:
    """The Gaussian mechanism's epsilon below 1, times the sampling rate, of the last step alone."""
    classic = np.sqrt(2 * np.log(1.25 / delta))
    last = [each.rate_numerator / 2**32 / each.noise_multiplier for each in spent][-1:]
    return float(classic * sum(last))


def central_limit(spent: Iterable[Steps], delta: float, *, hospitals: int = 1) -> float:
    """Gaussian differential privacy, as Opacus' GDPAccountant."""
    mu = 0.0
    for each in spent:
        rate = each.rate_numerator / 2**32
        mu += rate**2 * each.count * np.expm1(each.noise_multiplier**-2)
    return gaussian_epsilon(float(np.sqrt(mu)))


def last_only(self: Account, project: str | None = None) -> list[Steps]:
    return [line.charged for line in self.reserved if project in (None, line.project)][-1:]


def refunded(self: Account, project: str | None = None) -> list[Steps]:
    return [
        line.charged
        for number, line in zip(self.numbers, self.reserved, strict=True)
        if project in (None, line.project) and self.ended.get(number) != "ABORT"
    ]


def project_only(account: Account, charge: Charge) -> None:
    require_budget(replace(account, policy=account.policy.model_copy(update={"epsilon": 64.0})), charge)


class ChargedLate:
    """Writes the charge down when the work is done."""

    def __init__(self, instruction: object) -> None:
        pass

    def __enter__(self) -> object:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def trusting(reserve: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, charge, known_head="": reserve(self, charge)


def by_study(store: Store, batches: Batches) -> Population:
    rows = store.rows("train")
    studies = store.column("study")[rows]
    order = sorted({*studies})
    return Population(batches, tuple((np.flatnonzero(studies == study),) for study in order))


def normalised(unit: Callable[..., Any]) -> Callable[..., Any]:
    """Grey values over the mean of the site's own images."""

    def made(self: Batches, rows: np.ndarray, chance: torch.Generator) -> Batch:
        batch: Batch = unit(self, rows, chance)
        mean = float(self.private.images(np.arange(len(self.private))).mean())
        return replace(batch, images=batch.images * (100 / mean))

    return made


class Loose(privacy_spec.LocalPrivacySpec):
    """A spec that may be tuned on patients."""

    tuned_on: Literal["public", "phantom", "private"]


def summed_over_sites(self: LedgerHeads, site: str, project: Project) -> float:
    own = terms(project.spec)
    steps = sum(word.steps for word in self._words.values())
    return accounting.reported_epsilon([Steps(own.rate_numerator, own.noise_multiplier, steps)], LOCAL_DELTA)


def first_of_all(self: LedgerHeads, site: str, project: Project) -> float:
    own, word = terms(project.spec), next(iter(self._words.values()))
    return accounting.reported_epsilon(
        [Steps(own.rate_numerator, own.noise_multiplier, word.steps)], LOCAL_DELTA
    )


def in_one_hospital(spent: Iterable[Steps], delta: float, *, hospitals: int = 1) -> float:
    return accounting.epsilon_of(spent, delta)


def accounts_by(formula: Callable[..., Any]) -> Callable[..., Any]:
    def break_(m: pytest.MonkeyPatch) -> None:
        m.setattr("client.ledger.epsilon_of", formula)
        m.setattr("client.spending.epsilon_of", formula)

    return break_


def published_with_hospitals(project: Project) -> object:
    stated = statement_of(project)
    assert stated is not None
    return stated.model_copy(update={"hospitals_per_patient": 1})


def put(target: object, name: str, value: object) -> Callable[[pytest.MonkeyPatch], None]:
    """Put `value` in the place of an attribute."""
    return lambda m: m.setattr(target, name, value)


MUTANTS = [
    Mutant(
        5,
        "an accountant for replace-one",
        lambda m: m.setattr("dp_accounting.NeighboringRelation", replaced_one()),
        accountant_alarms,
    ),
    Mutant(6, "a buffer leaves", put(VLPModel, "exchanged", with_statistics), coverage_alarms),
    Mutant(6, "BatchNorm is welcome", put(step, "_NormBase", type("Nobody", (), {})), statistics_alarm),
    Mutant(
        8, "nobody came: the step is skipped", put(training, "private_gradient", skipped), empty_step_alarms
    ),
    Mutant(8, "nobody came: one is made up", put(units, "sample_patients", made_up), empty_step_alarms),
    Mutant(
        9,
        "clipping to the lengths of others",
        put(LatticeSum, "add", adapting(LatticeSum.add)),
        company_alarms,
    ),
    Mutant(
        12,
        "weights by the store",
        put(Protection, "size_class", property(lambda self: len(self.population))),
        weight_alarms,
    ),
    Mutant(13, "a textbook formula, without composition", accounts_by(textbook), ledger_alarms),
    Mutant(14, "rows are counted", put(client.app, "train_locally", counted), payload_alarms),
    Mutant(14, "losses are told", put(client.app, "validate_model", judged), payload_alarms),
    Mutant(
        15, "a tensor outside the step", put(sys.modules[__name__], "Covered", Forgetful), coverage_alarms
    ),
    Mutant(15, "plain gradients", put(training, "private_gradient", plain_gradient), empty_step_alarms),
    Mutant(16, "a new count after a restart", put(Account, "spent", last_only), ledger_alarms),
    Mutant(16, "aborted rounds are refunded", put(Account, "spent", refunded), ledger_alarms),
    Mutant(16, "charged when the work is done", put(Protection, "charged", ChargedLate), late_charge_alarms),
    Mutant(16, "an old copy is trusted", put(Ledger, "reserve", trusting(Ledger.reserve)), rollback_alarms),
    Mutant(17, "a central limit accountant", accounts_by(central_limit), ledger_alarms),
    Mutant(17, "the same, reported", put(accounting, "epsilon_of", central_limit), accountant_alarms),
    Mutant(18, "studies for patients", put(sensitivity, "population_of", by_study), neighbours_alarm),
    Mutant(19, "tuned on patients", put(privacy_spec, "LocalPrivacySpec", Loose), provenance_alarms),
    Mutant(
        19,
        "other runs cost nothing",
        lambda m: m.setattr("client.ledger._require_budget", project_only),
        ledger_alarms,
    ),
    Mutant(
        22, "epsilon summed over hospitals", put(LedgerHeads, "epsilon", summed_over_sites), report_alarms
    ),
    Mutant(22, "one epsilon for all", put(LedgerHeads, "epsilon", first_of_all), report_alarms),
    Mutant(
        24,
        "grey values over the mean of the site",
        put(Batches, "unit", normalised(Batches.unit)),
        neighbours_alarm,
    ),
    Mutant(
        26,
        "a plan for one hospital",
        put(simulations.planning, "epsilon_of", in_one_hospital),
        overlap_alarms,
    ),
    Mutant(
        26,
        "a report for one hospital",
        put(server.ledgers, "statement_of", published_with_hospitals),
        overlap_alarms,
    ),
    Mutant(28, "seconds are told", put(client.app, "train_locally", timed), payload_alarms),
]
ALARMS = list(dict.fromkeys(mutant.alarms for mutant in MUTANTS))

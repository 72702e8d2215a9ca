"""What a hospital adds to a round under privacy: the charge before, the private steps, the word after."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from torch import Tensor

from client.ledger import Charge, Ledger
from common.data.batches import Batches
from common.errors import ConfigurationError
from common.messages import Instruction, LedgerWord
from common.model.vlp import VLPModel
from common.privacy.gaussian import Integers
from common.privacy.joint import JointNoise, alone, joint_noise
from common.privacy.mechanism import Terms, terms_of
from common.privacy.training import sum_jointly, train_privately
from common.privacy.units import Population, population_of, require_patients
from common.project import Project
from common.spec.privacy import JointPrivacySpec, PatientPrivacySpec
from common.store import Store
from common.training.losses import LossSums
from common.training.trainer import TrainingRecord


@dataclass
class Receipt:
    """Of a round that was charged; `word` is what the hub may know of it."""

    word: LedgerWord | None = None


@dataclass(frozen=True)
class Protection:
    """A hospital's patients, the public terms on which they take part, and the ledger that is charged."""

    site: str
    project: Project
    privacy: PatientPrivacySpec
    population: Population
    ledger: Ledger
    terms: Terms = field(init=False)
    joint: JointNoise | None = field(init=False)
    """This site's share of the noise in mode D; None where its noise is whole."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", terms_of(self.privacy, self.site))
        object.__setattr__(self, "joint", _joint_noise(self.project))

    @property
    def size_class(self) -> int:
        """The public number of patients that stands for this site."""
        return self.privacy.patients[self.site]

    @contextmanager
    def charged(self, instruction: Instruction) -> Iterator[Receipt]:
        """Charge the round in full; what happens in the block decides only how the ledger says that it ended.

        Raises:
            PolicyError: it does not fit a budget, or there is no ledger; nothing was read and nothing spent.
            IntegrityError: the ledger is damaged, or older than the hub remembers.
        """
        reservation, _ = self.ledger.reserve(
            self._charge(instruction.round), known_head=instruction.ledgers.get(self.site, "")
        )
        receipt = Receipt()
        try:
            yield receipt
        except BaseException:
            self.ledger.end(reservation, "ABORT")
            raise
        head = self.ledger.end(reservation, "DONE")
        steps = sum(spent.count for spent in self.ledger.read().spent(self.project.digest))
        receipt.word = LedgerWord(head=head, steps=steps)

    def train(self, model: VLPModel, round_number: int) -> TrainingRecord:
        """Take this round's private steps; the record holds their number and nothing un-noised.

        `model` is changed in place, but for a joint step: its noisy sum is in the record.
        """
        spec = self.project.spec
        if self.joint is not None:
            sums = sum_jointly(model, self.population, self.terms, self.joint, spec.train)
            return TrainingRecord(1, 0, LossSums(), 0.0, self._flat(sums))
        train_privately(
            model,
            self.population,
            self.terms,
            spec,
            first_step=(round_number - 1) * spec.train.local_steps,
            steps=spec.train.local_steps,
            total_steps=spec.federation.rounds * spec.train.local_steps,
        )
        return TrainingRecord(spec.train.local_steps, 0, LossSums(), 0.0)

    def _flat(self, sums: Mapping[str, Tensor]) -> Integers:
        """(N,) in the model's order; zero where nothing is trained."""
        layout = self.project.layout
        sizes = dict(zip(layout.names, layout.sizes.tolist(), strict=True))
        return np.concatenate(
            [
                sums[name].numpy() if name in sums else np.zeros(size, dtype=np.int64)
                for name, size in sizes.items()
            ]
        )

    def _charge(self, round_number: int) -> Charge:
        return Charge(
            project=self.project.digest,
            name=self.project.manifest.name,
            round=round_number,
            mechanism=self.terms.mechanism,
            rate_numerator=self.terms.rate_numerator,
            noise_multiplier=self.terms.noise_multiplier,
            steps=self.project.spec.train.local_steps,
            epsilon=self.privacy.epsilon,
            delta=self.privacy.delta,
            noise_multiplier_alone=None
            if self.joint is None
            else alone(self.terms.noise_multiplier, self.joint),
        )


def _joint_noise(project: Project) -> JointNoise | None:
    if not isinstance(project.spec.privacy, JointPrivacySpec):
        return None
    return joint_noise(project.spec, len(project.manifest.sites))


def protect(name: str, project: Project, store: Store, batches: Batches, ledger: str) -> Protection | None:
    """What the project's `[privacy]` asks of this hospital; None where it asks nothing.

    Raises:
        ConfigurationError: there is no folder of a ledger, or no size class for this site.
        InputRefusedError: a training row has no patient.
        PolicyError: the size class or delta does not fit the patients, or there is no ledger.
    """
    privacy = project.spec.privacy
    if not isinstance(privacy, PatientPrivacySpec):
        return None
    if not ledger:
        raise ConfigurationError(
            "this project trains under privacy and the node configuration names no ledger: set ledger=FOLDER "
            "(`fedvlp-site ledger open` begins one)",
            outward="no privacy ledger",
        )
    population = population_of(store, batches)
    require_patients(population, privacy, name)
    opened = Ledger(Path(ledger))
    opened.read()
    return Protection(name, project, privacy, population, opened)

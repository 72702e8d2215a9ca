"""What the hub remembers of the hospitals' privacy ledgers: their heads, against a restored old copy.

OUT/ledgers.json   site -> digest of its ledger's last entry, and the steps charged to this project

A head says nothing about patients. A hospital whose ledger does not know the head that it once sent refuses.
"""

from pathlib import Path

from pydantic import RootModel

from common.files import write_whole
from common.messages import LedgerWord
from common.privacy.accounting import Steps, epsilon_of, reported_epsilon
from common.privacy.joint import alone, joint_noise, of_person
from common.project import Project
from common.spec.privacy import JointPrivacySpec, PatientPrivacySpec
from server.report.records import PrivacyStatement

FILE = "ledgers.json"


class LedgerHeads:
    """The last word of every hospital's ledger, kept in a run's folder."""

    def __init__(self, run: Path) -> None:
        self._path = run / FILE
        self._words: dict[str, LedgerWord] = {}
        if self._path.exists():
            self._words = RootModel[dict[str, LedgerWord]].model_validate_json(self._path.read_bytes()).root

    @property
    def heads(self) -> dict[str, str]:
        """Site -> digest."""
        return {site: word.head for site, word in self._words.items()}

    def remember(self, site: str, word: LedgerWord | None) -> None:
        """Keep what `site` said, at once."""
        if word is not None:
            self._words[site] = word
            write_whole(self._path, RootModel(self._words).model_dump_json(indent=2).encode() + b"\n")

    def epsilon(self, site: str, project: Project) -> float | None:
        """What the project spent of each patient of `site`, by its ledger; None without privacy."""
        privacy = project.spec.privacy
        if not isinstance(privacy, PatientPrivacySpec):
            return None
        return self._reported(site, privacy, privacy.noise_multiplier)

    def epsilon_alone(self, site: str, project: Project) -> float | None:
        """The same against the hub and all other sites together; None where no noise is joint."""
        privacy = project.spec.privacy
        if not isinstance(privacy, JointPrivacySpec):
            return None
        noise = joint_noise(project.spec, len(project.manifest.sites))
        return self._reported(site, privacy, alone(privacy.noise_multiplier, noise))

    def _reported(self, site: str, privacy: PatientPrivacySpec, noise_multiplier: float) -> float:
        word = self._words.get(site)
        steps = Steps(privacy.rate_numerator, noise_multiplier, 0 if word is None else word.steps)
        return reported_epsilon([steps], privacy.delta)


def statement_of(project: Project) -> PrivacyStatement | None:
    """What an epsilon of this project's report means; never quote one without it."""
    privacy = project.spec.privacy
    if not isinstance(privacy, PatientPrivacySpec):
        return None
    return PrivacyStatement(
        unit="one patient at one site, with all studies",
        relation="add or remove one patient",
        delta=privacy.delta,
        mechanism=privacy.mechanism,
        sampling=f"Poisson, each patient with probability {privacy.rate_numerator} / 2^32 in each step",
        noise_multiplier=privacy.noise_multiplier,
        accountant="privacy loss distribution (dp-accounting), over all charged steps of this project",
        scope="every update that left the site; losses, counts, norms and times were withheld",
        adversary="sees all updates and models, chooses the models sent, knows all other patients",
        assumption=_assumption(project),
        several_hospitals=_several_hospitals(project),
        hospitals_per_patient=privacy.hospitals_per_patient,
        tuned_on=privacy.tuned_on,
    )


def _assumption(project: Project) -> str | None:
    """What joint noise rests on; None where every hospital's noise is whole."""
    privacy, sites = project.spec.privacy, len(project.manifest.sites)
    if not isinstance(privacy, JointPrivacySpec):
        return None
    honest = joint_noise(project.spec, sites).honest_sites
    return (
        f"the noise is joint, the shares of {honest} hospitals make it whole: assumed is that secure "
        f"aggregation holds and that at most {privacy.colluding_sites} of the hospitals in a sum work with "
        "the hub; the epsilon alone needs neither"
    )


def _several_hospitals(project: Project) -> str | None:
    privacy = project.spec.privacy
    if not isinstance(privacy, JointPrivacySpec):
        return None
    most = privacy.hospitals_per_patient
    rounds = Steps(privacy.rate_numerator, privacy.noise_multiplier, project.spec.federation.rounds)
    epsilon = epsilon_of([of_person(rounds, most)], privacy.delta)
    return (
        f"declared: one person is at {most} at most, and all rounds together may cost epsilon {epsilon:.2f}"
    )

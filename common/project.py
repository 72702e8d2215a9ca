"""A project: what a hospital approves and obeys; spec, vocabulary, sites, the bank's digest in one folder.

project.json     names and SHA-256 digests of all the rest; its own digest names the project
spec.json        the canonical spec
tokenizer.json   the vocabulary, trained on public text or taken from the pretrained text tower
roster.json      with secure aggregation: the members and their signatures
ontology.json    the run's own ontology, if it has one
pretrained/      image/ and text/: what the run's pretrained towers need, if it has any;
                 initial/, teacher/ and reports/: the model that it starts from, its teacher, and the encoder
                 that compares reports
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from common.data.corpus import Reading, reading_of
from common.errors import ConfigurationError, IntegrityError
from common.files import sha256_of, write_whole
from common.model.adaptation import adapt
from common.model.initial import read_initial_vocabulary, start_from
from common.model.pretrained import PretrainedImage, PretrainedText, load_weights
from common.model.report_encoder import copy_encoder, read_encoder
from common.model.teacher import copy_model, read_teacher
from common.model.tower_folder import Architecture, copy_folder, read_vocabulary
from common.model.vlp import VLPModel, build_model
from common.privacy.approval import require_private
from common.regular_file import read_regular
from common.roster import Roster, read_roster
from common.spec.run import Spec
from common.store import Store
from common.text.ontology import Ontology, load_ontology
from common.text.ontology_files import read_ontology
from common.text.sections import training_text
from common.text.tokenizer import ReportTokenizer, train_tokenizer
from common.update import MAX_SITES, Layout, Profile, Vector, Weights, answer_bytes

MANIFEST, SPEC, TOKENIZER, ROSTER = "project.json", "spec.json", "tokenizer.json", "roster.json"
ONTOLOGY, PRETRAINED = "ontology.json", "pretrained"
INITIAL, TEACHER, REPORTS = "initial", "teacher", "reports"


class ProjectManifest(BaseModel):
    """What `project.json` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int
    name: str
    sites: tuple[str, ...]
    """Who may take part, sorted."""
    spec_sha256: str
    tokenizer_sha256: str
    roster_sha256: str | None = None
    """Digest of what the roster's members signed; None without secure aggregation."""
    bank_sha256: str | None
    """Digest of the public bank's store; None when the spec uses none."""
    ontology_sha256: str | None = None
    """Digest of ontology.json; None where the program's own serves."""
    pretrained_sha256: dict[str, str] = {}
    """File of pretrained/, such as image/config.json -> its digest."""


@dataclass(frozen=True)
class Project:
    """A project opened from its folder, digests checked."""

    folder: Path
    manifest: ProjectManifest
    spec: Spec
    tokenizer: ReportTokenizer
    digest: str
    """SHA-256 of project.json, hex: what is approved, and what every message must name."""

    def fresh_model(self) -> VLPModel:
        """The model with the weights every run of this project starts from."""
        model = build_model(self.spec, self.tokenizer.vocabulary_size, self.towers)
        for name in self.towers:
            tower = model.get_submodule(name)
            assert isinstance(tower, PretrainedImage | PretrainedText)
            load_weights(tower, self.folder / PRETRAINED / name)
        if self.spec.model.initial is not None:
            start_from(model, self.folder / PRETRAINED / INITIAL, self.spec)
        adapt(model, self.spec)
        if _teacher(self.spec) is not None:
            model.learn_from(self.teacher)
        vars(self).setdefault("layout", layout_of(model))  # whoever has a model needs no other one for that
        return model

    @cached_property
    def teacher(self) -> VLPModel:
        """The model that the run is taught by.

        Raises:
            ConfigurationError: it does not fit the project.
        """
        return read_teacher(self.folder / PRETRAINED / TEACHER, self.spec, self.tokenizer)

    @cached_property
    def reading(self) -> Reading:
        """What the run wants to know of the rows of a store.

        Raises:
            ConfigurationError: the encoder that compares reports cannot be built.
            IntegrityError: the ontology is another than the project's.
        """
        encoder = None
        if self.spec.data.report_encoder is not None:
            named = sorted(self.manifest.pretrained_sha256.items())
            files = "".join(f"{name} {digest}\n" for name, digest in named if name.startswith(f"{REPORTS}/"))
            encoder = read_encoder(self.folder / PRETRAINED / REPORTS, _sha256(files.encode()))
        return reading_of(self.spec, self.ontology, encoder)

    @cached_property
    def ontology(self) -> Ontology | None:
        """The run's own ontology; None where the program's serves.

        Raises:
            IntegrityError: it is another than the project's.
        """
        if self.manifest.ontology_sha256 is None:
            return None
        try:
            content = read_regular(self.folder / ONTOLOGY)
        except OSError:
            content = b""
        if _sha256(content) != self.manifest.ontology_sha256:
            raise IntegrityError(
                f"project {self.manifest.name}: {ONTOLOGY} differs from {MANIFEST}; fetch the project again",
                outward=f"{ONTOLOGY} differs from the project manifest",
            )
        return Ontology.model_validate_json(content)

    @cached_property
    def towers(self) -> dict[str, Architecture]:
        """The pretrained towers' architectures, by name."""
        return {
            name: Architecture.of_folder(self.folder / PRETRAINED / name) for name in _pretrained(self.spec)
        }

    @cached_property
    def working_model(self) -> VLPModel:
        """A model to load weights into, the same on every call: making one takes as long as some steps."""
        return self.fresh_model()

    @cached_property
    def layout(self) -> Layout:
        """Tensors of the model, in order."""
        return layout_of(self.fresh_model())

    @cached_property
    def roster(self) -> Roster:
        """The members, all signatures checked; a project with secure aggregation has one.

        Raises:
            IntegrityError: it is not the one that the project names, or lacks a signature.
        """
        roster = read_roster(self.folder / ROSTER)
        if roster.digest().hex() != self.manifest.roster_sha256 or roster.names != self.manifest.sites:
            raise IntegrityError(
                f"project {self.manifest.name}: {ROSTER} differs from {MANIFEST}; fetch the project again",
                outward=f"{ROSTER} differs from the project manifest",
            )
        roster.require_all_signatures()
        return roster

    def in_range(self, weights: Vector) -> Vector:
        """`weights` (N,) with every objective's parameters put back into range; moves the working model."""
        model = self.working_model
        model.load_exchanged(
            {name: torch.from_numpy(array) for name, array in self.layout.unflatten(weights).items()}
        )
        model.after_step()
        return self.layout.flatten(weights_of(model))

    @property
    def profile(self) -> Profile:
        """How an update is packed."""
        return Profile.named(self.spec.federation.profile, sites=len(self.manifest.sites))

    @property
    def answer_bytes(self) -> int:
        """Bytes that one hospital's answer carries."""
        return answer_bytes(self.layout.num_coordinates, self.spec.objectives.names, self.profile)

    def open_bank(self, folder: Path | None) -> Store | None:
        """The public bank, if the spec uses one.

        Raises:
            ConfigurationError: the spec needs a bank and `folder` is None.
            IntegrityError: `folder` holds another bank than the project's.
        """
        if self.manifest.bank_sha256 is None:
            return None
        if folder is None:
            raise ConfigurationError("this project uses a public bank: give its store")
        bank = Store(folder)
        bank.verify()
        if bank.digest() != self.manifest.bank_sha256:
            raise IntegrityError(
                f"store {bank.name} is not the public bank of project {self.manifest.name}; "
                "use the one that came with the project",
                outward="public bank differs from the project's",
            )
        return bank


def create_project(
    folder: Path, spec: Spec, *, sites: list[str], bank: Store | None, roster: Roster | None = None
) -> Project:
    """Train the vocabulary on public text and write the project to `folder`.

    Raises:
        ConfigurationError: the spec needs a bank or a roster and there is none, or sites are missing or too
            many, or are not those of the roster, or its privacy cannot be what it promises, or a tower,
            teacher or initial model that it names does not fit.
        IntegrityError: a member of the roster did not sign it.
    """
    _require_sites(spec, sites)
    _require_roster(spec, sites, roster)
    require_private(spec, sites)
    if spec.data.needs_bank and bank is None:
        raise ConfigurationError(
            f"the spec (data.anchor_pairs = {spec.data.anchor_pairs}, data.public_negatives = "
            f"{spec.data.public_negatives}) needs a public bank: give --bank STORE or set both to 0"
        )
    ontology = load_ontology() if spec.data.ontology is None else read_ontology(Path(spec.data.ontology))
    public = [] if bank is None else [training_text(sections) for sections in bank.sections()]
    copied = [
        file
        for name, path in _pretrained(spec).items()
        for file in copy_folder(Path(path), folder / PRETRAINED / name, text=name == "text")
    ]
    if spec.model.initial is not None:
        copied += copy_model(Path(spec.model.initial), folder / PRETRAINED / INITIAL, key="model.initial")
    taught = _teacher(spec)
    if taught is not None:
        copied += copy_model(
            Path(taught), folder / PRETRAINED / TEACHER, key="objectives.distillation.teacher"
        )
    if spec.data.report_encoder is not None:
        copied += copy_encoder(Path(spec.data.report_encoder), folder / PRETRAINED / REPORTS)
        read_encoder(folder / PRETRAINED / REPORTS, digest="")
    if spec.model.initial is not None:
        tokenizer = read_initial_vocabulary(folder / PRETRAINED / INITIAL)
    elif spec.model.text.pretrained is None:
        tokenizer = train_tokenizer(
            [*ontology.sentences(), *public], vocabulary_size=spec.model.text.vocabulary_size
        )
    else:
        tokenizer, _ = read_vocabulary(folder / PRETRAINED / "text")
    tokenizer.save(folder / TOKENIZER)
    write_whole(folder / SPEC, spec.canonical())
    if spec.data.ontology is not None:
        write_whole(folder / ONTOLOGY, ontology.model_dump_json().encode())
    manifest = ProjectManifest(
        format=1,
        name=spec.name,
        sites=tuple(sorted(sites)),
        spec_sha256=spec.digest(),
        tokenizer_sha256=_sha256((folder / TOKENIZER).read_bytes()),
        roster_sha256=None if roster is None else roster.digest().hex(),
        bank_sha256=bank.digest() if bank is not None and spec.data.needs_bank else None,
        ontology_sha256=None if spec.data.ontology is None else _sha256(ontology.model_dump_json().encode()),
        pretrained_sha256={str(file.relative_to(folder / PRETRAINED)): sha256_of(file) for file in copied},
    )
    if roster is not None:
        roster.save(folder / ROSTER)
    if taught is not None:
        read_teacher(folder / PRETRAINED / TEACHER, spec, tokenizer)
    if spec.model.initial is not None:
        towers = {name: Architecture.of_folder(folder / PRETRAINED / name) for name in _pretrained(spec)}
        start_from(build_model(spec, tokenizer.vocabulary_size, towers), folder / PRETRAINED / INITIAL, spec)
    write_whole(folder / MANIFEST, manifest.model_dump_json(indent=2).encode() + b"\n")
    return open_project(folder)


def open_project(folder: Path) -> Project:
    """Read `folder` and check every digest.

    Raises:
        ConfigurationError: `folder` is not a project.
        IntegrityError: a file differs from what project.json names.
    """
    try:
        manifest_bytes = read_regular(folder / MANIFEST)
        spec_bytes = read_regular(folder / SPEC)
        tokenizer_bytes = read_regular(folder / TOKENIZER)
        manifest = ProjectManifest.model_validate_json(manifest_bytes)
    except (OSError, ValidationError) as error:
        what = f" ({Path(error.filename).name}: {error.strerror})" if isinstance(error, OSError) else ""
        raise ConfigurationError(
            f"{folder} is not a project{what}; make one with `fedvlp-server project create`",
            outward="no valid project at this site",
        ) from None
    for name, content, expected in (
        (SPEC, spec_bytes, manifest.spec_sha256),
        (TOKENIZER, tokenizer_bytes, manifest.tokenizer_sha256),
    ):
        if _sha256(content) != expected:
            raise IntegrityError(
                f"project {manifest.name}: {name} differs from {MANIFEST}; fetch the project again",
                outward=f"{name} differs from the project manifest",
            )
    for name, expected in manifest.pretrained_sha256.items():
        file = folder / PRETRAINED / name
        if not file.is_file() or sha256_of(file) != expected:
            raise IntegrityError(
                f"project {manifest.name}: {PRETRAINED}/{name} differs from {MANIFEST}; fetch it again",
                outward=f"{PRETRAINED}/{name} differs from the project manifest",
            )
    return Project(
        folder=folder,
        manifest=manifest,
        spec=Spec.model_validate_json(spec_bytes),
        tokenizer=ReportTokenizer.load(folder / TOKENIZER),
        digest=_sha256(manifest_bytes),
    )


def layout_of(model: VLPModel) -> Layout:
    """Names and shapes of what `weights_of` gives, in that order."""
    exchanged = model.exchanged()
    return Layout(tuple(exchanged), tuple(tuple(tensor.shape) for tensor in exchanged.values()))


def weights_of(model: VLPModel) -> Weights:
    """Every exchanged tensor as float32, by name, in the model's order."""
    return {name: tensor.numpy().astype(np.float32, copy=True) for name, tensor in model.exchanged().items()}


def _require_roster(spec: Spec, sites: list[str], roster: Roster | None) -> None:
    """Whether the roster is one under which the spec can run."""
    if spec.secure_aggregation.mode == "off":
        if roster is not None:
            raise ConfigurationError("secure_aggregation.mode = 'off' has no use for a roster; leave it out")
        return
    if roster is None:
        raise ConfigurationError("secure_aggregation.mode = 'sa1' needs a roster that every site signed")
    roster.require_all_signatures()
    if list(roster.names) != sorted(sites):
        raise ConfigurationError("the sites are not those of the roster; name exactly its members")
    if spec.federation.weight_cap > roster.weight_cap:
        raise ConfigurationError(
            f"federation.weight_cap = {spec.federation.weight_cap}, the roster allows {roster.weight_cap}"
        )
    if spec.federation.profile not in roster.profiles:
        raise ConfigurationError(
            f"federation.profile = '{spec.federation.profile}', "
            f"the roster allows {', '.join(roster.profiles)}"
        )
    if spec.secure_aggregation.min_sites < roster.min_sites:
        raise ConfigurationError(
            f"secure_aggregation.min_sites = {spec.secure_aggregation.min_sites}, the roster asks for "
            f"{roster.min_sites}"
        )


def _pretrained(spec: Spec) -> dict[str, str]:
    """The towers that come from Hugging Face folders -> their paths."""
    paths = {"image": spec.model.image.pretrained, "text": spec.model.text.pretrained}
    return {name: path for name, path in paths.items() if path is not None}


def _teacher(spec: Spec) -> str | None:
    """Path of the model folder that the run is taught by."""
    return spec.objectives.distillation.teacher if spec.objectives.distillation is not None else None


def _require_sites(spec: Spec, sites: list[str]) -> None:
    if len(set(sites)) != len(sites):
        raise ConfigurationError("two sites have the same name; names must differ")
    if len(sites) < spec.federation.min_sites:
        raise ConfigurationError(
            f"{len(sites)} sites, but federation.min_sites = {spec.federation.min_sites}: name more sites"
        )
    if len(sites) > MAX_SITES:
        raise ConfigurationError(f"{len(sites)} sites; one federation holds at most {MAX_SITES}")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()

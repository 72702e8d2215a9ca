"""A project bundle in plain words, for the people who must approve it."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from common.bundle import BundleManifest
from common.bundle_folder import Bundle
from common.privacy.accounting import Steps, epsilon_of
from common.privacy.joint import alone, joint_noise
from common.project import Project
from common.spec.privacy import JointPrivacySpec, PatientPrivacySpec
from common.spec.secure_aggregation import SA1Spec

ABSENT = "none"


class Change(BaseModel):
    """A setting that differs from the version approved before."""

    model_config = ConfigDict(frozen=True)

    setting: str
    before: str
    now: str


class Explanation(BaseModel):
    """What a hospital agrees to."""

    model_config = ConfigDict(frozen=True)

    project: str
    version: int
    bundle: str
    """Digest: what is approved."""
    consortium: str
    operator: str
    site: str
    sites: tuple[str, ...]
    trained: str
    data: str
    duration: str
    expires: datetime
    leaves: tuple[str, ...]
    protection: tuple[str, ...]
    epsilon: float | None
    """What the project may spend of each patient here; None without privacy."""
    delta: float | None
    epsilon_alone: float | None
    """The same if the hub and all other hospitals work together; None where no noise is joint."""
    runs: dict[str, str]
    """Code, packages and image -> digest."""
    warnings: tuple[str, ...]
    compared_with: int | None
    """The version approved before; None if none ever was."""
    changes: tuple[Change, ...]


def explain(bundle: Bundle, *, site: str, before: Bundle | None) -> Explanation:
    """Say what `bundle` does at `site`, and what differs from the bundle approved there before."""
    manifest, project = bundle.manifest, bundle.project
    return Explanation(
        project=manifest.name,
        version=manifest.version,
        bundle=bundle.digest,
        consortium=manifest.consortium,
        operator=manifest.operator,
        site=site,
        sites=manifest.sites,
        trained=_trained(project),
        data=_data(project),
        duration=_duration(manifest, project),
        expires=manifest.expires,
        leaves=_leaves(project),
        protection=_protection(project),
        epsilon=manifest.epsilon.get(site),
        delta=manifest.delta,
        epsilon_alone=_epsilon_alone(project),
        runs={"code": manifest.fab, "packages": manifest.lock, "image": manifest.image or "not pinned"},
        warnings=_warnings(bundle, site),
        compared_with=None if before is None else before.manifest.version,
        changes=() if before is None else _changes(before, bundle),
    )


def _trained(project: Project) -> str:
    model = project.spec.model
    image = f"pretrained {model.image.encoder}" if model.image.pretrained else model.image.encoder
    text = "pretrained text tower" if model.text.pretrained else "text transformer"
    names = ", ".join(name.replace("_", " ") for name in project.spec.objectives.names)
    return (
        f"one model of images and reports ({image} and {text}, {project.layout.num_coordinates:,} exchanged "
        f"parameters), by {names}"
    )


def _data(project: Project) -> str:
    spec = project.spec
    pairs = f"images of {spec.model.image_size} x {spec.model.image_size} pixels and their reports"
    bank = ""
    if project.manifest.bank_sha256:
        bank = "; beside the public bank, the same at every site"
    return f"the training part of this hospital's store: {pairs}, as ingested and de-identified here{bank}"


def _duration(manifest: BundleManifest, project: Project) -> str:
    spec, privacy = project.spec, project.spec.privacy
    seen = f"with {spec.data.batch_size} rows each"
    if isinstance(privacy, PatientPrivacySpec):
        seen = f"in which every patient takes part with a chance of {privacy.sampling_rate:.3g}"
    return (
        f"{manifest.rounds} rounds of {spec.train.local_steps} steps {seen}, until "
        f"{manifest.expires:%Y-%m-%d %H:%M} UTC at the latest"
    )


def _leaves(project: Project) -> tuple[str, ...]:
    spec, bits = project.spec, 8 * (3 if project.spec.federation.profile == "wide" else 2)
    masked = isinstance(spec.secure_aggregation, SA1Spec)
    size = project.answer_bytes / 1e6
    hidden = ", masked so that the hub reads the sum over hospitals and nothing of one" if masked else ""
    sums = "counts and summed losses of the round"
    if isinstance(spec.privacy, PatientPrivacySpec):
        sums = "the public size class of this site; counts, losses and times are withheld"
    lines = [
        f"each round the change of the model: {project.layout.num_coordinates:,} integers of {bits} bits, "
        f"{size:,.2f} MB{hidden}",
        f"{sums}{hidden if masked else ''}",
        "this hospital's name, the digests of project and model, the round's number",
    ]
    if isinstance(spec.privacy, PatientPrivacySpec):
        lines.append("the digest of the privacy ledger's last line and the number of steps charged")
    if masked:
        lines.append("keys, sealed shares and signatures of the round")
    lines.append("when something fails: one fixed line, or the kind of error and a reference to the log here")
    return (*lines, "never: images, reports, labels, names of patients, file paths")


def _protection(project: Project) -> tuple[str, ...]:
    spec = project.spec
    lines = []
    if isinstance(spec.secure_aggregation, SA1Spec):
        lines.append(
            f"secure aggregation: sums over at least {spec.secure_aggregation.min_sites} hospitals can be "
            "read, one hospital's update cannot"
        )
    if isinstance(spec.privacy, PatientPrivacySpec):
        privacy = spec.privacy
        lines.append(
            f"differential privacy of every patient here (add or remove one): epsilon {privacy.epsilon:g} at "
            f"delta {privacy.delta:g} over all rounds, mechanism {privacy.mechanism}, noise multiplier "
            f"{privacy.noise_multiplier:g}; charged to this hospital's ledger before anything is read"
        )
    if isinstance(spec.privacy, JointPrivacySpec):
        honest = joint_noise(spec, len(project.manifest.sites)).honest_sites
        lines.append(
            f"that noise is joint: {honest} hospitals make it together, and this one signs for no sum over "
            f"fewer than {honest + spec.privacy.colluding_sites}; it is enough as long as secure aggregation "
            f"holds and no more than {spec.privacy.colluding_sites} of them work with the hub"
        )
    lines.append("TLS to the hub of the kit")
    lines.append("FedVLP's app takes settings and sites from this bundle alone, and refuses other projects")
    lines.append(
        "the gate of `fedvlp-site start` runs this code and no other, and lets out no record, tensor or word "
        "but those above; the audit log has a line for each"
    )
    return tuple(lines)


def _epsilon_alone(project: Project) -> float | None:
    privacy = project.spec.privacy
    if not isinstance(privacy, JointPrivacySpec):
        return None
    noise = joint_noise(project.spec, len(project.manifest.sites))
    left = alone(privacy.noise_multiplier, noise)
    return epsilon_of([Steps(privacy.rate_numerator, left, project.spec.federation.rounds)], privacy.delta)


def _warnings(bundle: Bundle, site: str) -> tuple[str, ...]:
    spec, lines = bundle.project.spec, []
    if site not in bundle.manifest.sites:
        lines.append(f"it does not name {site}; it cannot be approved here")
    if not isinstance(spec.secure_aggregation, SA1Spec):
        lines.append("without secure aggregation the hub sees this hospital's own update")
    if not isinstance(spec.privacy, PatientPrivacySpec):
        lines.append("without differential privacy an update or the model may reveal a patient's data")
    apart = _epsilon_alone(bundle.project)
    if apart is not None:
        lines.append(
            f"if the hub and all other hospitals work together, epsilon of each patient here is {apart:.2f}"
        )
    if bundle.manifest.image is None:
        lines.append("the container image is not pinned")
    if spec.train.starts_programs:
        lines.append(
            "training starts programs of its own (train.compile, train.processes); `fedvlp-site start` says "
            "whether this system can keep them off the network"
        )
    return tuple(lines)


def _changes(before: Bundle, now: Bundle) -> tuple[Change, ...]:
    old, new = _settings(before), _settings(now)
    return tuple(
        Change(setting=key, before=old.get(key, ABSENT), now=new.get(key, ABSENT))
        for key in sorted(old.keys() | new.keys())
        if old.get(key, ABSENT) != new.get(key, ABSENT)
    )


def _settings(bundle: Bundle) -> dict[str, str]:
    """Dotted key -> value, of the spec and of what else the bundle pins."""
    manifest = bundle.manifest
    pinned = ("sites", "fab", "lock", "image", "roster", "bank", "expires")
    said = {f"bundle.{key}": manifest.model_dump(mode="json")[key] for key in pinned}
    return _flat("", bundle.project.spec.model_dump(mode="json")) | _flat("", said)


def _flat(prefix: str, value: object) -> dict[str, str]:
    if isinstance(value, dict):
        flat: dict[str, str] = {}
        for key, inner in value.items():
            flat |= _flat(f"{prefix}.{key}" if prefix else str(key), inner)
        return flat
    return {prefix: ABSENT if value is None else str(value)}

"""What secure aggregation costs, beside Flower's own SecAgg+, and how exact its mean is.

CPU seconds of one thread, both sides in one process on the same vector; memory in a fresh process.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.messages import planes_from_record, planes_to_record
from common.secagg.hub import Advertising
from common.secagg.keys import Secret, identity_of
from common.secagg.site import Member, advertise, consent, mask, reveal, share
from common.secagg.terms import Terms
from common.update import (
    Layout,
    Planes,
    Profile,
    ProfileName,
    Vector,
    add_packed,
    mean_update,
    pack,
    quantise,
)
from simulations.benchmarks.fresh import run_fresh
from simulations.benchmarks.secagg_flower import Peer, measure_flower

LANES = 10
SPREAD = 1e-3
"""Scale of a made update; its tails are heavy, like those of a real one."""
CLIP_OVER_RMS = 100
PROGRAM = "from simulations.benchmarks.secagg_process import main; main()"


@dataclass(frozen=True)
class Case:
    """One size of model and of federation, ours and Flower's."""

    parameters: int
    sites: int
    client_seconds: float
    hub_seconds: float
    bytes_per_parameter: float
    flower: Peer

    @property
    def ratio_client(self) -> float:
        """Flower's CPU seconds of a site over ours."""
        return self.flower.client_seconds / self.client_seconds

    @property
    def ratio_hub(self) -> float:
        """Flower's CPU seconds of the hub over ours."""
        return self.flower.hub_seconds / self.hub_seconds

    @property
    def name(self) -> str:
        """As it stands in the JSON's keys."""
        return f"{self.parameters / 1e6:g}m_{self.sites}_sites"


@dataclass(frozen=True)
class SecureAggregationCost:
    """All that the benchmark finds."""

    profile: ProfileName
    cases: tuple[Case, ...]
    masking_growth_bytes: int
    """Growth of the resident set while `masking_parameters` are masked."""
    masking_parameters: int
    relative_error: float
    """L2 norm of (mean by 16-bit integers - mean in float64) over that of the mean, on a real update."""

    def to_json(self) -> dict[str, object]:
        """As `--json` prints it."""
        found: dict[str, object] = {"benchmark": "secagg", "profile": self.profile}
        for case in self.cases:
            found |= {
                f"ratio_client_cpu_{case.name}": case.ratio_client,
                f"ratio_hub_cpu_{case.name}": case.ratio_hub,
                f"client_cpu_seconds_{case.name}": case.client_seconds,
                f"hub_cpu_seconds_{case.name}": case.hub_seconds,
                f"flower_client_cpu_seconds_{case.name}": case.flower.client_seconds,
                f"flower_hub_cpu_seconds_{case.name}": case.flower.hub_seconds,
            }
        return found | {
            "bytes_per_parameter": self.cases[0].bytes_per_parameter,
            "flower_bytes_per_parameter": self.cases[0].flower.bytes_per_parameter,
            "masking_parameters": self.masking_parameters,
            "masking_growth_bytes": self.masking_growth_bytes,
            "relative_l2_error": self.relative_error,
        }


def measure_secure_aggregation(
    *,
    parameters: Sequence[int],
    site_counts: Sequence[int],
    profile: ProfileName,
    masking_parameters: int = 50_000_000,
    on_stage: Callable[[str], None] = lambda _: None,
) -> SecureAggregationCost:
    """Run every case, the memory of masking and the error of the mean.

    Args:
        parameters: sizes of the model.
        site_counts: sizes of the federation, at least 3.
        profile: of our words; Flower has one.
        masking_parameters: size of the model whose masking is watched for memory.
        on_stage: told what is about to run.
    """
    cases = []
    for size in parameters:
        update = (np.random.default_rng(0).standard_t(4, size) * SPREAD).astype(np.float32)
        for sites in site_counts:
            on_stage(f"{size / 1e6:g}M parameters, {sites} sites")
            cases.append(_measure(update, sites, profile))
    on_stage(f"memory of masking {masking_parameters / 1e6:g}M parameters")
    growth = _masking_growth(masking_parameters, profile)
    on_stage("error of the mean on a real update")
    from simulations.benchmarks.real_update import relative_error

    return SecureAggregationCost(profile, tuple(cases), growth, masking_parameters, relative_error(profile))


def _measure(update: Vector, sites: int, name: ProfileName) -> Case:
    """A whole round of ours in which all sites have the same update, then Flower's."""
    profile = Profile.named(name, sites=sites)
    layout = Layout(("model",), ((len(update),),))
    clips = np.array([CLIP_OVER_RMS * np.sqrt(np.mean(np.square(update)))], np.float32)

    started = time.process_time()
    quantised, _ = quantise(update, clips, layout, profile, seed=0, site="site", round_number=1)
    packed = pack(quantised, profile)
    quantising = time.process_time() - started

    seconds = _Round(packed, sites, profile, clips, layout).play()
    return Case(
        parameters=len(update),
        sites=sites,
        client_seconds=quantising + seconds["site"] / sites,
        hub_seconds=seconds["hub"],
        bytes_per_parameter=packed.nbytes / len(packed),
        flower=measure_flower(update, sites=sites),
    )


class _Round:
    """Every transition of every party, timed by party."""

    def __init__(self, packed: Planes, sites: int, profile: Profile, clips: Vector, layout: Layout) -> None:
        keys = {place: Secret(bytes([place + 1]) * 32) for place in range(sites)}
        identities = {place: identity_of(key) for place, key in keys.items()}
        self.members = {place: Member(place, key, identities) for place, key in keys.items()}
        self.packed, self.clips, self.layout = packed, clips, layout
        self.terms = Terms(
            run=bytes(32),
            round=1,
            attempt=1,
            roster=bytes(32),
            model=bytes(32),
            bounds=bytes(32),
            coordinates=len(packed),
            lanes=LANES,
            word_bits=profile.word_bits,
            levels=profile.levels,
            min_sites=3,
        )
        self.seconds = {"site": 0.0, "hub": 0.0}

    def play(self) -> dict[str, float]:
        """CPU seconds of all sites and of the hub; the sum is checked."""
        profile = self.terms.profile
        with self._clock("site"):
            opened = {place: advertise(member, self.terms) for place, member in self.members.items()}
        with self._clock("hub"):
            advertising = Advertising(self.terms, self.members[0].identities)
            for place, (_, advert) in opened.items():
                advertising.take(place, advert)
            sharing = advertising.close()
        with self._clock("site"):
            shared = {
                place: share(member, opened[place][0], advertising.adverts)
                for place, member in self.members.items()
            }
        with self._clock("hub"):
            for place, (_, sealed) in shared.items():
                sharing.take(place, sealed)
            summing = sharing.close()
        masked = {}
        for place, member in self.members.items():
            planes = Planes(self.packed.low.copy(), _copy(self.packed.high))
            lanes = np.ones(LANES, np.uint64)
            with self._clock("site"):
                stage = shared[place][0]
                masked[place] = mask(member, stage, sharing.for_site(place), planes, lanes)
                record = planes_to_record(planes)
            with self._clock("hub"):
                summing.take(place, planes_from_record(record), lanes)
        with self._clock("hub"):
            consenting = summing.close()
        with self._clock("site"):
            consented = {
                place: consent(member, masked[place], consenting.survivors)
                for place, member in self.members.items()
            }
        with self._clock("hub"):
            for place, (_, signature) in consented.items():
                consenting.take(place, signature)
            unmasking = consenting.close()
        with self._clock("site"):
            revealed = {
                place: reveal(member, consented[place][0], consenting.signatures)
                for place, member in self.members.items()
            }
        with self._clock("hub"):
            for place, shares in revealed.items():
                unmasking.take(place, shares)
            total, lanes = unmasking.close()
            mean_update(total, self.clips, self.layout, profile, weight=float(len(self.members)))
        expected = profile.zeros(len(self.packed))
        for _ in self.members:
            add_packed(expected, self.packed, profile)
        assert np.array_equal(total.integers(), expected.integers())
        assert lanes.tolist() == [len(self.members)] * LANES
        return self.seconds

    @contextmanager
    def _clock(self, party: str) -> Iterator[None]:
        started = time.process_time()
        yield
        self.seconds[party] += time.process_time() - started


def _copy(plane: npt.NDArray[np.uint8] | None) -> npt.NDArray[np.uint8] | None:
    return None if plane is None else plane.copy()


def _masking_growth(parameters: int, profile: ProfileName) -> int:
    with tempfile.TemporaryDirectory(prefix="fedvlp-bench-") as name:
        result = Path(name) / "growth.json"
        run_fresh(PROGRAM, [str(parameters), profile, str(result)], log=Path(name) / "masking.log")
        return int(json.loads(result.read_text())["growth"])

"""Joint noise in a whole federation: one noisy sum a round, both epsilons stated, no sum over too few."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord, RecordDict
from privacy_samples import FOUR, joint_spec
from secure_samples import Place, Weak
from tiny import tiny_store
from torch import nn

from client.egress import Egress
from client.ledger import Ledger
from client.spending import page_of, spending_of
from common.errors import PeerError, PolicyError
from common.messages import CONSENT, INPUT, SHARE, TRAIN, planes_to_record
from common.privacy import training
from common.privacy.accounting import Steps, epsilon_of, reported_epsilon
from common.privacy.entropy import Entropy
from common.privacy.joint import joint_noise, noisy_sum
from common.secagg.hub import Consenting, Summing
from common.training.optimizer import learning_rate_at
from common.update import pack_sum
from server.report.page import write_report
from server.report.records import read_run
from simulations.federation import Federation, run_federation

STEPS = Steps(2**31, 1.0, 2)
ALONE = Steps(2**31, 1 / math.sqrt(3), 2)
"""What one of the three honest shares is worth."""
DELTA = 1e-2


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("four")
    return {site: tiny_store(folder / site, seed=number).folder for number, site in enumerate(FOUR)}


@pytest.fixture
def place(tmp_path: Path, four: dict[str, Path]) -> Place:
    made = Place(tmp_path / "run", four, joint_spec())
    made.federation.open_ledgers()
    return made


def ledger_of(federation: Federation, site: str) -> Ledger:
    return Ledger(federation.out / "ledgers" / site)


@pytest.mark.slow
def test_a_joint_run_states_what_holds_together_and_what_holds_alone(
    tmp_path: Path, four: dict[str, Path]
) -> None:
    federation = Federation(joint_spec(), four, None, tmp_path / "run")
    run_federation(federation, workers=1)
    run = read_run(federation.out)
    together, alone = reported_epsilon([STEPS], DELTA), reported_epsilon([ALONE], DELTA)
    assert alone > 1.4 * together
    assert [(site.epsilon, site.epsilon_alone) for site in run.sites] == [
        (pytest.approx(together), pytest.approx(alone))
    ] * 4
    assert run.privacy is not None
    assert "the shares of 3 hospitals make it whole" in str(run.privacy.assumption)
    assert "one person is at 2 at most" in str(run.privacy.several_hospitals)
    write_report(federation.out)
    page = (federation.out / "report.html").read_text()
    assert "if all others collude" in page
    assert "at most 1 of the hospitals in a sum work with the hub" in page
    for site in FOUR:
        account = ledger_of(federation, site).read()
        assert set(account.ended.values()) == {"DONE"}
        assert [line.noise_multiplier_alone for line in account.reserved] == [pytest.approx(3**-0.5)] * 2
        spending = spending_of(account)
        assert spending.epsilon_spent == pytest.approx(epsilon_of([STEPS], DELTA))
        assert spending.epsilon_alone == pytest.approx(epsilon_of([ALONE], DELTA))
        said = f"epsilon {spending.epsilon_alone:.2f} if the hub and all other hospitals work together"
        assert said in page_of(spending)
    rounds = [json.loads(line) for line in (federation.out / "rounds.jsonl").read_text().splitlines()]
    assert [line["clipped_share"] for line in rounds] == [0.0, 0.0]  # what was cut has no noise
    assert all(not line["cohort"]["losses"] and not line["cohort"]["examples"] for line in rounds)


def test_the_model_moves_by_the_mean_of_the_noisy_gradients(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that the hub learns is the sum of what the sites sent, over the units they nominally sample."""
    sums = []
    noisy = training.noisy_sum

    def remembered(*arguments: object) -> object:
        sums.append(noisy(*arguments))  # type: ignore[arg-type]  # passed on as it came
        return sums[-1]

    monkeypatch.setattr(training, "noisy_sum", remembered)
    collected, _ = place.collect()
    noise = joint_noise(place.federation.spec, 4)
    exact = np.sum([each.numpy() for each in sums], axis=0)
    # Six patients a site, half of them sampled, in groups of two: two groups a site, eight in all.
    expected = -exact / (noise.grid * 8)
    assert len(sums) == 4
    assert np.abs(collected.sum.mean - expected).max() < 1e-6
    width = math.sqrt(4) * noise.scale / (noise.grid * 8)
    assert collected.sum.mean.std() > width * (1 - 6 / math.sqrt(2 * len(expected)))


def test_the_hub_takes_the_step_at_the_pace_of_training_and_within_every_range(place: Place) -> None:
    """Round one of two is at the top of the cosine; a temperature stays where its objective keeps it."""
    state, layout = place.state, place.project.layout
    before, bounds = state.weights.copy(), state.clips.copy()
    state.advance(np.full(len(before), 5e3, np.float32), place.project)
    pace = learning_rate_at(0, 2, place.federation.spec.train)
    moved = layout.unflatten(state.weights - before)
    scale = layout.unflatten(state.weights)["objectives.global_contrastive.log_scale"]
    assert 5e3 * pace > math.log(100) == pytest.approx(float(scale[0]))
    assert np.allclose(moved["image_projection.weight"], 5e3 * pace, rtol=1e-5)
    assert (state.clips == bounds).all()
    assert state.round == 1


def test_what_a_hospital_sends_is_masked_and_tells_nothing_beside(place: Place) -> None:
    collected, app = place.collect()
    sent = [(site, kind, reply) for site, kind, reply in app.replies if kind in (TRAIN, INPUT)]
    assert len(sent) == 8
    for _, kind, reply in sent:
        assert {*reply} == ({"round", "ledger"} if kind == TRAIN else {"round", "update", "sums"})
    told = {name for name, value in collected.sum.lanes.items() if value}
    assert told == {"weight", "steps"}


def test_the_guard_lets_no_share_out_that_is_not_masked(place: Place) -> None:
    """A hospital's own noisy sum keeps the fallback's promise alone; not even that may leave in the clear."""
    _, app = place.collect()
    replies = {kind: reply for site, kind, reply in app.replies if site == "east"}
    guard = Egress("east", place.project, place.federation.out / "ledgers" / "east")
    said = ConfigRecord({"round": 1, "attempt": replies[INPUT]["round"]["attempt"]})
    asked = RecordDict({"round": said})
    guard.require(INPUT, asked, replies[INPUT])
    guard.require(TRAIN, asked, replies[TRAIN])
    noise = joint_noise(place.project.spec, 4)
    share = noisy_sum([nn.Parameter(torch.zeros(place.project.layout.num_coordinates))], [], noise, Entropy())
    update = planes_to_record(pack_sum(share.numpy(), place.project.profile))
    for stage in (TRAIN, INPUT):
        with pytest.raises(PolicyError):
            guard.require(stage, asked, RecordDict({**replies[stage], "update": update}))


def test_a_sum_with_fewer_shares_than_planned_is_never_read(place: Place) -> None:
    """Three of four would do for the secrets, but then a third of the noise would be missing."""
    with pytest.raises(PeerError, match="a sum over 3 sites, at least 4 are agreed"):
        place.collect({"west": INPUT})
    for site in FOUR[:3]:
        assert len(ledger_of(place.federation, site).read().reserved) == 1, "charged all the same"
    collected, _ = place.collect({"west": CONSENT})  # too late: its share is in the sum
    assert collected.contributors == 4


def test_no_hospital_signs_for_too_few_whatever_the_hub_says(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hub that does not check gets three refusals, and not one share of a secret."""

    def careless(self: Summing) -> Consenting:
        return Consenting(self, tuple(sorted(self.added)))

    monkeypatch.setattr(Summing, "close", careless)
    app = Weak({"west": INPUT}, [])
    with pytest.raises(PeerError, match="east: AbortError: cohort-too-small; north"):
        place.collect_from(app)
    assert {kind for _, kind, _ in app.replies} == {TRAIN, SHARE, INPUT}

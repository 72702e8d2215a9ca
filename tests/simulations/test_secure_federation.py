"""The real apps with secure aggregation: the same weights as without, whoever drops out, nothing beside."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, Context, Message, RecordDict
from numpy.testing import assert_array_equal
from safetensors.numpy import load_file
from secure_samples import SITES, STAGES, Place, Weak
from secure_samples import secure_spec as spec
from tiny import tiny_store

from client import app as client_app
from client.audit import AUDIT, Audit
from client.audit_line import Line
from client.secagg import DATABASE, STAGE, UPDATE
from common.errors import PeerError
from common.messages import CONSENT, HELLO, INPUT, REVEAL, SHARE, TRAIN, Step, planes_from_record
from common.model.vlp import VOCABULARY_ROWS
from common.project import open_project
from common.spec.run import Spec
from common.update import Planes, Vector
from server.attempts import Attempts
from server.checkpoint import fresh_global_state, load_last_checkpoint
from server.report.records import read_rounds
from simulations.federation import Federation, run_federation
from simulations.grid import Faults


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("four")
    return {site: tiny_store(folder / site, seed=number).folder for number, site in enumerate(SITES)}


def run(out: Path, four: Mapping[str, Path], spec: Spec, **options: Any) -> Vector:
    """The weights after the last finished round."""
    run_federation(Federation(spec, four, None, out), **{"workers": 1} | options)
    return weights_at(out)


def weights_at(out: Path) -> Vector:
    state = load_last_checkpoint(out / "checkpoints", open_project(out / "project"))
    assert state is not None
    return state.weights


def objectives() -> tuple[str, ...]:
    return spec().objectives.names


@pytest.mark.parametrize("profile", ["wide", pytest.param("thin", marks=pytest.mark.slow)])
def test_training_ends_in_the_weights_of_the_plain_run(
    tmp_path: Path, four: dict[str, Path], profile: str
) -> None:
    plain = run(tmp_path / "plain", four, spec("off", federation__profile=profile))
    secure = run(tmp_path / "secure", four, spec(federation__profile=profile))
    assert_array_equal(secure, plain)
    assert (plain != fresh_global_state(open_project(tmp_path / "plain" / "project")).weights).any()
    rounds = read_rounds(tmp_path / "secure")
    assert [[site.status for site in record.sites] for record in rounds] == [["ok"] * 4] * 2
    told = [record.cohort for record in rounds]
    assert told == [record.cohort for record in read_rounds(tmp_path / "plain")]
    assert told[0].examples > 0
    assert set(told[0].losses) == set(told[0].validation) == {*objectives()}
    for site in rounds[0].sites:
        assert (site.examples, site.seconds_training, site.losses, site.validation) == (None, None, {}, {})


# --- sites that stop, at every stage ---------------------------------------------------------------------


@pytest.fixture
def secure(tmp_path: Path, four: dict[str, Path]) -> Place:
    return Place(tmp_path / "secure", four, spec())


@pytest.fixture(scope="module")
def plain_means(
    tmp_path_factory: pytest.TempPathFactory, four: dict[str, Path]
) -> dict[tuple[str, ...], Vector]:
    """Sites in the sum -> the mean by plain aggregation."""
    place = Place(tmp_path_factory.mktemp("plain") / "out", four, spec("off"))
    groups = (SITES, ("east", "north", "west"))
    return {sites: place.collect(only=sites)[0].sum.mean for sites in groups}


@pytest.mark.parametrize("stage", STAGES)
def test_a_site_that_stops_at_any_stage_costs_its_update_at_most(
    secure: Place, plain_means: dict[tuple[str, ...], Vector], stage: str
) -> None:
    collected, _ = secure.collect({"south": stage})
    survivors = SITES if stage in (CONSENT, REVEAL) else ("east", "north", "west")
    assert tuple(site.name for site in collected.sites if site.status == "ok") == survivors
    assert collected.contributors == len(survivors)
    assert_array_equal(collected.sum.mean, plain_means[survivors])


@pytest.mark.parametrize("stage", [TRAIN, INPUT, REVEAL])
def test_a_round_with_too_few_sites_unmasks_nothing_and_the_next_one_works(
    secure: Place, plain_means: dict[tuple[str, ...], Vector], stage: str
) -> None:
    with pytest.raises(PeerError, match="--resume"):
        secure.collect({"south": stage, "west": stage})
    (attempt,) = {line.attempt for line in lines_of(secure, "east")}
    if stage == REVEAL:  # the two that revealed keep to the survivors that they revealed for
        collected, _ = secure.collect()
        assert_array_equal(collected.sum.mean, plain_means[SITES])
        return
    collected, _ = secure.collect({"south": TRAIN})
    assert_array_equal(collected.sum.mean, plain_means["east", "north", "west"])
    (told,) = [line for line in lines_of(secure, "east") if line.event == "DISCARDED"]
    assert (told.stage, told.round, told.attempt) == (stage, 1, attempt)
    assert told.reason == f"never finished; the hub's last word that was answered is {stage}"


def test_a_hub_whose_clock_was_set_back_goes_on(
    secure: Place, plain_means: dict[tuple[str, ...], Vector]
) -> None:
    secure.collect()
    before = {line.attempt for line in lines_of(secure, "east")}
    secure.restart_hub()
    secure.attempts = Attempts(secure.federation.out, clock=lambda: 0)
    collected, _ = secure.collect()
    assert_array_equal(collected.sum.mean, plain_means[SITES])
    assert {line.attempt for line in lines_of(secure, "east")} == before | {max(before, default=0) + 1}


def test_two_cohorts_are_never_unmasked_on_one_model(
    secure: Place, plain_means: dict[tuple[str, ...], Vector]
) -> None:
    """Their difference would be the update of one site."""
    secure.collect()
    with pytest.raises(PeerError, match=r"second-cohort-on-one-model.*model\.initial.*another seed"):
        secure.collect({"south": TRAIN})
    again, _ = secure.collect()
    assert_array_equal(again.sum.mean, plain_means[SITES])


# --- what leaves -----------------------------------------------------------------------------------------


def arrays_in(content: RecordDict) -> list[str]:
    return [name for name, record in content.items() if isinstance(record, ArrayRecord)]


def test_only_the_masked_update_leaves_as_numbers(secure: Place) -> None:
    _, app = secure.collect()
    assert [kind for _, kind, content in app.replies if arrays_in(content)] == [INPUT] * 4
    assert {kind for _, kind, _ in app.replies} == set(STAGES)
    plain = Place(secure.federation.out.parent / "plain", secure.federation.sites, spec("off"))
    _, seen = plain.collect()
    updates = {site: planes_from_record(content["update"]) for site, _, content in seen.replies}  # type: ignore[arg-type]  # it is one
    for site, kind, content in app.replies:
        if kind != INPUT:
            continue
        step = Step.from_records(content)
        assert step.planes is not None
        assert step.lanes is not None
        masked, bare = step.planes.integers(), updates[site].integers()
        assert (masked != bare).mean() > 0.999
        assert abs(np.corrcoef(masked, bare)[0, 1]) < 0.05
        assert step.lanes.min() > 2**32  # counts and losses would be small numbers


def test_every_message_that_a_hospital_answers_is_a_known_one() -> None:
    handlers = set(client_app.app._registered_funcs)
    assert handlers == {HELLO, TRAIN + ".default", *STAGES[1:]}


HANDLED = [HELLO, *STAGES, "query", "evaluate", "query.weights"]


@pytest.mark.parametrize("kind", HANDLED)
def test_whatever_is_asked_first_no_numbers_leave(secure: Place, kind: str) -> None:
    for records in (
        RecordDict(),
        secure.instruction.to_records(),
        replace(secure.instruction, attempt=7).to_records(),
        Step(1, 7, b"").to_records(),
        Step(1, 7, b"", *some_numbers(secure)).to_records(),
    ):
        reply = secure.ask("east", kind, records)
        assert reply.has_error() or not arrays_in(reply.content)


def some_numbers(place: Place) -> tuple[Planes, np.ndarray]:
    coordinates = place.project.layout.num_coordinates
    return Planes(np.ones(coordinates, np.uint16), np.ones(coordinates, np.uint8)), np.ones(3, np.uint64)


@pytest.mark.parametrize("kind", HANDLED)
def test_a_site_that_asks_for_secure_aggregation_answers_no_project_without_it(
    tmp_path: Path, four: dict[str, Path], kind: str
) -> None:
    place = Place(tmp_path / "plain", four, spec("off"))
    reply = place.ask("east", kind, place.instruction.to_records(), **{"require-secure-aggregation": True})
    assert reply.has_error()
    if kind in (HELLO, *STAGES):
        assert "takes part with secure aggregation only" in reply.error.reason


def test_a_project_without_secure_aggregation_knows_no_steps_of_it(
    tmp_path: Path, four: dict[str, Path]
) -> None:
    place = Place(tmp_path / "plain", four, spec("off"))
    for kind in STAGES[1:]:
        reply = place.ask("east", kind, Step(1, 1, b"").to_records())
        assert "no secure aggregation in the approved project" in reply.error.reason


# --- between two messages --------------------------------------------------------------------------------


def rows(place: Place, site: str, table: str) -> list[Any]:
    with closing(sqlite3.connect(place.home(site) / DATABASE)) as database:
        return database.execute(f"SELECT * FROM {table}").fetchall()


def lines_of(place: Place, site: str) -> tuple[Line, ...]:
    """What the site's audit log says."""
    return Audit(place.home(site).parent / AUDIT).read().lines


def test_a_finished_round_leaves_no_secret_and_a_line_for_every_step(secure: Place) -> None:
    secure.collect()
    for site in SITES:
        assert not (secure.home(site) / STAGE).exists()
        assert not (secure.home(site) / UPDATE).exists()
        expected = [(event, stage) for stage in STAGES for event in ("ASKED", "ANSWERED")]
        assert [(line.event, line.stage) for line in lines_of(secure, site)] == expected
        assert len(rows(secure, site, "unmasked")) == 1


class Overheard(Weak):
    """Remembers what the hub sent."""

    def __call__(self, message: Message, context: Context) -> Message:
        sent.append((str(context.node_config["site"]), message.metadata.message_type, message.content))
        return super().__call__(message, context)


sent: list[tuple[str, str, RecordDict]] = []


def test_a_step_is_answered_once_whatever_the_hub_repeats(
    secure: Place,
) -> None:
    sent.clear()
    secure.collect_from(Overheard({}, []))
    for site, kind, records in list(sent):
        reply = secure.ask(site, kind, records)
        assert reply.has_error(), kind
        expected = "replayed-round" if kind == TRAIN else "out-of-order"
        assert expected in reply.error.reason


@pytest.mark.parametrize("stage", STAGES[1:])
def test_a_stage_that_was_changed_on_the_disc_ends_the_round(secure: Place, stage: str) -> None:
    def spoil(message: Message, context: Context) -> Message:
        if message.metadata.message_type == stage and context.node_config["site"] == "south":
            path = secure.home("south") / STAGE
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
        return client_app.app(message, context)

    collected = secure.collect_from(spoil)
    assert collected.contributors == (4 if stage in (CONSENT, REVEAL) else 3)
    assert not (secure.home("south") / STAGE).exists()
    told = lines_of(secure, "south")[-1]
    assert (told.stage, told.reason) == (stage, "share-does-not-authenticate")


def test_nothing_of_the_update_or_of_a_secret_lies_open_on_the_disc(secure: Place) -> None:
    with pytest.raises(PeerError):
        secure.collect(dict.fromkeys(SITES, SHARE))
    names = {path.name for path in secure.home("east").iterdir()}
    assert {STAGE, UPDATE, DATABASE} <= names
    assert (secure.home("east") / STAGE).stat().st_mode & 0o077 == 0
    plain = Place(secure.federation.out.parent / "plain", secure.federation.sites, spec("off"))
    _, seen = plain.collect()
    bare = next(planes_from_record(content["update"]) for site, _, content in seen.replies if site == "east")  # type: ignore[arg-type]  # it is one
    sealed = (secure.home("east") / UPDATE).read_bytes()
    assert len(sealed) > bare.nbytes
    piece = bare.low[:64].tobytes()
    assert piece not in sealed


def test_a_roster_that_was_not_approved_stops_a_site_and_says_so(secure: Place) -> None:
    (secure.home("east").parent / "roster.json").unlink()
    reply = secure.ask("east", TRAIN, replace(secure.instruction, attempt=1).to_records())
    assert "roster not approved" in reply.error.reason
    collected, _ = secure.collect()
    assert [site.reason for site in collected.sites if site.name == "east"] == [
        "PolicyError: roster not approved"
    ]


def test_the_hub_hears_codes_and_never_a_path(secure: Place) -> None:
    reply = secure.ask("east", SHARE, Step(1, 1, b"junk").to_records())
    assert reply.error.reason == "<class 'common.secagg.abort.AbortError'>:<'out-of-order'>"


@pytest.mark.slow
def test_a_site_that_falls_silent_is_late_and_the_run_goes_on(tmp_path: Path, four: dict[str, Path]) -> None:
    faults = Faults({("south", 1): "silent"})
    said = spec(federation__reply_timeout_seconds=2)
    run(tmp_path / "out", four, said, faults=faults)
    first, second = read_rounds(tmp_path / "out")
    assert {site.name: site.status for site in first.sites}["south"] == "late"
    assert [site.status for site in second.sites] == ["ok"] * 4


@pytest.mark.slow
def test_rows_of_the_vocabulary_stay_as_they_began(tmp_path: Path, four: dict[str, Path]) -> None:
    run(tmp_path / "out", four, spec())
    project = open_project(tmp_path / "out" / "project")
    before = {name: tensor.numpy() for name, tensor in project.fresh_model().state_dict().items()}
    after = project.layout.unflatten(weights_at(tmp_path / "out"))
    moved = {name for name, weights in after.items() if (weights != before[name]).any()}
    kept = VOCABULARY_ROWS & set(before)
    assert kept
    assert not kept & set(after), "what is not trained does not travel"
    exported = load_file(tmp_path / "out" / "model" / "model.safetensors")
    assert all((exported[f"vlp.{name}"] == before[name]).all() for name in kept)
    assert {"text_projection.weight", "image_projection.weight"} <= moved

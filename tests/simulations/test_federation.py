import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tomli_w
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from numpy.testing import assert_array_equal
from safetensors.numpy import load_file
from tiny import (
    IMAGE_SIZE,
    PREPARATION,
    SITES,
    first_instruction,
    node_config,
    settings,
    tiny_spec,
    tiny_store,
)

from client.app import train as train_as_approved
from client.round import open_site, train_locally
from common.errors import InputRefusedError, PeerError
from common.files import sha256_of
from common.messages import HELLO, Answer
from common.project import Project, open_project, weights_of
from common.spec.run import Spec
from common.store import IMAGES, Row, Store, write_store
from common.update import Vector
from server import checkpoint
from server.attempts import Attempts
from server.checkpoint import load_last_checkpoint
from server.cohort import exchange
from server.evaluation import Evaluator, Glance
from server.ledgers import LedgerHeads
from server.report.records import RoundEvaluation, RunRecord, SiteRound, read_rounds, read_run
from server.rounds import collect
from simulations.cli import main
from simulations.federation import Federation, run_federation
from simulations.grid import Faults, InProcessGrid, site_workers
from simulations.workers import WorkerPool

ROUNDS = 3
Cli = Callable[..., tuple[int, list[str], str]]


QUICK: dict[str, Any] = {"evaluation__retrieval": False, "evaluation__zero_shot": []}
"""Nothing is judged, which is half of the seconds of a tiny run."""


def quick(**changes: Any) -> Spec:
    """The tiny spec without judgement."""
    return tiny_spec(**QUICK, **changes)


@dataclass(frozen=True)
class Place:
    """Where federations of the shared stores are run."""

    stores: dict[str, Store]
    bank: Store
    out: Path

    def federation(self, spec: Spec | None = None, *, out: str = "out") -> Federation:
        sites = {name: store.folder for name, store in self.stores.items()}
        return Federation(spec or quick(), sites, self.bank.folder, self.out / out)

    def run(self, spec: Spec | None = None, *, out: str = "out", **options: Any) -> RunRecord:
        federation = self.federation(spec, out=out)
        run_federation(federation, **{"workers": 1} | options)
        return read_run(federation.out)

    def arguments(self, out: str = "out", *, spec: dict[str, Any] | None = None) -> list[str]:
        """What a person types for the same federation."""
        path = self.out / "tiny.toml"
        path.write_text(tomli_w.dumps(spec or settings(**QUICK)))
        sites = [f"--site={name}={store.folder}" for name, store in self.stores.items()]
        return [
            "run",
            str(path),
            *sites,
            f"--bank={self.bank.folder}",
            f"--out={self.out / out}",
            "--workers=1",
        ]


@pytest.fixture
def place(stores: dict[str, Store], bank: Store, tmp_path: Path) -> Place:
    return Place(stores, bank, tmp_path)


@pytest.fixture(scope="module")
def finished(stores: dict[str, Store], bank: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run of `quick()`; read only."""
    place = Place(stores, bank, tmp_path_factory.mktemp("finished"))
    place.run()
    return place.out / "out"


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run `fedvlp-sim`: exit code, lines on stderr, text on stdout."""

    def run(*arguments: str) -> tuple[int, list[str], str]:
        monkeypatch.setattr(sys, "argv", ["fedvlp-sim", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, said.err.splitlines(), said.out

    return run


def weights_at(out: Path) -> Vector:
    """The last checkpoint's."""
    state = load_last_checkpoint(out / "checkpoints", open_project(out / "project"))
    assert state is not None
    return state.weights


def tree(folder: Path) -> dict[str, str]:
    """Every file below `folder` with its digest."""
    return {
        str(path.relative_to(folder)): sha256_of(path) for path in sorted(folder.rglob("*")) if path.is_file()
    }


def site_of(out: Path, number: int, name: str) -> SiteRound:
    found = read_rounds(out)[number - 1].site(name)
    assert found is not None
    return found


def test_the_same_spec_and_seed_end_in_the_same_bits(place: Place, finished: Path) -> None:
    digests = {place.run(out=f"again-{time}").weights_sha256 for time in (1, 2)}
    assert digests == {read_run(finished).weights_sha256}
    assert_array_equal(weights_at(place.out / "again-1"), weights_at(finished))
    told = [
        [replace_seconds(record.sites) for record in read_rounds(out)]
        for out in (finished, place.out / "again-1", place.out / "again-2")
    ]
    assert told[0] == told[1] == told[2]


def replace_seconds(sites: tuple[SiteRound, ...]) -> list[SiteRound]:
    return [site.model_copy(update={"seconds_training": 0.0}) for site in sites]


def test_neither_the_order_of_sites_nor_the_folder_matters_and_the_seed_does(
    place: Place, finished: Path
) -> None:
    backwards = replace(place, stores=dict(reversed(place.stores.items())))
    assert backwards.run(out="elsewhere").weights_sha256 == read_run(finished).weights_sha256
    assert place.run(quick(seed=8), out="other").weights_sha256 != read_run(finished).weights_sha256


@pytest.mark.slow
@pytest.mark.parametrize("workers", [2, 3])
def test_the_number_of_workers_does_not_matter(place: Place, finished: Path, workers: int) -> None:
    assert place.run(workers=workers).weights_sha256 == read_run(finished).weights_sha256


def test_one_round_is_the_mean_of_what_the_hospitals_learned_alone(place: Place) -> None:
    place.run(quick(federation__rounds=1))
    out = place.out / "out"
    project, learned = open_project(out / "project"), []
    for name in SITES:
        site, model = open_site(node_config(project, place.stores, name, place.bank)), project.fresh_model()
        train_locally(site, model, 1)
        learned.append(project.layout.flatten(weights_of(model)))
    step = project.spec.federation.update_clip / project.profile.levels
    assert np.abs(weights_at(out) - np.mean(learned, axis=0)).max() <= step + 1e-6


def test_the_run_writes_what_the_contract_names(place: Place) -> None:
    run, out = place.run(tiny_spec(evaluation__every_rounds=2)), place.out / "out"
    written = {"project", "checkpoints", "model", "run.json", "rounds.jsonl"}
    assert {path.name for path in out.iterdir()} == written
    rounds = read_rounds(out)
    assert (run.name, run.seed, run.engine, run.rounds) == ("tiny", 7, "inprocess", ROUNDS)
    assert [record.round for record in rounds] == [1, 2, 3]
    assert [record.evaluation.mean_auroc is None for record in rounds] == [True, False, False]
    assert [site.name for site in run.sites] == list(SITES)
    assert all(site.rounds_completed == ROUNDS and site.examples == ROUNDS * 8 for site in run.sites)
    assert run.bytes.up == sum(site.bytes_up for site in run.sites)
    assert run.bytes.down == sum(site.bytes_down for site in run.sites)
    assert run.final.mean_auroc is not None
    assert len(run.final.retrieval) == 2 * len(SITES)


def test_the_exported_model_is_the_last_checkpoint(finished: Path) -> None:
    project = open_project(finished / "project")
    held = load_file(finished / "model" / "model.safetensors")
    for name, array in project.layout.unflatten(weights_at(finished)).items():
        assert_array_equal(held[f"vlp.{name}"], array)


@pytest.fixture
def stopped(place: Place, finished: Path) -> Callable[[int], Path]:
    """A copy of the finished run as it was after round k, before anything was concluded."""

    def stop_after(k: int) -> Path:
        out = Path(shutil.copytree(finished, place.out / "out"))
        for number in range(k + 1, ROUNDS + 1):
            (out / "checkpoints" / f"round-{number:04d}.safetensors").unlink()
        (out / "run.json").unlink()
        shutil.rmtree(out / "model")
        return out

    return stop_after


@pytest.mark.parametrize("k", [0, 1, 2, 3])
def test_a_run_stopped_after_any_round_resumes_to_the_same_bits(
    place: Place, finished: Path, stopped: Callable[[int], Path], k: int
) -> None:
    out = stopped(k)
    assert place.run(resume=True).weights_sha256 == read_run(finished).weights_sha256
    assert [record.round for record in read_rounds(out)] == [1, 2, 3]
    assert tree(out / "model") == tree(finished / "model")


def test_resuming_before_anything_ran_is_a_fresh_run(place: Place, finished: Path) -> None:
    assert place.run(resume=True).weights_sha256 == read_run(finished).weights_sha256


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_hub_that_fails_between_checkpoint_and_record_resumes_to_the_same_bits(
    place: Place, finished: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    glance, judged = Evaluator.glance, Glance(RoundEvaluation(mean_auroc=0.25))

    def failing(self: Evaluator, state: Any) -> Any:
        if state.round == number:
            raise RuntimeError("power cut")
        return glance(self, state)

    monkeypatch.setattr(Evaluator, "glance", failing)
    with pytest.raises(RuntimeError, match="power cut"):
        place.run()
    monkeypatch.setattr(Evaluator, "glance", lambda _, state: judged)
    assert place.run(resume=True).weights_sha256 == read_run(finished).weights_sha256
    rounds = read_rounds(place.out / "out")
    assert [record.round for record in rounds] == [1, 2, 3]
    assert rounds[number - 1].evaluation == judged.evaluation
    assert [record.cohort for record in rounds] == [record.cohort for record in read_rounds(finished)]


def test_a_disk_that_fills_up_in_round_2_keeps_round_1_and_the_run_goes_on_from_it(
    place: Place, finished: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tensors: dict[str, Vector], path: Path, metadata: dict[str, str]) -> None:
        if metadata["round"] == "2":
            raise OSError(28, "No space left on device")
        save(tensors, path, metadata)

    save = checkpoint.save_file
    monkeypatch.setattr(checkpoint, "save_file", full)
    code, lines, _ = cli(*place.arguments())
    assert code == 2
    assert lines[-1].startswith("fedvlp-sim: the disk is full: round-0002.safetensors was not written")
    checkpoints = place.out / "out" / "checkpoints"
    assert [path.name for path in checkpoints.iterdir()] == ["round-0001.safetensors"]
    monkeypatch.setattr(checkpoint, "save_file", save)
    assert place.run(resume=True).weights_sha256 == read_run(finished).weights_sha256


@pytest.mark.slow
def test_a_run_that_is_killed_resumes_to_the_same_bits(place: Place, finished: Path) -> None:
    command = [sys.executable, "-m", "simulations", *place.arguments()]
    rounds = place.out / "out" / "rounds.jsonl"
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not rounds.exists() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert rounds.exists()
    assert place.run(resume=True).weights_sha256 == read_run(finished).weights_sha256


def test_a_hospital_that_dies_in_round_2_is_written_down_and_the_rest_finish(place: Place) -> None:
    run = place.run(faults=Faults({("west", 2): "dies"}))
    out = place.out / "out"
    assert [site_of(out, number, "west").status for number in (1, 2, 3)] == ["ok", "refused", "ok"]
    assert site_of(out, 2, "west").reason == "ClientApp stopped responding."
    assert all(site_of(out, 2, name).status == "ok" for name in ("east", "north"))
    assert [site.rounds_completed for site in run.sites] == [3, 3, 2]


def test_a_silent_hospital_is_late_after_the_timeout(place: Place) -> None:
    timeout = 1.0
    run = place.run(quick(federation__reply_timeout_seconds=timeout), faults=Faults({("east", 2): "silent"}))
    out = place.out / "out"
    late = site_of(out, 2, "east")
    assert (late.status, late.reason, late.examples) == ("late", "no answer in time", 0)
    assert read_rounds(out)[1].seconds.total >= timeout
    assert [site.rounds_completed for site in run.sites] == [2, 3, 3]


def test_two_hospitals_that_answer_are_as_good_as_two_that_were_asked(place: Place) -> None:
    place.run(faults=Faults({("west", number): "dies" for number in (1, 2, 3)}))
    out, small = place.out / "out", replace(place, stores={n: place.stores[n] for n in ("east", "north")})
    small.run(out="small")
    assert_array_equal(weights_at(out), weights_at(place.out / "small"))


def test_below_the_quorum_the_round_fails_its_checkpoint_stays_and_resuming_heals(
    place: Place, finished: Path
) -> None:
    faults = Faults({("east", 2): "dies", ("west", 2): "dies"})
    with pytest.raises(PeerError, match=r"round 2: 1 usable answers, federation\.min_sites = 2") as caught:
        place.run(faults=faults)
    assert "\n" not in str(caught.value)
    assert "east: ClientApp stopped responding." in str(caught.value)
    out = place.out / "out"
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["round-0001.safetensors"]
    assert [record.round for record in read_rounds(out)] == [1]
    assert not (out / "run.json").exists()
    assert place.run(resume=True).weights_sha256 == read_run(finished).weights_sha256


def test_an_answer_that_was_tampered_with_is_refused_and_leaves_no_trace(
    place: Place, project: Project, tmp_path: Path
) -> None:
    def collected(tamper: bool) -> Any:
        app = ClientApp()

        @app.train()
        def train(message: Message, context: Context) -> Message:
            reply = train_as_approved(message, context)
            if context.node_config["site"] == "west" and tamper:
                answer = replace(Answer.from_records(reply.content), project="f" * 64)
                return Message(answer.to_records(), reply_to=message)
            if context.node_config["site"] == "west":
                raise RuntimeError
            return reply

        nodes = {name: node_config(project, place.stores, name, place.bank) for name in SITES}
        grid = InProcessGrid(nodes, client_app=app)
        cohort = {node.name: node.node_id for node in grid.get_nodes()}
        return collect(
            grid, cohort, first_instruction(project), project, LedgerHeads(tmp_path), Attempts(tmp_path)
        )

    tampered, absent = collected(True), collected(False)
    refused = next(site for site in tampered.sites if site.name == "west")
    assert (refused.status, refused.reason) == (
        "refused",
        "the answer belongs to another round, project or model",
    )
    assert_array_equal(tampered.sum.mean, absent.sum.mean)


def test_a_rate_that_blows_up_is_told_by_every_hospital(place: Place, cli: Cli) -> None:
    wild = settings(train__learning_rate=1e30)
    code, lines, _ = cli(*place.arguments(spec=wild))
    assert code == 5
    assert len(lines) == 1
    assert lines[0].startswith("fedvlp-sim: round 1: 0 usable answers")
    for name in SITES:
        assert f"{name}: " in lines[0]
    assert "not finite" in lines[0]
    assert not (place.out / "out" / "checkpoints").exists()
    assert "; lower train.learning_rate" in (place.out / "out" / "run.log").read_text()


def refused(place: Place, cli: Cli, *arguments: str) -> tuple[int, str]:
    """Exit code and the one line; nothing was written."""
    before = tree(place.out)
    code, lines, out = cli(*arguments)
    assert len(lines) == 1, lines
    assert out == ""
    assert lines[0].startswith("fedvlp-sim: ")
    assert tree(place.out) == before
    return code, lines[0]


def test_a_store_of_another_image_size_is_refused_before_anything_is_written(place: Place, cli: Cli) -> None:
    small = tiny_store(place.out / "north-24", size=24)
    mixed = replace(place, stores=place.stores | {"north": small})
    code, line = refused(place, cli, *mixed.arguments())
    assert code == 3
    assert "24x24 images, but model.image_size is 16; ingest again with --image-size 16" in line
    assert not (place.out / "out").exists()


@pytest.mark.slow
def test_workers_that_came_up_for_a_run_that_is_refused_write_nothing_and_end(place: Place) -> None:
    small = tiny_store(place.out / "north-24", size=24)
    mixed = replace(place, stores=place.stores | {"north": small})
    take_a_turn()
    before = grandchildren()
    with pytest.raises(InputRefusedError, match="24x24 images"):
        mixed.run(workers=2)
    assert not (place.out / "out").exists()
    take_a_turn()  # after it, the nursery has forked what it was asked for before
    deadline = time.monotonic() + 20
    while grandchildren() - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not grandchildren() - before


def take_a_turn() -> None:
    """Have a worker of one's own for a moment."""
    with WorkerPool(1) as pool:
        assert pool.submit(os.getpid).result() != os.getpid()


def grandchildren() -> set[psutil.Process]:
    """Workers are the nursery's."""
    here = psutil.Process()
    return {*here.children(recursive=True)} - {*here.children()}


@pytest.mark.parametrize("name", ["north", "bank"])
def test_a_store_with_a_flipped_byte_is_refused(place: Place, cli: Cli, name: str) -> None:
    source = place.bank if name == "bank" else place.stores[name]
    folder = Path(shutil.copytree(source.folder, place.out / name))
    content = bytearray((folder / IMAGES).read_bytes())
    content[-1] ^= 1
    (folder / IMAGES).write_bytes(content)
    changed = {"bank": Store(folder)} if name == "bank" else {"stores": place.stores | {name: Store(folder)}}
    code, line = refused(place, cli, *replace(place, **changed).arguments())
    assert code == 6
    assert f"store {name}: {IMAGES} differs from its manifest; ingest again" in line


def test_a_store_without_training_rows_is_refused(place: Place, cli: Cli) -> None:
    image = np.zeros((1, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    row = Row("i", "s", "p", image, "CR", "PA", "test", {"findings": "Clear."})
    write_store(place.out / "south", name="south", preparation=PREPARATION, rows=[row])
    mixed = replace(place, stores=place.stores | {"south": Store(place.out / "south")})
    code, line = refused(place, cli, *mixed.arguments())
    assert code == 3
    assert "store south of site south has no training rows" in line


@pytest.mark.parametrize("seed", [7, 8])
def test_a_run_into_the_folder_of_another_run_leaves_that_run_alone(
    place: Place, finished: Path, cli: Cli, seed: int
) -> None:
    shutil.copytree(finished, place.out / "out")
    arguments = [*place.arguments(), f"--seed={seed}"]
    code, line = refused(place, cli, *arguments)
    assert code == 2
    assert "holds a run already: add --resume or name another --out" in line


@pytest.mark.parametrize("change", ["seed", "sites", "bank"])
def test_resuming_with_another_seed_site_or_bank_is_refused(
    place: Place, finished: Path, cli: Cli, change: str
) -> None:
    shutil.copytree(finished, place.out / "out")
    other = place
    if change == "sites":
        other = replace(place, stores={name: place.stores[name] for name in ("east", "north")})
    if change == "bank":
        other = replace(place, bank=tiny_store(place.out / "bank", seed=98))
    arguments = [*other.arguments(), "--resume", *(["--seed=8"] if change == "seed" else [])]
    code, line = refused(place, cli, *arguments)
    assert code == 6
    assert "holds a run" in line
    assert "name another --out" in line


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (lambda given: [*given, "--site=east=elsewhere"], 2, "--site east appears twice"),
        (lambda given: [*given, "--site=south"], 2, "write NAME=STORE"),
        (lambda given: [*given, "--site=south=nowhere"], 3, "nowhere is not a store"),
        (lambda given: given[:3] + given[5:], 2, "1 sites, but federation.min_sites = 2"),
        (lambda given: [a for a in given if "--bank" not in a], 2, "needs a public bank"),
        (lambda given: ["run", "absent.toml", *given[2:]], 2, "absent.toml: No such file"),
    ],
    ids=["twice", "no store", "absent store", "quorum", "no bank", "no spec"],
)
def test_what_a_person_gets_wrong_is_one_line_and_its_code(
    place: Place, cli: Cli, change: Callable[[list[str]], list[str]], code: int, words: str
) -> None:
    found, line = refused(place, cli, *change(place.arguments()))
    assert found == code
    assert words in line


def test_a_misspelt_key_of_the_spec_is_one_line(place: Place, cli: Cli) -> None:
    arguments = place.arguments(spec=settings(federation__rouns=3))
    code, line = refused(place, cli, *arguments)
    assert (code, line) == (2, "fedvlp-sim: tiny.toml: unknown key 'federation.rouns'; correct or remove it")


def test_a_finished_run_is_told_as_one_json_document(place: Place, finished: Path, cli: Cli) -> None:
    code, lines, out = cli(*place.arguments(), "--json")
    assert code == 0
    told_on_the_way = [line for line in lines if line.startswith("tiny")]
    assert told_on_the_way == [f"tiny: rounds: {number}/3" for number in (1, 2, 3)]
    told = json.loads(out)
    assert told["weights_sha256"] == read_run(finished).weights_sha256
    assert (place.out / "out" / "report.html").exists()


def test_a_finished_run_is_told_as_a_table_and_resuming_it_trains_nothing_anew(
    place: Place, finished: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def training(*_: object) -> None:
        raise AssertionError

    shutil.copytree(finished, place.out / "out")
    monkeypatch.setattr("client.app.train_locally", training)
    code, lines, out = cli(*place.arguments(), "--resume")
    assert code == 0
    assert "3 rounds, 3 sites" in out
    assert not any("bug" in line for line in lines)


def test_a_run_without_anchors_needs_no_bank(place: Place) -> None:
    federation = replace(place.federation(quick(data__anchor_pairs=0, federation__rounds=1)), bank=None)
    run_federation(federation, workers=1)
    assert read_run(federation.out).rounds == 1


def test_injected_faults_do_not_reach_the_next_federation(place: Place, finished: Path) -> None:
    with pytest.raises(PeerError):
        place.run(out="faulty", faults=Faults({(name, 1): "dies" for name in SITES}))
    assert place.run().weights_sha256 == read_run(finished).weights_sha256


@pytest.mark.slow
def test_a_worker_that_was_killed_is_replaced(place: Place, project: Project, tmp_path: Path) -> None:
    nodes = {name: node_config(project, place.stores, name, place.bank) for name in SITES}

    def greet(grid: InProcessGrid) -> list[bool]:
        messages = {node.name: Message(RecordDict(), node.node_id, HELLO) for node in grid.get_nodes()}
        return [reply.message is not None for reply in exchange(grid, messages, timeout_seconds=60)]

    with site_workers(2, log=tmp_path / "run.log") as pools:
        grid = InProcessGrid(nodes, workers=pools)
        assert greet(grid) == [True, True, True]
        os.kill(pools[0].submit(os.getpid).result(), signal.SIGKILL)
        assert greet(grid)[1]
        assert greet(grid) == [True, True, True]

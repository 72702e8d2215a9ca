import errno
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from safetensors import SafetensorError
from tiny import SITES, tiny_spec

from common.errors import ConfigurationError, IntegrityError
from common.project import Project, create_project
from common.store import Store
from common.update import Layout, Vector
from server import checkpoint
from server.checkpoint import (
    CLIP_OVER_RMS,
    KEPT,
    GlobalState,
    fresh_global_state,
    load_last_checkpoint,
    next_clips,
    save_checkpoint,
)

KINDS = ["fedavg", "momentum", "adam"]


@pytest.fixture(scope="module", params=KINDS)
def any_project(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, bank: Store
) -> Project:
    spec = tiny_spec(federation__server_optimizer={"kind": request.param}, federation__rounds=9)
    return create_project(tmp_path_factory.mktemp("project"), spec, sites=[*SITES], bank=bank)


def mean(project: Project, round_number: int) -> Vector:
    """A round's mean update, made up."""
    rng = np.random.default_rng(round_number)
    return rng.normal(0, 0.01, project.layout.num_coordinates).astype(np.float32)


def advanced(project: Project, rounds: int) -> GlobalState:
    state = fresh_global_state(project)
    for number in range(1, rounds + 1):
        state.advance(mean(project, number), project)
    return state


def require_equal(one: GlobalState | None, other: GlobalState) -> None:
    """To the bit."""
    assert one is not None
    assert one.round == other.round
    assert one.optimizer.keys() == other.optimizer.keys()
    for a, b in (
        (one.weights, other.weights),
        (one.clips, other.clips),
        *((one.optimizer[name], other.optimizer[name]) for name in other.optimizer),
    ):
        assert a.dtype == b.dtype == np.float32
        assert_array_equal(a.view(np.uint32), b.view(np.uint32))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_is_loaded_to_the_bit(any_project: Project, tmp_path: Path) -> None:
    state = advanced(any_project, 3)
    path = save_checkpoint(tmp_path, state, any_project)
    assert path.name == "round-0003.safetensors"
    require_equal(load_last_checkpoint(tmp_path, any_project), state)


def test_going_on_from_a_checkpoint_is_as_if_nothing_had_happened(
    any_project: Project, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path, advanced(any_project, 3), any_project)
    resumed = load_last_checkpoint(tmp_path, any_project)
    assert resumed is not None
    for number in (4, 5):
        resumed.advance(mean(any_project, number), any_project)
    require_equal(resumed, advanced(any_project, 5))


def test_before_the_first_round_there_is_nothing_to_load(project: Project, tmp_path: Path) -> None:
    assert load_last_checkpoint(tmp_path / "absent", project) is None


def test_only_the_last_checkpoints_are_kept(project: Project, tmp_path: Path) -> None:
    for rounds in range(1, 7):
        save_checkpoint(tmp_path, advanced(project, rounds), project)
        assert len(names(tmp_path)) == min(rounds, KEPT)
    assert KEPT == 3
    assert names(tmp_path) == [f"round-000{number}.safetensors" for number in (4, 5, 6)]
    require_equal(load_last_checkpoint(tmp_path, project), advanced(project, 6))


def test_the_checkpoint_of_another_project_is_refused(
    project: Project, any_project: Project, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path, advanced(any_project, 1), any_project)
    with pytest.raises(IntegrityError, match=r"round-0001\.safetensors belongs to another project"):
        load_last_checkpoint(tmp_path, project)


@pytest.mark.parametrize("damage", ["empty", "cut short", "noise", "header"])
def test_a_damaged_checkpoint_is_refused_and_the_one_before_can_be_used(
    project: Project, tmp_path: Path, damage: str
) -> None:
    save_checkpoint(tmp_path, advanced(project, 1), project)
    path = save_checkpoint(tmp_path, advanced(project, 2), project)
    content = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "cut short": content[: len(content) // 2],
            "noise": bytes(len(content)),
            "header": content[:8] + b"x" + content[9:],
        }[damage]
    )
    with pytest.raises(IntegrityError, match=r"round-0002\.safetensors is damaged; remove it"):
        load_last_checkpoint(tmp_path, project)
    path.unlink()
    require_equal(load_last_checkpoint(tmp_path, project), advanced(project, 1))


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
    ids=["no space", "quota", "safetensors"],
)
def test_a_full_disk_keeps_the_earlier_checkpoints_and_leaves_nothing_half_written(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(tensors: dict[str, Vector], path: Path, metadata: dict[str, str]) -> None:
        path.write_bytes(b"half")
        raise error

    for rounds in (1, 2, 3):
        save_checkpoint(tmp_path, advanced(project, rounds), project)
    before = names(tmp_path)
    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(ConfigurationError, match=r"disk is full: round-0004\.safetensors") as caught:
        save_checkpoint(tmp_path, advanced(project, 4), project)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == before
    require_equal(load_last_checkpoint(tmp_path, project), advanced(project, 3))


def test_a_disk_that_fills_up_at_the_very_end_is_told_alike(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    save_checkpoint(tmp_path, advanced(project, 1), project)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigurationError, match="disk is full"):
        save_checkpoint(tmp_path, advanced(project, 2), project)
    assert names(tmp_path) == ["round-0001.safetensors"]


def test_a_half_written_file_of_a_killed_hub_is_not_taken_for_a_checkpoint(
    project: Project, tmp_path: Path
) -> None:
    save_checkpoint(tmp_path, advanced(project, 1), project)
    (tmp_path / ".round-0002.safetensors.x1y2").write_bytes(b"half")
    require_equal(load_last_checkpoint(tmp_path, project), advanced(project, 1))


def test_the_first_state_is_the_fresh_model_with_the_specs_bound(any_project: Project) -> None:
    state = fresh_global_state(any_project)
    assert state.round == 0
    assert_array_equal(state.weights, fresh_global_state(any_project).weights)
    assert (state.clips == np.float32(any_project.spec.federation.update_clip)).all()
    assert all(not moment.any() for moment in state.optimizer.values())


def test_the_next_bound_follows_the_size_of_the_last_step() -> None:
    layout = Layout(("a", "b", "still"), ((4,), (2,), (3,)))
    step = np.array([0.1, -0.1, 0.1, -0.1, 0.3, 0.4, 0, 0, 0], np.float32)
    bounds = next_clips(step, layout, lowest=1e-3)
    rms = np.sqrt((0.3**2 + 0.4**2) / 2)
    assert bounds.dtype == np.float32
    assert bounds == pytest.approx([CLIP_OVER_RMS * 0.1, CLIP_OVER_RMS * rms, 1e-3], rel=1e-6)

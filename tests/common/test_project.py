import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import SITES, tiny_spec, tiny_store

from common.errors import ConfigurationError, IntegrityError
from common.project import MANIFEST, SPEC, TOKENIZER, Project, create_project, open_project, weights_of
from common.store import IMAGES, Store
from common.update import Layout, digest_weights

CREATE = """
import sys
from pathlib import Path
from common.project import create_project
from common.spec.run import Spec
from common.store import Store
folder, spec, bank = map(Path, sys.argv[1:])
spec = Spec.model_validate_json(spec.read_bytes())
print(create_project(folder, spec, sites=["west", "north", "east"], bank=Store(bank)).digest)
"""


@pytest.fixture
def copied(project: Project, tmp_path: Path) -> Path:
    """The project in a folder of its own, to be damaged."""
    return Path(shutil.copytree(project.folder, tmp_path / "copy"))


def test_a_project_opens_as_it_was_made(project: Project) -> None:
    again = open_project(project.folder)
    assert again.spec == project.spec
    assert again.manifest == project.manifest
    assert again.digest == project.digest
    assert again.tokenizer.to_bytes() == project.tokenizer.to_bytes()
    assert again.layout == project.layout


def test_the_same_spec_and_bank_give_the_same_project_anywhere(
    project: Project, bank: Store, tmp_path: Path
) -> None:
    moved = Path(shutil.copytree(bank.folder, tmp_path / "moved"))
    made = create_project(
        tmp_path / "again", project.spec, sites=["west", "north", "east"], bank=Store(moved)
    )
    assert made.digest == project.digest
    for name in (MANIFEST, SPEC, TOKENIZER):
        assert (made.folder / name).read_bytes() == (project.folder / name).read_bytes()


@pytest.mark.slow
def test_another_process_makes_the_same_project(project: Project, bank: Store, tmp_path: Path) -> None:
    # Hash seeds differ between processes, and so did the order of ids in the library's own trainer.
    command = [sys.executable, "-c", CREATE, tmp_path / "again", project.folder / SPEC, bank.folder]
    made = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == project.digest


@pytest.mark.parametrize("change", ["seed", "sites", "bank"])
def test_another_seed_site_or_bank_is_another_project(
    project: Project, bank: Store, tmp_path: Path, change: str
) -> None:
    made = create_project(
        tmp_path / "other",
        tiny_spec(seed=8) if change == "seed" else project.spec,
        sites=["east", "north", "south"] if change == "sites" else [*SITES],
        bank=tiny_store(tmp_path / "bank", seed=98) if change == "bank" else bank,
    )
    assert made.digest != project.digest


@pytest.mark.parametrize("name", [SPEC, TOKENIZER])
def test_a_changed_byte_is_found_and_named(copied: Path, name: str) -> None:
    content = bytearray((copied / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(IntegrityError, match=f"{name} differs from {MANIFEST}") as caught:
        open_project(copied)
    assert str(copied) not in caught.value.outward
    assert caught.value.exit_code == 6


def test_a_blank_in_the_manifest_makes_another_project(copied: Path, project: Project) -> None:
    (copied / MANIFEST).write_bytes((copied / MANIFEST).read_bytes() + b"\n")
    assert open_project(copied).digest != project.digest


@pytest.mark.parametrize("name", [MANIFEST, SPEC, TOKENIZER])
def test_a_folder_that_lacks_a_file_is_no_project(copied: Path, name: str) -> None:
    (copied / name).unlink()
    with pytest.raises(ConfigurationError, match="is not a project") as caught:
        open_project(copied)
    assert str(copied) not in caught.value.outward


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format": 1, "surplus": true}'])
def test_a_manifest_of_something_else_is_no_project(copied: Path, content: str) -> None:
    (copied / MANIFEST).write_text(content)
    with pytest.raises(ConfigurationError, match="is not a project"):
        open_project(copied)


def test_sites_are_kept_sorted_and_the_spec_as_its_canonical_bytes(project: Project) -> None:
    assert project.manifest.sites == tuple(sorted(SITES))
    assert (project.folder / SPEC).read_bytes() == project.spec.canonical()
    assert project.manifest.spec_sha256 == project.spec.digest()


@pytest.mark.parametrize(
    ("sites", "words"),
    [
        (["east", "east", "west"], "two sites have the same name"),
        (["east"], r"1 sites, but federation\.min_sites = 2"),
        ([f"s{i}" for i in range(257)], "at most 256"),
    ],
)
def test_sites_that_cannot_work_are_refused(
    tmp_path: Path, bank: Store, sites: list[str], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        create_project(tmp_path / "project", tiny_spec(), sites=sites, bank=bank)
    assert not (tmp_path / "project").exists()


def test_anchors_need_a_bank(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="needs a public bank"):
        create_project(tmp_path / "project", tiny_spec(), sites=[*SITES], bank=None)
    assert not (tmp_path / "project").exists()


def test_the_bank_must_be_the_projects_own(project: Project, bank: Store, tmp_path: Path) -> None:
    opened = project.open_bank(bank.folder)
    assert opened is not None
    assert opened.digest() == bank.digest()
    with pytest.raises(ConfigurationError, match="give its store"):
        project.open_bank(None)
    other = tiny_store(tmp_path / "other", seed=5)
    with pytest.raises(IntegrityError, match="is not the public bank") as caught:
        project.open_bank(other.folder)
    assert caught.value.outward == "public bank differs from the project's"


def test_a_bank_with_a_changed_pixel_is_refused(project: Project, bank: Store, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(bank.folder, tmp_path / "bank"))
    content = bytearray((changed / IMAGES).read_bytes())
    content[0] ^= 1
    (changed / IMAGES).write_bytes(content)
    with pytest.raises(IntegrityError, match=IMAGES):
        project.open_bank(changed)


def test_a_project_without_anchors_opens_no_bank(tmp_path: Path, bank: Store) -> None:
    spec = tiny_spec(data__anchor_pairs=0)
    alone = create_project(tmp_path / "alone", spec, sites=[*SITES], bank=None)
    assert alone.manifest.bank_sha256 is None
    assert alone.open_bank(None) is None
    assert alone.open_bank(bank.folder) is None
    lent = create_project(tmp_path / "lent", spec, sites=[*SITES], bank=bank)
    assert lent.manifest.bank_sha256 is None


def test_every_run_starts_from_the_same_weights_which_do_not_share_memory(project: Project) -> None:
    model = project.fresh_model()
    weights = weights_of(model)
    assert digest_weights(weights) == digest_weights(weights_of(open_project(project.folder).fresh_model()))
    assert list(weights) == list(model.state_dict())
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    assert digest_weights(weights) != digest_weights(weights_of(model))


def test_whoever_has_a_model_builds_no_other_one_to_know_its_layout(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pretrained tower takes seconds to load."""
    opened = open_project(project.folder)
    weights = weights_of(opened.fresh_model())
    monkeypatch.delattr("common.project.build_model")
    assert opened.layout == Layout.of(weights)
    with pytest.raises(NameError):
        _ = open_project(project.folder).layout


def test_the_manifest_says_all_that_is_approved(project: Project) -> None:
    said = json.loads((project.folder / MANIFEST).read_text())
    digests = {
        "spec_sha256",
        "tokenizer_sha256",
        "bank_sha256",
        "roster_sha256",
        "pretrained_sha256",
        "ontology_sha256",
    }
    assert said.keys() == {"format", "name", "sites"} | digests
    assert said["roster_sha256"] is None
    assert said["pretrained_sha256"] == {}

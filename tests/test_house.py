"""What holds for the repository as a whole: locks, the Flower bundle, the commands, the documents."""

import ast
import importlib
import re
import shlex
import subprocess
import sys
import tomllib
import warnings
import zipfile
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import Any

import click
import pytest
import typer
from click.testing import CliRunner
from flwr.cli.build import build_fab_from_files
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from common import errors
from server.flower_app import app_folder, build_app

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
ENTRY_POINTS: dict[str, str] = PROJECT["scripts"]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "deploy/README.md")
RUN, DEVELOP = "requirements.lock", "requirements-dev.lock"

PACKAGES = ("client", "common", "server", "simulations")
PEERS = {"open_clip", "open_clip_train"}
"""What a benchmark installs by itself into a folder of its own, to be measured beside."""
PACKAGED = re.compile(rf"({'|'.join(PACKAGES)})/.*\.py")

Locked = dict[str, str]


def tracked() -> list[str]:
    """Paths of the files in version control, those about to be added included."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    names = [name for name in listed.stdout.decode().split("\0") if name]
    return [name for name in names if (ROOT / name).is_file()]


# --- locks -------------------------------------------------------------------------------------------------


def lines_of(lock: str) -> list[str]:
    return (ROOT / lock).read_text().splitlines()


def locked(lock: str) -> Locked:
    """Normalised name -> version."""
    pairs = (line.partition(";")[0].split("==") for line in lines_of(lock))
    return {canonicalize_name(name): version for name, version in pairs}


def direct(*extras: str) -> list[Requirement]:
    """What pyproject.toml asks for itself."""
    optional = PROJECT["optional-dependencies"]
    listed = [*PROJECT["dependencies"], *(line for extra in extras for line in optional[extra])]
    return [Requirement(line) for line in listed]


def closure(requirements: list[Requirement]) -> set[str]:
    """Normalised names of all that `requirements` need on this machine, as the installed packages say."""
    waiting = list(requirements)
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement = waiting.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        for line in metadata.requires(name) or []:
            needed = Requirement(line)
            if needed.marker is None or any(
                needed.marker.evaluate({"extra": extra}) for extra in ("", *extras)
            ):
                waiting.append(needed)
    return {name for name, _ in seen}


@pytest.mark.parametrize("lock", [RUN, DEVELOP])
def test_every_line_of_a_lock_pins_one_package_to_one_public_version(lock: str) -> None:
    for line in lines_of(lock):
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][0-9A-Za-z.]*(; [^;]+)?", line), line
    assert len(locked(lock)) == len(lines_of(lock))


def test_developers_have_all_that_users_have_in_the_same_versions() -> None:
    assert locked(RUN).items() <= locked(DEVELOP).items()


@pytest.mark.parametrize(("lock", "extras"), [(RUN, ()), (DEVELOP, ("dev", "ray"))])
def test_a_direct_dependency_is_locked_within_its_range(lock: str, extras: tuple[str, ...]) -> None:
    pinned = locked(lock)
    for requirement in direct(*extras):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement} is not in {lock}"
        assert requirement.specifier.contains(version), f"{requirement}, but {lock} has {version}"


@pytest.mark.parametrize(("lock", "extras"), [(RUN, ()), (DEVELOP, ("dev", "ray"))])
def test_a_lock_leaves_no_dependency_of_a_dependency_open(lock: str, extras: tuple[str, ...]) -> None:
    assert sorted(closure(direct(*extras)) - set(locked(lock))) == []


def imported(name: str) -> set[str]:
    """Top-level names that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / name).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_whatever_the_packages_import_is_asked_for_by_name() -> None:
    asked = {canonicalize_name(requirement.name) for requirement in direct("ray", "opacus")}
    brought_by = metadata.packages_distributions()
    names = {module for name in tracked() if PACKAGED.match(name) for module in imported(name)}
    undeclared = {
        module
        for module in names - sys.stdlib_module_names - set(PACKAGES) - PEERS
        if not asked & {canonicalize_name(each) for each in brought_by.get(module, [])}
    }
    assert undeclared == set()


def test_the_wheel_is_built_by_the_version_of_the_lock() -> None:
    pinned = locked(DEVELOP)
    for line in PYPROJECT["build-system"]["requires"]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)])


def test_these_tests_run_on_the_locked_versions() -> None:
    pinned = locked(DEVELOP)
    found = {name: Version(metadata.version(name)).public for name in closure(direct("dev", "ray"))}
    assert {
        name: (version, pinned.get(name)) for name, version in found.items() if version != pinned.get(name)
    } == {}


# --- files -------------------------------------------------------------------------------------------------

ELSEWHERE = re.compile(
    "|".join(
        [
            r"(?<![\w.])/(?:work|root|home|Users|opt|mnt|scratch)/\w",  # a folder of one machine
            r"\b(?:test\.)?pypi\.(?:org|python)",
            r"\bpythonhosted\.",
            r"\bpytorch\.org/whl",
        ]
    )
)
"""Places that another machine does not have, or must not be sent to."""

NOT_A_NOUN = {"util", "utils", "helper", "helpers", "misc", "common_utils", "stuff"}


def test_no_file_names_a_machines_folder_or_a_package_index() -> None:
    found = []
    for name in tracked():
        content = (ROOT / name).read_bytes()
        if b"\0" in content or name == Path(__file__).relative_to(ROOT).as_posix():
            continue
        found += [f"{name}: {match[0]}" for match in ELSEWHERE.finditer(content.decode())]
    assert found == []


def test_every_module_is_named_for_what_it_holds() -> None:
    assert [
        name for name in tracked() if NOT_A_NOUN & {part.split(".")[0] for part in Path(name).parts}
    ] == []


def test_modules_of_the_packages_stay_below_600_lines() -> None:
    modules = [name for name in tracked() if PACKAGED.match(name)]
    assert modules
    assert {name: n for name in modules if (n := len((ROOT / name).read_text().splitlines())) >= 600} == {}


# --- the bundle --------------------------------------------------------------------------------------------

BESIDE = {"pyproject.toml", "LICENSE", ".info/CONTENT"}
"""What lies in a bundle besides code; the last is Flower's own manifest."""


def contents(fab: bytes) -> set[str]:
    return set(zipfile.ZipFile(BytesIO(fab)).namelist())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return build_app(app_folder(tmp_path_factory.mktemp("app"))).fab


def test_every_pattern_of_the_bundle_matches_something() -> None:
    for pattern in PYPROJECT["tool"]["flwr"]["app"]["fab-include"]:
        assert any(ROOT.glob(pattern)), pattern


def test_the_bundle_holds_all_code_of_hospital_and_hub_and_nothing_else(bundle: bytes) -> None:
    code = {name for name in tracked() if re.fullmatch(r"(client|server)/.*\.py|common/.*\.(py|toml)", name)}
    assert contents(bundle) == code | BESIDE


def test_the_repository_and_the_app_folder_give_the_same_bytes(bundle: bytes) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="GitWildMatchPattern", category=DeprecationWarning)
        built, _ = build_fab_from_files({name: ROOT / name for name in tracked()})
    assert built == bundle


# --- commands ----------------------------------------------------------------------------------------------


def command(program: str) -> click.Command:
    """The click command behind an entry point."""
    module = ENTRY_POINTS[program].partition(":")[0]
    return typer.main.get_command(importlib.import_module(module).cli)


def subcommands(parent: click.Command, words: tuple[str, ...] = ()) -> dict[tuple[str, ...], click.Command]:
    """Words after the program's name -> command; () is the program itself."""
    found = {words: parent}
    if isinstance(parent, click.Group):
        for name, child in parent.commands.items():
            found |= subcommands(child, (*words, name))
    return found


@pytest.mark.parametrize("program", ENTRY_POINTS)
def test_every_command_explains_itself(program: str) -> None:
    for words, each in subcommands(command(program)).items():
        answer = CliRunner().invoke(each, ["--help"], prog_name=" ".join([program, *words]))
        assert answer.exit_code == 0, (program, words, answer.output)
        assert each.help, (program, words)


@pytest.mark.parametrize("program", ENTRY_POINTS)
def test_every_program_is_installed_and_starts(program: str) -> None:
    answer = subprocess.run(
        [Path(sys.executable).parent / program, "--help"], capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    assert program in answer.stdout


# --- documents ---------------------------------------------------------------------------------------------


def commands_in(document: str) -> list[list[str]]:
    """The words of every command line in the document's shell blocks, continued lines joined."""
    text = (ROOT / document).read_text()
    blocks = re.findall(r"^```(?:sh|bash)\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def targets() -> set[str]:
    """What `make` can be asked for."""
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


def complaint(words: list[str]) -> str | None:
    """Why a documented command line cannot work, or None; programs that are not ours are left alone."""
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    program = Path(words[0]).name
    if program == "make":
        unknown = [word for word in words[1:] if "=" not in word and word not in targets()]
        return f"make has no {unknown}" if unknown else None
    if words[0].startswith(("deploy/", ".ci/")):
        return None if (ROOT / words[0]).is_file() else "no such script"
    return wrong_use(command(program), words[1:]) if program in ENTRY_POINTS else None


def wrong_use(parent: click.Command, words: list[str]) -> str | None:
    """What is wrong with the subcommand or the options of a line."""
    while isinstance(parent, click.Group) and words and not words[0].startswith("-"):
        if words[0] not in parent.commands:
            return f"no command {words[0]}"
        parent, words = parent.commands[words[0]], words[1:]
    known = {option for parameter in parent.params for option in (*parameter.opts, *parameter.secondary_opts)}
    unknown = [
        word for word in words if word.startswith("--") and word.split("=")[0] not in {*known, "--help"}
    ]
    return f"no option {unknown}" if unknown else None


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_in_the_documents_exists(document: str) -> None:
    assert {" ".join(words): why for words in commands_in(document) if (why := complaint(words))} == {}


def test_the_readme_shows_commands_at_all() -> None:
    shown = {Path(words[0]).name for words in commands_in("README.md")}
    assert {"make", "fedvlp-site", "fedvlp-sim"} <= shown


def test_a_command_that_does_not_exist_would_be_noticed() -> None:
    assert complaint(["make", "coffee"])
    assert complaint(["fedvlp-site", "teleport", "--store", "x"])
    assert complaint(["fedvlp-site", "ingest", "--dicmo", "x"])
    assert complaint(["deploy/global.sh"])


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_that_a_document_names_is_there(document: str) -> None:
    text = (ROOT / document).read_text()
    linked = re.findall(r"\]\((?!https?://|#)([^)#]+)", text)
    named = re.findall(r"\b(?:simulations|deploy|tests)/[\w./-]+\.(?:toml|sh|py|md)\b", text)
    missing = [path for path in linked if not ((ROOT / document).parent / path).exists()]
    assert missing + [path for path in named if not (ROOT / path).exists()] == []


def test_the_readme_lists_the_exit_codes_that_the_errors_have() -> None:
    kinds: list[Any] = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in kinds if issubclass(kind, errors.FederationError)}
    listed = re.findall(r"^\| (\d+) \|", (ROOT / "README.md").read_text(), flags=re.MULTILINE)
    assert {int(code) for code in listed} == codes | {0, 130}


def test_the_changelog_knows_this_version() -> None:
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text()

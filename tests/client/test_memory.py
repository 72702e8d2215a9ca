"""How much memory a process may have, in a container and outside of one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from client.memory import memory_here

MIB = 1 << 20
GROUPS_1 = Path("/sys/fs/cgroup/memory")
GROUPS_2 = Path("/sys/fs/cgroup")
NONE_1 = (1 << 63) - 4096
"""What version 1 says where there is no limit."""


def system(root: Path, *, group: str, mounts: str, **files: str | int) -> Path:
    """A tree with /proc/self and the files of groups; a file's folders are parted by two underscores."""
    own = root / "proc" / "self"
    own.mkdir(parents=True)
    (own / "cgroup").write_text(group)
    (own / "mountinfo").write_text(mounts)
    for name, content in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/").replace("memory_", "memory.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def version_2(top: str = "/") -> str:
    return f"31 23 0:28 {top} /sys/fs/cgroup ro,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"


def version_1(top: str = "/") -> str:
    return (
        "30 23 0:27 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
        f"35 31 0:32 {top} /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
    )


def test_a_machine_without_groups_gives_all_it_has(tmp_path: Path) -> None:
    assert memory_here(tmp_path).total == psutil.virtual_memory().total


def test_a_container_gives_its_limit_and_counts_page_cache_as_free(tmp_path: Path) -> None:
    root = system(
        tmp_path,
        group="0::/\n",
        mounts=version_2(),
        memory_max=64 * MIB,
        memory_current=50 * MIB,
        memory_stat=f"anon {20 * MIB}\ninactive_file {30 * MIB}",
    )
    memory = memory_here(root)
    assert (memory.total, memory.available) == (64 * MIB, 44 * MIB)


def test_the_narrowest_group_above_decides(tmp_path: Path) -> None:
    root = system(
        tmp_path,
        group="0::/pod/app\n",
        mounts=version_2(),
        pod__memory_max=32 * MIB,
        pod__app__memory_max="max",
    )
    assert memory_here(root).total == 32 * MIB


@pytest.mark.parametrize("top", ["/", "/docker/abc"])
def test_version_1_is_read_with_the_host_s_paths_and_without(tmp_path: Path, top: str) -> None:
    """A container of version 1 sees its path on the host, and its own group at the mount's top."""
    root = system(
        tmp_path,
        group="9:name=systemd:/\n4:memory:/docker/abc\n1:cpu:/docker/abc\n",
        mounts=version_1(top),
        **{
            ("memory__" if top != "/" else "memory__docker__abc__") + "memory_limit_in_bytes": 48 * MIB,
            "cpu__memory_limit_in_bytes": MIB,
        },
    )
    assert memory_here(root).total == 48 * MIB


@pytest.mark.parametrize("limit", [NONE_1, 1 << 50])
def test_a_limit_above_the_machine_changes_nothing(tmp_path: Path, limit: int) -> None:
    root = system(tmp_path, group="4:memory:/\n", mounts=version_1(), memory__memory_limit_in_bytes=limit)
    assert memory_here(root).total == psutil.virtual_memory().total


@pytest.fixture
def group() -> Iterator[Path]:
    """A real control group of this machine with a limit of 512 MiB."""
    first = (GROUPS_1 / "memory.limit_in_bytes").exists()
    folder = (GROUPS_1 if first else GROUPS_2) / f"fedvlp-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(512 * MIB))
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error.strerror}")
    yield folder
    folder.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="control groups are made by root")
def test_a_process_in_a_real_group_sees_its_limit(group: Path) -> None:
    enter = f"open({str(group / 'cgroup.procs')!r}, 'w').write('0')"
    program = f"{enter}; from client.memory import memory_here; print(memory_here().total)"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert said.stdout.strip() == str(512 * MIB), said.stderr

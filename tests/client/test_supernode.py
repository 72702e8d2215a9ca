"""The site's SuperNode keeps its memory and its connections to itself."""

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, runpy
from flwr.supernode import cli

PR_GET_DUMPABLE = 3
cli.flower_supernode = lambda: print("dumpable:", ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0))
runpy.run_module("client.supernode", run_name="__main__")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux hides a process's memory")
def test_no_other_process_of_its_account_may_look_into_it_once_flower_s_part_begins() -> None:
    said = subprocess.run([sys.executable, "-P", "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert said.stdout == "dumpable: 0\n"

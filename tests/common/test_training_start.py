"""The first local step of a process: torch's compiler is not imported, and nothing else changes."""

import subprocess
import sys

import torch

from common.seeds import seed_chance
from common.training.optimizer import BETAS, AdamW

FIRST_STEP = """
import sys
import torch
import client.app
from common.seeds import seed_chance
from common.spec.train import TrainSpec
from common.training.device import repeatable
from common.training.optimizer import AdamW

weight = torch.nn.Parameter(torch.ones(3))
with repeatable(TrainSpec(local_steps=1, learning_rate=1e-3), torch.device("cpu")):
    seed_chance(1)
    optimizer = AdamW([weight], fused=True)
    optimizer.zero_grad()
    weight.sum().backward()
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
print("torch._dynamo" in sys.modules)
"""


def test_the_first_step_of_a_process_imports_no_compiler() -> None:
    found = subprocess.run([sys.executable, "-c", FIRST_STEP], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False"], found.stdout


def test_adamw_is_torchs_to_the_bit() -> None:
    ends = []
    for kind in (AdamW, torch.optim.AdamW):
        weight = torch.nn.Parameter(torch.linspace(-1, 1, 7))
        optimizer = kind([weight], lr=1e-2, betas=BETAS, weight_decay=0.1, fused=True)
        for step in range(5):
            optimizer.zero_grad()
            (weight.sin() * (step + 1)).sum().backward()
            optimizer.step()
        ends.append(weight.detach().clone())
    assert torch.equal(*ends)


def test_seeding_draws_as_torch_does() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2**62 + 1)
        wanted = torch.rand(5)
        seed_chance(2**62 + 1)
        assert torch.equal(torch.rand(5), wanted)

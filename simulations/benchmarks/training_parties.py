"""Who trains in the training benchmark: this project, open_clip and plain transformers, each in its own loop.

All build a two-tower model of the same widths, depths and batch, and train it on the same pairs. Ours is
grey, has a convolution over neighbouring words and no class token; counts of parameters are reported.
"""

import torch

from simulations.benchmarks.training_others import open_clip_party, transformers_party
from simulations.benchmarks.training_ours import our_party
from simulations.benchmarks.training_party import Party, PartyName, Setting, Shape


def build_party(name: PartyName, shape: Shape, setting: Setting) -> Party:
    """The party `name`, ready to train."""
    torch.set_num_threads(setting.threads)
    torch.manual_seed(0)
    builders = {"ours": our_party, "open_clip": open_clip_party, "transformers": transformers_party}
    return builders[name](shape, setting)

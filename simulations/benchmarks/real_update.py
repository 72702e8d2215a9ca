"""Updates of a model that really trained, to judge how exact the integer mean is."""

import tempfile
from pathlib import Path

import numpy as np
import torch

from client.round import Site, open_site, train_locally
from common.project import Project, create_project, weights_of
from common.update import ProfileName, Vector, add_packed, mean_update, pack, quantise
from server.checkpoint import next_clips
from simulations.benchmarks.small_federation import small_spec, small_stores

SITES, STEPS = 10, 4


def relative_error(profile: ProfileName) -> float:
    """L2 norm of the difference between the integer mean and the float64 mean, over that of the mean.

    The second round of a small federation, whose bounds follow from the first as in every run.
    """
    with tempfile.TemporaryDirectory(prefix="fedvlp-bench-") as name:
        folder = Path(name)
        stores = small_stores(folder, sites=SITES)
        spec = small_spec(sites=SITES, rounds=2, local_steps=STEPS)
        federation = spec.federation.model_copy(update={"profile": profile})
        spec = spec.model_copy(update={"federation": federation})
        project = create_project(folder / "project", spec, sites=list(stores), bank=None)
        sites = [
            open_site({"site": site, "store": str(store), "project": str(project.folder)})
            for site, store in stores.items()
        ]
        start = project.layout.flatten(weights_of(project.fresh_model()))
        first = np.mean([_update(site, start, 1) for site in sites], axis=0)
        clips = next_clips(first, project.layout, lowest=1e-6)
        return _error([_update(site, start + first, 2) for site in sites], clips, project)


def _update(site: Site, weights: Vector, number: int) -> Vector:
    """What the site's training from `weights` changes."""
    model, layout = site.project.fresh_model(), site.project.layout
    model.load_state_dict({name: torch.tensor(array) for name, array in layout.unflatten(weights).items()})
    train_locally(site, model, number)
    return layout.flatten(weights_of(model)) - weights


def _error(updates: list[Vector], clips: Vector, project: Project) -> float:
    total = project.profile.zeros(len(updates[0]))
    for place, update in enumerate(updates):
        quantised, _ = quantise(
            update, clips, project.layout, project.profile, seed=0, site=str(place), round_number=2
        )
        add_packed(total, pack(quantised, project.profile), project.profile)
    found = mean_update(total, clips, project.layout, project.profile, weight=float(len(updates)))
    exact = np.mean(np.stack(updates).astype(np.float64), axis=0)
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))

"""Every variant with every seed, trained on pooled rows, and the figures of its model.

OUT/seed-N/project/        tokenizer and spec
OUT/seed-N/VARIANT.json    figure -> value; written last
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common.data.batch import Batch
from common.data.batches import Batches, fixed_batches
from common.data.corpus import Corpus, pool, read_corpus, reading_of
from common.errors import InputRefusedError
from common.evaluation.metrics import auroc
from common.evaluation.retrieval import Retrieval, retrieval
from common.files import write_whole
from common.model.vlp import VLPModel, build_model
from common.objectives.prototypes import Prototypes
from common.objectives.targets import positives_of, target_of
from common.project import Project
from common.seeds import derive_seed
from common.spec.run import Spec
from common.store import Split, Store
from common.training.trainer import train
from server.evaluation import ROWS_AT_ONCE, Evaluator
from simulations.pooled_study.measures import (
    Names,
    mass_on_alike,
    probe_auroc,
    shared_information,
    siblings,
)
from simulations.pooled_study.plan import PooledPlan
from simulations.pooled_study.rows import chosen_rows
from simulations.study_project import study_project

Figures = dict[str, float]
"""Name of a figure -> its value; nan where a variant has none."""

Found = dict[str, dict[int, Figures]]
"""Variant -> seed -> figures."""

LOOKED_AT = 20
"""Training batches whose positives are counted."""


def run_pooled_study(
    plan: PooledPlan,
    specs: Mapping[str, Spec],
    *,
    sites: Mapping[str, Path],
    bank: Path | None,
    out: Path,
    on_done: Callable[[str], None] = lambda _: None,
) -> Found:
    """Train what `out` does not hold yet, all variants with one seed before the next, and read everything.

    Args:
        plan: of the study.
        specs: of its variants.
        sites: name -> store.
        bank: store of the public bank.
        out: goes on where it was stopped.
        on_done: told the name of each model that is there.

    Raises:
        FederationError: as the stages say; what is finished stays.
    """
    found: Found = {name: {} for name in plan.variants}
    for seed in plan.seeds_of(plan.reference):
        cohort: _Cohort | None = None
        for name, spec in specs.items():
            if seed not in plan.seeds_of(name):
                continue
            path = out / f"seed-{seed}" / f"{name}.json"
            if not path.exists():
                cohort = cohort or _open(path.parent / "project", plan, specs, seed, sites, bank)
                figures = cohort.figures(name, spec.model_copy(update={"seed": seed}))
                write_whole(path, (json.dumps(figures, indent=2) + "\n").encode())
            found[name][seed] = json.loads(path.read_text())
            on_done(f"seed {seed}, {name}")
    return found


def _open(
    folder: Path,
    plan: PooledPlan,
    specs: Mapping[str, Spec],
    seed: int,
    sites: Mapping[str, Path],
    bank: Path | None,
) -> "_Cohort":
    missing = sorted(set(plan.class_sites) - set(sites))
    if missing:
        raise InputRefusedError(f"class_sites names {missing[0]}, which is no --site")
    spec = specs[plan.reference].model_copy(update={"seed": seed})
    public = None if bank is None else Store(bank)
    project = study_project(folder, spec, sites=sites, bank=public)
    stores = {name: Store(path) for name, path in sorted(sites.items())}
    return _Cohort(plan, project, stores, public, Evaluator(project, dict(sites)))


@dataclass(frozen=True)
class _Cohort:
    """All rows of one project, and who judges its models."""

    plan: PooledPlan
    project: Project
    stores: Mapping[str, Store]
    bank: Store | None
    evaluator: Evaluator

    def figures(self, name: str, spec: Spec) -> Figures:
        """Train one variant, and measure it."""
        model = build_model(spec, self.project.tokenizer.vocabulary_size)
        batches = self._batches(name, spec)
        train(model, batches, spec, first_step=0, steps=self.plan.steps, total_steps=self.plan.steps)
        model.eval()
        with torch.no_grad():
            held = _Held.of(self, spec, model)
            learned = _Held.of(self, spec, model, split="train", sites=self.plan.class_sites)
        return {
            **self._zero_shot(model),
            **held.retrieval(),
            **self._of_images(model, held, learned),
            **self._of_targets(spec, batches, learned),
            **held.guesses(model),
        }

    def corpus(self, spec: Spec, store: Store, split: Split | None) -> Corpus:
        """The rows of one store."""
        reading = reading_of(spec, self.project.ontology)
        return read_corpus(
            store, split, self.project.tokenizer, preparation=spec.preparation, reading=reading
        )

    def _batches(self, name: str, spec: Spec) -> Batches:
        private = pool([self.corpus(spec, store, "train") for store in self.stores.values()])
        private = chosen_rows(private, self.plan.variants[name].rows, spec.seed)
        anchors = None if self.bank is None else self.corpus(spec, self.bank, None)
        return Batches(spec, self.project.tokenizer, private, anchors, "all")

    def _zero_shot(self, model: VLPModel) -> Figures:
        tasks = self.evaluator.answers_of(model)
        found = {task.name: auroc(task.scores, task.truth == 1) for task in tasks}
        return {"zero-shot AUROC": float(np.mean(list(found.values()))), **found}

    def _of_images(self, model: VLPModel, held: "_Held", learned: "_Held") -> Figures:
        asked = np.isin(held.site, self.plan.class_sites)
        gap, rank = siblings(held.image, held.study)
        shared = math.nan
        if "prototypes" in model.objectives:
            objective = model.objectives["prototypes"]
            assert isinstance(objective, Prototypes)
            chosen = (held.image[asked] @ objective.directions.detach().T).argmax(dim=1)
            shared = shared_information(chosen.numpy(), held.label(self.plan.class_label)[asked])
        of_learned, of_held = (one.label(self.plan.class_label) for one in (learned, held))
        return {
            "probe AUROC": probe_auroc(learned.pooled, of_learned, held.pooled[asked], of_held[asked]),
            "sibling cosine": gap,
            "sibling rank": rank,
            "prototypes and class": shared,
        }

    def _of_targets(self, spec: Spec, batches: Batches, learned: "_Held") -> Figures:
        contrast = spec.objectives.global_contrastive
        if contrast is None:
            return {}
        seen = [batches.at(step) for step in range(LOOKED_AT)]
        several = [positives_of(contrast.targets, batch, batch.paired).sum(dim=1) > 1 for batch in seen]
        paired = learned.batch.paired
        target = target_of(contrast.targets, learned.batch, paired)
        label, there = learned.label(self.plan.alike_label), paired.numpy()
        alike, other = mass_on_alike(target, label[there], learned.study[there])
        return {
            "rows with partners": float(torch.cat(several).float().mean()),
            "target on alike": alike,
            "target on others": other,
        }


@dataclass(frozen=True)
class _Held:
    """N rows of one split, whole reports and no augmentation, and what a model makes of them."""

    stores: Mapping[str, Store]
    split: Split
    batch: Batch
    image: Tensor
    """(N, E) unit rows, as the next."""
    text: Tensor
    pooled: Tensor
    """(N, D) before projection."""
    site: Names
    """(N,) names of sites."""
    study: Names
    """(N,) names of studies."""

    @classmethod
    def of(
        cls,
        cohort: _Cohort,
        spec: Spec,
        model: VLPModel,
        *,
        split: Split = "test",
        sites: tuple[str, ...] = (),
    ) -> "_Held":
        """Read the rows of `sites`, or of all, without what metadata tell, and embed them."""
        stores = {name: store for name, store in cohort.stores.items() if not sites or name in sites}
        data = spec.data.model_copy(update={"metadata_text": ()})
        spec = spec.model_copy(update={"data": data})
        rows = pool([cohort.corpus(spec, store, split) for store in stores.values()])
        whole = spec.model_copy(update={"data": data.model_copy(update={"batch_size": len(rows)})})
        (batch,) = fixed_batches(whole, cohort.project.tokenizer, rows, purpose=f"pooled {split}")
        parts = [
            batch.part(at, min(at + ROWS_AT_ONCE, len(rows))) for at in range(0, len(rows), ROWS_AT_ONCE)
        ]
        views = [model.views(part, frozenset({"image", "text"})) for part in parts]
        return cls(
            stores=stores,
            split=split,
            batch=batch,
            image=_joined([one.image_embedding for one in views]),
            text=_joined([one.text_embedding for one in views]),
            pooled=_joined([None if one.image is None else one.image.pooled for one in views]),
            site=np.concatenate([[name] * len(s.rows(split)) for name, s in stores.items()]).astype(object),
            study=np.concatenate([s.column("study")[s.rows(split)] for s in stores.values()]),
        )

    def label(self, name: str) -> Names:
        """(N,) the labels of one column, "" where a row has none.

        Raises:
            InputRefusedError: a store has no such labels.
        """
        found = []
        for site, store in self.stores.items():
            labels = store.labels()
            if labels is None or name not in labels.column_names:
                raise InputRefusedError(
                    f"store of {site} has no label '{name}': fedvlp-site label --column {name}"
                )
            column = np.full(len(store), "", dtype=object)
            column[labels.column("row").to_numpy()] = [
                value or "" for value in labels.column(name).to_pylist()
            ]
            found.append(column[store.rows(self.split)])
        return np.concatenate(found)

    def retrieval(self) -> Figures:
        """Images and reports of each hospital, the mean over hospitals and both directions."""
        found: list[Retrieval] = []
        for site in self.stores:
            at = (self.site == site) & self.batch.paired.numpy()
            texts = np.array([row.tobytes().hex() for row in self.batch.tokens[at].numpy()], dtype=object)
            found += retrieval(
                self.image[at].numpy(),
                self.text[at].numpy(),
                studies=self.study[at],
                texts=texts,
                patients=self.study[at],
                draws=1,
                seed=0,
            )
        return {
            "R@10": float(np.mean([one.recall[10].value for one in found])),
            "R@10 by chance": float(np.mean([one.chance[10] for one in found])),
            "rank": float(np.mean([one.percentile_rank.value for one in found])),
        }

    @torch.no_grad()
    def guesses(self, model: VLPModel) -> Figures:
        """What a hidden word piece costs, in nats, with its own image and with that of another row."""
        if "masked_language" not in model.objectives:
            return {}
        chance = np.random.default_rng(derive_seed(0, "others' images") % 2**32)
        others = torch.from_numpy(chance.permutation(len(self.batch)))
        turned = replace(self.batch, images=self.batch.images[others], has_image=self.batch.has_image[others])
        own, other = (model.losses(batch, ["masked_language"]) for batch in (self.batch, turned))
        cost, without = (losses["masked_language"].mean.item() for losses in (own, other))
        return {"cost of a piece": cost, "with another's image": without, "gain by the image": without - cost}


def _joined(parts: list[Tensor | None]) -> Tensor:
    there = [part.float() for part in parts if part is not None]
    assert len(there) == len(parts), "both towers were asked"
    return torch.cat(there)

"""Every objective of the taxonomy on the tiny federation, in all its kinds."""

from typing import Any

from tiny import tiny_spec

from common.spec.run import Spec

HEAD = {"decoder_width": 8, "decoder_heads": 2}
ENTITIES = {"alike": "entity_overlap", "hard_negative_weight": 2.0}

OBJECTIVES: dict[str, dict[str, Any]] = {
    "softmax": {"global_contrastive": {"targets": ENTITIES}},
    "sigmoid": {"global_contrastive": {"kind": "sigmoid", "targets": {"alike": "label_cosine"}}},
    "decoupled": {
        "global_contrastive": {
            "kind": "decoupled",
            "targets": {"alike": "report_similarity", "alike_temperature": 0.1},
        }
    },
    "bank": {"bank_contrastive": {}},
    "bank_by_labels": {"bank_contrastive": {"partner": "label_cosine", "partner_temperature": 0.1}},
    "bank_by_entities": {"bank_contrastive": {"partner": "entity_overlap"}},
    "cross_sample": {"local_contrastive": {"kind": "cross_sample", "width": 8}},
    "within_pair": {"local_contrastive": {"kind": "within_pair", "width": 8}},
    "prototypes": {"prototypes": {"prototypes": 4}},
    "two_views": {"two_views": {}},
    "multilinear": {"high_order": {}},
    "pairwise": {"high_order": {"kind": "pairwise"}},
    "masked_image": {"masked_image": HEAD},
    "masked_language": {"masked_language": {}},
    "masked_language_alone": {"masked_language": {"condition": "none", "ratio": 0.15}},
    "masked_language_fused": {"masked_language": {"condition": "fusion"}},
    "matching": {"image_text_matching": {}},
    "matching_easy": {"image_text_matching": {"hard_negatives": False}},
    "captioning": {"captioning": {}},
    "knowledge": {"knowledge": {}},
    "knowledge_of_silence": {"knowledge": {"silence_is_absence": True}},
    "distillation": {"global_contrastive": {}, "distillation": {}},
    "anchor": {"global_contrastive": {}, "anchor": {}},
    "proximal": {"global_contrastive": {}, "anchor": {"kind": "proximal"}},
}
"""A name for each -> its tables."""

EVERYTHING: dict[str, Any] = {
    "global_contrastive": {},
    "bank_contrastive": {},
    "local_contrastive": {"width": 8},
    "prototypes": {"prototypes": 4},
    "two_views": {},
    "high_order": {},
    "masked_image": HEAD,
    "masked_language": {},
    "image_text_matching": {},
    "captioning": {},
    "knowledge": {},
    "distillation": {},
    "anchor": {},
}
"""All objectives together."""


def taxonomy_spec(objectives: dict[str, Any], *, fusion: str = "late", **changes: Any) -> Spec:
    """The tiny spec with other objectives, and with the fusion, metadata and public pairs that they need."""
    public = 4 if "bank_contrastive" in objectives else 0
    return tiny_spec(
        **{
            "objectives": objectives,
            "model__fusion": {
                "kind": fusion,
                "width": 8,
                "depth": 1,
                "heads": 2,
                "pseudo_tokens": 2,
                "pseudo_pool": 4,
            },
            "model__metadata": {"width": 8, "buckets": 8},
            "data__public_negatives": public,
            **changes,
        }
    )

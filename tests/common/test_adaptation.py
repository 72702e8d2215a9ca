"""Adapters: they start as nothing, they alone are trained and exchanged, an export has them merged."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import SITES, tiny_spec
from torch import nn

from common.data.batches import Batches
from common.data.corpus import Corpus
from common.errors import ConfigurationError
from common.model.adaptation import adapt, merged_state
from common.model.vlp import build_model
from common.model_folder import write_model
from common.project import Project, create_project, weights_of
from common.seeds import generator
from common.store import Store
from common.training.trainer import train


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory, bank: Store) -> Project:
    spec = tiny_spec(model__adaptation={"rank": 2, "alpha": 4})
    return create_project(tmp_path_factory.mktemp("adapted") / "project", spec, sites=[*SITES], bank=bank)


def test_an_adapter_starts_as_nothing(adapted: Project, project: Project) -> None:
    images = torch.rand(2, 1, 16, 16)
    tokens, mask = project.tokenizer.encode(["opacity on the left", "clear"], max_tokens=24)
    fresh, plain = adapted.fresh_model(), project.fresh_model()
    with torch.no_grad():
        torch.testing.assert_close(fresh.embed_images(images), plain.embed_images(images))
        torch.testing.assert_close(fresh.embed_texts(tokens, mask), plain.embed_texts(tokens, mask))


def test_fresh_adapters_are_a_function_of_the_seed(adapted: Project) -> None:
    torch.manual_seed(0)
    one = weights_of(adapted.fresh_model())
    torch.manual_seed(1)
    other = weights_of(adapted.fresh_model())
    assert all((one[name] == other[name]).all() for name in one)
    assert any(weights.any() for name, weights in one.items() if "lora_A" in name)


def test_adapters_and_heads_alone_are_exchanged_and_all_else_stays(
    adapted: Project, corpus: Corpus, anchors: Corpus
) -> None:
    model = adapted.fresh_model()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    batches = Batches(adapted.spec, adapted.tokenizer, corpus, anchors, "east")
    train(model, batches, adapted.spec, first_step=0, steps=3, total_steps=9)
    sent = set(adapted.layout.names)
    assert sent == set(weights_of(model))
    assert all("lora_" in name or not name.startswith(("image.", "text.")) for name in sent)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name]) == (name not in sent), name
    again = adapted.fresh_model()
    again.load_exchanged({name: torch.from_numpy(array) for name, array in weights_of(model).items()})
    for name, weight in again.state_dict().items():
        assert torch.equal(weight, model.state_dict()[name]), name


@pytest.fixture(scope="module")
def prompted(tmp_path_factory: pytest.TempPathFactory, bank: Store) -> Project:
    spec = tiny_spec(model__adaptation={"kind": "prompt", "prompt_tokens": 3})
    return create_project(tmp_path_factory.mktemp("prompted") / "project", spec, sites=[*SITES], bank=bank)


def test_prompts_and_heads_alone_are_exchanged_and_all_else_stays(
    prompted: Project, project: Project, corpus: Corpus, anchors: Corpus
) -> None:
    model = prompted.fresh_model()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    plain = project.fresh_model().state_dict()
    assert {name for name in before if name not in plain} == {"image.prompts", "text.prompts"}
    assert all(torch.equal(before[name], weight) for name, weight in plain.items()), "the towers start alike"
    batches = Batches(prompted.spec, prompted.tokenizer, corpus, anchors, "east")
    train(model, batches, prompted.spec, first_step=0, steps=3, total_steps=9)
    sent = set(prompted.layout.names)
    towers = {name for name in sent if name.startswith(("image.", "text."))}
    assert towers == {"image.prompts", "text.prompts"}
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, before[name]) == (name not in sent), name


def test_prompts_are_read_whatever_stands_before_them_and_never_handed_out(prompted: Project) -> None:
    model = prompted.fresh_model().eval()
    tokens, mask = prompted.tokenizer.encode(["opacity on the left", "clear"], max_tokens=24)
    images, keep = torch.rand(2, 1, 16, 16), torch.tensor([[0, 3], [1, 2]])
    with torch.no_grad():
        for block in (*model.image.blocks, *model.text.blocks):
            torch.nn.init.normal_(block.out.weight)
        seen, read = model.image(images, keep), model.text(tokens, mask)
        assert seen.x.shape[:2] == seen.mask.shape == (2, 2)
        assert read.x.shape[:2] == read.mask.shape == tokens.shape
        padded = model.text(torch.nn.functional.pad(tokens, (0, 2)), torch.nn.functional.pad(mask, (0, 2)))
        torch.testing.assert_close(padded.pooled, read.pooled)
        for tower in (model.image, model.text):
            tower.prompts.add_(torch.randn(tower.prompts.shape))
        assert not torch.allclose(model.image(images, keep).pooled, seen.pooled)
        assert not torch.allclose(model.text(tokens, mask).pooled, read.pooled)


def test_an_export_keeps_its_prompts(prompted: Project, tmp_path: Path) -> None:
    import common.export  # noqa: F401 - registers the model

    transformers = pytest.importorskip("transformers")
    model = prompted.fresh_model().eval()
    write_model(tmp_path / "export", prompted, prompted.layout.flatten(weights_of(model)))
    loaded: Any = transformers.AutoModel.from_pretrained(tmp_path / "export", local_files_only=True).eval()
    images = torch.rand(2, 1, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(loaded.get_image_features(images), model.embed_images(images))


def test_a_resnet_has_no_tokens_to_prompt() -> None:
    with pytest.raises(ConfigurationError, match="needs towers of tokens"):
        tiny_spec(model__adaptation={"kind": "prompt"}, model__image__encoder="resnet")


def test_an_export_needs_no_adapters(
    adapted: Project, corpus: Corpus, anchors: Corpus, tmp_path: Path
) -> None:
    import common.export  # noqa: F401 - registers the model

    transformers = pytest.importorskip("transformers")
    model = adapted.fresh_model()
    batches = Batches(adapted.spec, adapted.tokenizer, corpus, anchors, "east")
    train(model, batches, adapted.spec, first_step=0, steps=3, total_steps=9)
    write_model(tmp_path / "export", adapted, adapted.layout.flatten(weights_of(model)))
    loaded: Any = transformers.AutoModel.from_pretrained(tmp_path / "export", local_files_only=True).eval()
    assert not any("lora" in name for name in loaded.state_dict())
    images = torch.rand(2, 1, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(
            loaded.get_image_features(images), model.eval().embed_images(images), rtol=1e-4, atol=1e-5
        )


def test_one_tower_may_be_adapted_alone(tmp_path: Path, bank: Store) -> None:
    spec = tiny_spec(model__adaptation={"towers": ["text"]})
    names = create_project(tmp_path / "p", spec, sites=[*SITES], bank=bank).layout.names
    assert "image.patch.weight" in names
    assert "text.embedding.weight" not in names


def test_a_tower_named_twice_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="names a tower twice"):
        tiny_spec(model__adaptation={"towers": ["text", "text"]})


def test_a_convolution_gets_an_adapter_and_one_over_single_channels_none() -> None:
    spec = tiny_spec(
        model__image={"encoder": "resnet", "width": 8, "depth": 1}, model__adaptation={"rank": 1, "alpha": 4}
    )
    model = build_model(spec, 64)
    model.image.alone = nn.Conv2d(8, 8, 3, groups=8)
    plain = {path for path, part in model.image.named_modules() if isinstance(part, nn.Conv2d)}
    adapt(model, spec)
    given = {name.removesuffix(".lora_A.default.weight") for name, _ in model.image.named_parameters()}
    assert given & plain == plain - {"alone"}


def test_a_model_with_adapters_in_its_convolutions_says_the_same_without_them() -> None:
    spec = tiny_spec(
        model__image={"encoder": "resnet", "width": 8, "depth": 1}, model__adaptation={"rank": 2, "alpha": 4}
    )
    model, images = build_model(spec, 64), torch.rand(2, 1, 16, 16)
    adapt(model, spec)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.1, generator=generator(0, name))
    plain = build_model(spec, 64).eval()
    with torch.no_grad():
        said, before = model.eval().embed_images(images), plain.embed_images(images)
        plain.load_state_dict(merged_state(model))
        torch.testing.assert_close(plain.embed_images(images), said, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(before, said, atol=1e-2)

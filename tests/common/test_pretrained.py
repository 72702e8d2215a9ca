"""Towers from Hugging Face folders: small ones that the tests save, loaded offline."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from saved_towers import save_bert
from tiny import PREPARATION, SITES, tiny_spec, tiny_store
from torch import nn

from common.data.batches import Batches
from common.data.corpus import read_corpus, reading_of
from common.errors import ConfigurationError, IntegrityError
from common.model.pretrained import PretrainedImage, PretrainedText
from common.model_folder import write_model
from common.project import Project, create_project, open_project, weights_of
from common.text.tokenizer import SPECIAL_TOKENS

transformers = pytest.importorskip("transformers")

PIECES = [
    "[PAD]",
    "un",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "opacity",
    "left",
    "right",
    "##s",
    "the",
    "on",
    ".",
]
"""As old repositories have them: special tokens not first."""

IMAGE_TOWERS = {
    "vit": lambda: transformers.ViTModel(
        transformers.ViTConfig(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32,
            patch_size=4,
        )
    ),
    "dinov2": lambda: transformers.Dinov2Model(
        transformers.Dinov2Config(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=4
        )
    ),
    "resnet": lambda: transformers.ResNetModel(
        transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic")
    ),
    "convnext": lambda: transformers.ConvNextModel(
        transformers.ConvNextConfig(hidden_sizes=[8], depths=[1], num_stages=1)
    ),
    "clip": lambda: transformers.CLIPModel(
        transformers.CLIPConfig(
            vision_config={
                "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                "image_size": 16, "patch_size": 4,
            },
            text_config={
                "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                "vocab_size": 60,
            },
        )
    ),
}  # fmt: skip


def save_image_tower(folder: Path, name: str) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = IMAGE_TOWERS[name]()
    for module in model.modules():  # statistics as training leaves them
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
    model.eval().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]})
    )
    return model


def save_text_tower(folder: Path, *, lowercase: bool = True) -> Any:
    return save_bert(folder, PIECES, seed=2, lowercase=lowercase)


def project_with(tmp_path: Path, image: str = "vit", **changes: Any) -> Project:
    spec = tiny_spec(
        model__image__encoder=f"hf:{tmp_path / 'image'}",
        model__text__encoder=f"hf:{tmp_path / 'text'}",
        **changes,
    )
    return create_project(
        tmp_path / "project", spec, sites=[*SITES], bank=tiny_store(tmp_path / "bank", rows=12)
    )


@pytest.mark.parametrize("name", IMAGE_TOWERS)
def test_an_image_tower_says_what_transformers_says(tmp_path: Path, name: str) -> None:
    theirs = save_image_tower(tmp_path / "image", name)
    save_text_tower(tmp_path / "text")
    project = project_with(tmp_path, name)
    tower = project.fresh_model().image.eval()
    assert isinstance(tower, PretrainedImage)
    images = torch.rand(2, 1, 16, 16)
    pixels = (images.expand(-1, 3, -1, -1) - torch.tensor([0.1, 0.2, 0.3])[:, None, None]) / torch.tensor(
        [0.4, 0.5, 0.6]
    )[:, None, None]
    options = {"interpolate_pos_encoding": True} if name == "vit" else {}
    seen = theirs.vision_model if name == "clip" else theirs
    with torch.no_grad():
        said = seen(pixel_values=pixels, **options)
        found = tower(images)
    last = said.last_hidden_state
    patches = last.flatten(2).transpose(1, 2) if last.ndim == 4 else last[:, 1:]
    assert found.x.shape == (2, 16, tower.width)
    torch.testing.assert_close(found.x, patches, rtol=1e-4, atol=1e-5)
    pooled = {"clip": said.pooler_output}.get(name, patches.mean(1) if last.ndim == 4 else last[:, 0])
    torch.testing.assert_close(found.pooled, pooled, rtol=1e-4, atol=1e-5)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in tower.modules())


def test_a_text_tower_says_what_transformers_says_of_the_same_words(tmp_path: Path) -> None:
    save_image_tower(tmp_path / "image", "vit")
    theirs = save_text_tower(tmp_path / "text")
    project = project_with(tmp_path)
    tower = project.fresh_model().text.eval()
    assert isinstance(tower, PretrainedText)
    texts = ["the opacity on left.", "opacitys"]
    tokens, mask = project.tokenizer.encode(texts, max_tokens=24)
    assert project.tokenizer.pieces("Opacitys") == ["opacity", "##s"]
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "text", local_files_only=True)
    given = their_tokenizer(texts, padding=True, return_tensors="pt")
    assert given["attention_mask"].bool().equal(mask)
    with torch.no_grad():
        said = theirs(**given).last_hidden_state
        found = tower(tokens, mask)
    torch.testing.assert_close(found.x[mask], said[mask], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.pooled, said[:, 0], rtol=1e-4, atol=1e-5)


def test_a_cased_vocabulary_keeps_its_capitals(tmp_path: Path) -> None:
    save_image_tower(tmp_path / "image", "vit")
    save_text_tower(tmp_path / "text", lowercase=False)
    project = project_with(tmp_path)
    assert project.tokenizer.pieces("Opacity") == ["[UNK]"]
    assert project.tokenizer.pieces("opacity") == ["opacity"]
    assert sorted(SPECIAL_TOKENS) == sorted(project.tokenizer.pieces("") or SPECIAL_TOKENS)


@pytest.mark.parametrize("name", ["vit", "resnet"])
def test_pretrained_towers_learn_from_all_objectives_and_their_export_loads(
    tmp_path: Path, name: str
) -> None:
    import common.export  # noqa: F401 - registers the model

    save_image_tower(tmp_path / "image", name)
    save_text_tower(tmp_path / "text")
    project = project_with(tmp_path, name)
    model = project.fresh_model()
    reading = reading_of(project.spec)
    corpus = read_corpus(
        tiny_store(tmp_path / "east"), "train", project.tokenizer, preparation=PREPARATION, reading=reading
    )
    found = model.losses(Batches(project.spec, project.tokenizer, corpus, corpus, "east").at(0))
    model.total(found).backward()
    assert found.keys() == set(project.spec.objectives.names)
    still = [key for key, w in model.named_parameters() if w.grad is None or not w.grad.isfinite().all()]
    assert still in ([], ["image.model.embeddings.mask_token"])
    again = open_project(project.folder).fresh_model()
    for key, weight in model.state_dict().items():
        assert torch.equal(weight, again.state_dict()[key]), key
    assert project.layout.num_coordinates == sum(w.size for w in weights_of(model).values())
    flat = project.layout.flatten(weights_of(model))
    write_model(tmp_path / "export", project, flat)
    loaded = transformers.AutoModel.from_pretrained(tmp_path / "export", local_files_only=True).eval()
    images = torch.rand(2, 1, 16, 16)
    tokens, mask = project.tokenizer.encode(["opacity on left"] * 2, max_tokens=24)
    with torch.no_grad():
        torch.testing.assert_close(loaded.get_image_features(images), model.eval().embed_images(images))
        torch.testing.assert_close(loaded.get_text_features(tokens, mask), model.embed_texts(tokens, mask))


def test_hidden_patches_do_not_reach_a_pretrained_tower(tmp_path: Path) -> None:
    save_image_tower(tmp_path / "image", "vit")
    save_text_tower(tmp_path / "text")
    tower = project_with(tmp_path).fresh_model().image.eval()
    images, keep = torch.rand(1, 1, 16, 16), torch.tensor([[0, 5]])
    other = images.clone()
    other[..., 12:, 12:] = 0.9
    with torch.no_grad():
        torch.testing.assert_close(tower(images, keep).x, tower(other, keep).x)
        assert not torch.allclose(tower(images).x, tower(other).x)


def test_a_changed_byte_of_a_tower_is_refused(tmp_path: Path) -> None:
    save_image_tower(tmp_path / "image", "vit")
    save_text_tower(tmp_path / "text")
    folder = project_with(tmp_path).folder
    weights = folder / "pretrained" / "text" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"pretrained/text/model.safetensors differs"):
        open_project(folder)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model__image__patch_pixels": 8}, "stands for 4 pixels a side"),
        ({"model__text__max_tokens": 64}, "reads at most 32"),
        ({"model__text__heads": 1, "model__text__width": 7}, None),
        ({"model__text__heads": 8}, None),
    ],
)
def test_what_does_not_fit_the_folder_is_named_with_its_key(
    tmp_path: Path, changes: dict[str, Any], words: str | None
) -> None:
    save_image_tower(tmp_path / "image", "vit")
    save_text_tower(tmp_path / "text")
    if words is None:
        project_with(tmp_path, **changes).fresh_model()
        return
    with pytest.raises(ConfigurationError, match=words):
        project_with(tmp_path, **changes).fresh_model()


@pytest.mark.parametrize("damage", ["no weights", "no folder", "pickle", "another type", "no mask token"])
def test_a_folder_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path, damage: str) -> None:
    save_image_tower(tmp_path / "image", "vit")
    save_text_tower(tmp_path / "text")
    match damage:
        case "no weights":
            (tmp_path / "text" / "model.safetensors").unlink()
        case "no folder":
            (tmp_path / "image").rename(tmp_path / "elsewhere")
        case "pickle":
            (tmp_path / "text" / "model.safetensors").rename(tmp_path / "text" / "pytorch_model.bin")
        case "another type":
            config = json.loads((tmp_path / "text" / "config.json").read_text())
            (tmp_path / "text" / "config.json").write_text(json.dumps(config | {"model_type": "t5"}))
        case "no mask token":
            (tmp_path / "text" / "vocab.txt").write_text("\n".join(p for p in PIECES if p != "[MASK]"))
    with pytest.raises(ConfigurationError) as caught:
        project_with(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["vit", "dinov2", "clip"])
def test_prompts_steer_a_tower_and_nothing_else_of_it_is_exchanged(tmp_path: Path, name: str) -> None:
    save_image_tower(tmp_path / "image", name)
    save_text_tower(tmp_path / "text")
    project = project_with(tmp_path, name, model__adaptation={"kind": "prompt", "prompt_tokens": 3})
    sent = {place for place in project.layout.names if place.startswith(("image.", "text."))}
    assert sent == {"image.prompts", "text.prompts"}
    model = project.fresh_model().eval()
    images, (tokens, mask) = torch.rand(2, 1, 16, 16), project.tokenizer.encode(["left", "on"], max_tokens=8)
    with torch.no_grad():
        before = model.image(images), model.text(tokens, mask)
        assert before[0].x.shape[1] == (16 // model.image.patch_pixels) ** 2
        assert before[1].x.shape[:2] == tokens.shape
        for tower in (model.image, model.text):
            tower.prompts.copy_(3 * torch.randn(tower.prompts.shape))
        after = model.image(images), model.text(tokens, mask)
    assert not any(torch.allclose(one.pooled, other.pooled) for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize("name", ["resnet", "convnext"])
def test_a_folder_without_tokens_takes_no_prompts(tmp_path: Path, name: str) -> None:
    save_image_tower(tmp_path / "image", name)
    save_text_tower(tmp_path / "text")
    with pytest.raises(ConfigurationError, match="needs towers of tokens"):
        project_with(tmp_path, name, model__adaptation={"kind": "prompt"}).fresh_model()

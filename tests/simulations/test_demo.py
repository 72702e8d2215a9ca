"""The whole way in one command, small: phantoms, stores, federation, baselines, report; and a quick start."""

import subprocess
import sys
from pathlib import Path

import pytest
from tiny import settings

from common.errors import ConfigurationError
from simulations.demo import Size, run_demo

FINDING = {
    "name": "effusion",
    "label": "effusion",
    "positive_prompts": ["pleural effusion"],
    "negative_prompts": ["no pleural effusion"],
}


def as_toml(table: dict[str, object], prefix: str = "") -> str:
    """Nested tables of plain values as TOML; JSON writes these the same way."""
    import json

    lines, below = [], []
    for key, value in table.items():
        if isinstance(value, dict):
            below.append(as_toml(value, f"{prefix}{key}."))
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            below += [f"[[{prefix}{key}]]\n{as_toml(entry)}" for entry in value]
        else:
            lines.append(f"{key} = {json.dumps(value)}")
    header = f"[{prefix[:-1]}]\n" if prefix else ""
    return header + "\n".join(lines) + "\n" + "\n".join(below)


@pytest.mark.slow
def test_the_demo_goes_from_dicom_to_a_comparison(tmp_path: Path) -> None:
    spec = tmp_path / "tiny.toml"
    changes = {"evaluation__zero_shot": [FINDING], "federation__rounds": 2, "data__anchor_pairs": 2}
    spec.write_text(as_toml(settings(**changes)))
    size = Size(hospitals=2, studies=24, bank_studies=20)
    comparison = run_demo(tmp_path / "demo", workers=2, spec=spec, size=size)
    assert [model.kind for model in comparison.models] == ["federated", "central", "local", "local"]
    assert [model.curve[-1].steps for model in comparison.models] == [4, 4, 4, 4]
    for model in comparison.models:
        assert model.final.mean_auroc is not None
    for made in ("report.html", "comparison.json", "run.json", "model/model.safetensors"):
        assert (tmp_path / "demo" / made).stat().st_size > 0
    with pytest.raises(ConfigurationError, match="is not empty"):
        run_demo(tmp_path / "demo", workers=1, spec=spec, size=size)


def test_the_command_line_does_not_wait_for_what_it_may_not_need() -> None:
    """Every worker process imports it again."""
    heavy = "{'torch', 'transformers', 'flwr', 'numpy'} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys, simulations.cli; print({heavy})"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "set()"

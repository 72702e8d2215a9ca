"""Plans of a privacy budget: within it, and ready to be written into a spec."""

import json
import tomllib

import pytest
from typer.testing import CliRunner

from common.errors import ConfigurationError
from common.privacy.accounting import Steps, epsilon_of
from common.spec.privacy import JointPrivacySpec, LocalPrivacySpec
from simulations.cli import cli
from simulations.planning import Joint, plan

SMALL = ["privacy", "plan", "--patients", "1000", "--delta", "1e-4", "--rounds", "2", "--local-steps", "5"]


def test_a_plan_fits_its_budget_and_can_be_copied_into_a_spec() -> None:
    found = plan(
        mechanism="G",
        patients=1000,
        patients_per_step=100,
        group_size=8,
        rounds=2,
        local_steps=5,
        epsilon=3.0,
        delta=1e-4,
        hospitals=2,
    )
    privacy = LocalPrivacySpec.model_validate(tomllib.loads(found.to_spec("north"))["privacy"])
    spent = [Steps(privacy.rate_numerator, privacy.noise_multiplier, 10)]
    assert epsilon_of(spent, 1e-4) <= 3.0
    assert found.epsilon_reported < 3.0 < found.epsilon_of_hospitals
    assert (found.groups, found.noise_per_unit) == (12, pytest.approx(found.noise_multiplier * 2 / 12))


def test_joint_noise_is_quieter_by_the_root_of_the_honest_sites_and_its_promise_alone_is_stated() -> None:
    asked = {
        "mechanism": "R",
        "patients": 1000,
        "patients_per_step": 100,
        "group_size": 1,
        "rounds": 20,
        "local_steps": 1,
        "epsilon": 3.0,
        "delta": 1e-4,
        "hospitals": 2,
        "sites": 5,
    }
    local, joint = plan(**asked), plan(**asked, joint=Joint(min_sites=5, colluding_sites=1))
    assert joint.noise_multiplier == local.noise_multiplier
    assert joint.noise_per_unit == pytest.approx(local.noise_per_unit / 2)  # four shares make it whole
    privacy = JointPrivacySpec.model_validate(tomllib.loads(joint.to_spec("north"))["privacy"])
    share = Steps(privacy.rate_numerator, privacy.noise_multiplier / 2, 20)
    assert joint.epsilon_alone == pytest.approx(epsilon_of([share], 1e-4))
    assert local.epsilon_alone is None
    assert joint.epsilon_of_hospitals > local.epsilon_of_hospitals  # both change the same sum


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--local-steps", "2"], "rounds of 1 step"),
        (["--sites", "4"], "from 3 to the 4"),
        (["--colluding-sites", "3"], "of 5 to 6 sites withstands 2"),
    ],
)
def test_a_joint_plan_that_no_project_could_have_is_refused(options: list[str], words: str) -> None:
    asked = [*SMALL, "--local-steps", "1", "--sites", "6", "--min-sites", "5", *options]
    ran = CliRunner().invoke(cli, asked)
    assert isinstance(ran.exception, ConfigurationError)
    assert words in str(ran.exception)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--epsilon", "0", "above 0"),
        ("--delta", "0.5", "1 / 1000"),
        ("--batch", "2000", "from 1 to the 1000"),
    ],
)
def test_a_plan_out_of_range_is_refused(option: str, value: str, words: str) -> None:
    ran = CliRunner().invoke(cli, [*SMALL, option, value])
    assert isinstance(ran.exception, ConfigurationError)
    assert words in str(ran.exception)


def test_the_command_prints_a_table_a_curve_and_a_spec() -> None:
    ran = CliRunner().invoke(cli, [*SMALL, "--batch", "50", "--batch", "200"])
    assert ran.exit_code == 0, ran.output
    for words in ("noise", "█", "[privacy]", 'mechanism = "G"'):
        assert words in ran.output
    listed = json.loads(
        CliRunner().invoke(cli, [*SMALL, "--batch", "50", "--mechanism", "R", "--json"]).output
    )
    assert [each["patients_per_step"] for each in listed] == [50]
    assert listed[0]["groups"] == 1

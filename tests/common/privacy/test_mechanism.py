"""What the spec allows, and what a hospital refuses before anything is read."""

import pytest
from privacy_samples import LOCAL, private_spec, terms
from tiny import settings, tiny_spec

from common.errors import ConfigurationError, InputRefusedError, PolicyError
from common.privacy.mechanism import require_sound, terms_of
from common.privacy.units import Population, population_of, require_patients
from common.spec.privacy import LocalPrivacySpec
from common.spec.run import parse_spec


def test_a_loss_that_couples_patients_is_refused_under_r_by_name() -> None:
    spec = private_spec(mechanism="R", group_size=1, data__anchor_pairs=0)
    with pytest.raises(ConfigurationError, match=r"objectives.global_contrastive compares the rows"):
        require_sound(spec)


@pytest.mark.parametrize(
    "changes",
    [
        {"mechanism": "R", "group_size": 1},
        {"mechanism": "G", "group_size": 8},
        {"mechanism": "G", "group_size": 8, "data__anchor_pairs": 0},
        {
            "mechanism": "R",
            "group_size": 1,
            "data__anchor_pairs": 0,
            "objectives__global_contrastive": None,
        },
    ],
)
def test_what_has_a_proof_is_welcome(changes: dict[str, object]) -> None:
    require_sound(private_spec(**changes))


def test_a_run_without_privacy_needs_no_proof() -> None:
    require_sound(tiny_spec())


@pytest.mark.parametrize("key", sorted(LOCAL))
def test_nothing_that_decides_the_promise_has_a_default(key: str) -> None:
    local = {name: value for name, value in LOCAL.items() if name != key}
    with pytest.raises(ConfigurationError, match=r"privacy|mode"):
        parse_spec(settings(privacy=local), where="tiny.toml")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epsilon": 0.0}, "greater than 0"),
        ({"epsilon": 65.0}, "less than or equal to 64"),
        ({"delta": 0.5}, "above 1 / 6, the patients of"),
        ({"delta": 0.0}, "greater than 0"),
        ({"sampling_rate": 1.5}, "less than or equal to 1"),
        ({"noise_multiplier": 0.0}, "greater than 0"),
        ({"noise_multiplier": float("nan")}, "finite"),
        ({"mechanism": "R"}, "must be 1 under mechanism R"),
        ({"group_size": 1}, "at least 2 under mechanism G"),
        ({"patients": {}}, "is empty"),
        ({"mechanism": "opacus"}, "'R' or 'G'"),
        ({"relation": "replace-one"}, "unknown key"),
        ({"accountant": "gdp"}, "unknown key"),
        ({"seed": 1}, "unknown key"),
        ({"tuned_on": "private"}, "'public' or 'phantom'"),
        ({"adaptive_clipping": True}, "unknown key"),
    ],
)
def test_a_promise_that_cannot_be_kept_is_refused_in_one_line(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        private_spec(**changes)
    assert "\n" not in str(caught.value)


def test_terms_are_public_numbers() -> None:
    spec = private_spec(patients={"east": 1000}, delta=1e-4, sampling_rate=0.1, group_size=8)
    found = terms(spec)
    assert (found.groups, found.denominator, found.sensitivity) == (12, 12, 2)
    assert found.rate_numerator == int(0.1 * 2**32)
    alone = terms(
        private_spec(patients={"east": 1000}, sampling_rate=0.1, mechanism="R", group_size=1, delta=1e-4)
    )
    assert (alone.denominator, alone.sensitivity) == (100, 1)


def test_a_site_without_a_size_class_is_refused() -> None:
    spec = private_spec(patients={"north": 10})
    assert isinstance(spec.privacy, LocalPrivacySpec)
    with pytest.raises(ConfigurationError, match="does not name site east"):
        terms_of(spec.privacy, "east")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"patients": {"east": 7}}, "6 training patients, but privacy.patients declares 7"),
        ({"patients": {"east": 2}, "delta": 0.4}, "above 1 / 6 training patients"),
    ],
)
def test_a_site_refuses_a_size_or_a_delta_that_is_untrue_and_tells_no_number(
    population: Population, changes: dict[str, object], words: str
) -> None:
    spec = private_spec(**changes)
    assert isinstance(spec.privacy, LocalPrivacySpec)
    with pytest.raises(PolicyError, match=words) as caught:
        require_patients(population, spec.privacy, "east")
    assert not any(character.isdigit() for character in caught.value.outward)


def test_patients_hold_all_their_studies(population: Population) -> None:
    assert len(population) == 6
    assert all(len(studies) == 2 for studies in population.studies)
    rows = sorted(int(row) for studies in population.studies for study in studies for row in study)
    assert rows == list(range(12))


def test_a_row_without_a_patient_is_refused(population: Population, stores: dict[str, object]) -> None:
    class Nameless:
        name = "east"

        def rows(self, split: str) -> object:
            return stores["east"].rows(split)  # type: ignore[attr-defined]

        def column(self, name: str) -> object:
            column = stores["east"].column(name).copy()  # type: ignore[attr-defined]
            if name == "patient":
                column[0] = ""
            return column

    with pytest.raises(InputRefusedError, match="no patient identifier"):
        population_of(Nameless(), population.batches)  # type: ignore[arg-type]

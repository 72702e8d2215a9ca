from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.ingest.pseudonyms import KEY_FILE, Pseudonyms, Shares, open_pseudonyms
from common.errors import ConfigurationError

ONE, OTHER = Pseudonyms(b"1" * 32), Pseudonyms(b"2" * 32)
patients = st.sets(st.text("0123456789abcdef", min_size=16, max_size=16), min_size=1, max_size=50)


def test_the_secret_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = open_pseudonyms(home, create=True)
    again = open_pseudonyms(home, create=True)
    assert first.patient("MRN1", "") == again.patient("MRN1", "")
    assert (home / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert len((home / KEY_FILE).read_bytes()) == 32


def test_labelling_does_not_make_a_new_secret(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--home"):
        open_pseudonyms(tmp_path, create=False)
    assert not (tmp_path / KEY_FILE).exists()


def test_a_damaged_or_open_secret_is_refused(tmp_path: Path) -> None:
    open_pseudonyms(tmp_path, create=True)
    (tmp_path / KEY_FILE).chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        open_pseudonyms(tmp_path, create=False)
    (tmp_path / KEY_FILE).write_bytes(b"short")
    with pytest.raises(ConfigurationError, match="5 bytes instead of 32"):
        open_pseudonyms(tmp_path, create=True)


def test_patient_study_and_instance_of_one_number_have_different_names() -> None:
    names = {
        ONE.patient("1", ""),
        ONE.patient("", "1"),
        ONE.study("accession", "1"),
        ONE.study("uid", "1"),
        ONE.instance("1"),
        OTHER.instance("1"),
    }
    assert len(names) == 6
    assert all(len(name) == 16 for name in names)


@given(st.text(), st.text(), st.text(), st.text())
def test_two_patients_never_share_a_name_by_how_their_numbers_join(a: str, b: str, c: str, d: str) -> None:
    assert (ONE.patient(a, b) == ONE.patient(c, d)) == ((a, b) == (c, d))


@given(patients, st.floats(0.01, 0.8), st.floats(0, 0.2))
def test_a_patient_s_split_does_not_depend_on_who_else_is_there(
    group: set[str], train: float, validation: float
) -> None:
    shares = Shares(train, validation)
    together = {patient: shares.split(patient) for patient in group}
    assert together == {patient: Shares(train, validation).split(patient) for patient in sorted(group)}
    assert set(together.values()) <= {"train", "validation", "test"}


@given(patients, st.floats(0.01, 0.9))
def test_a_larger_train_share_takes_no_patient_out_of_training(group: set[str], train: float) -> None:
    less, more = Shares(train, 0), Shares(train + 0.1, 0)
    trained = {patient for patient in group if less.split(patient) == "train"}
    assert trained <= {patient for patient in group if more.split(patient) == "train"}


def test_shares_are_kept_over_many_patients() -> None:
    splits = [Shares(0.7, 0.1).split(ONE.patient(str(number), "")) for number in range(10_000)]
    assert splits.count("train") / 10_000 == pytest.approx(0.7, abs=0.02)
    assert splits.count("validation") / 10_000 == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize(("train", "validation"), [(0, 0.1), (0.9, 0.2), (0.5, -0.1), (float("nan"), 0)])
def test_shares_that_do_not_fit_into_one_are_refused(train: float, validation: float) -> None:
    with pytest.raises(ConfigurationError, match="--train-share"):
        Shares(train, validation)

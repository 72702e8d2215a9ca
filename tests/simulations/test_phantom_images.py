"""Phantom radiographs: findings lie where the truth says, and a linear model does not find the small ones."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from simulations.phantom.anatomy import SIZE, Body, Chest, Map, Pose, chest, smooth_noise
from simulations.phantom.caseload import caseload
from simulations.phantom.findings import (
    NAMES,
    ZONE_HEIGHTS,
    Finding,
    cardiothoracic_ratio,
    draw_finding,
    truth_row,
)
from simulations.phantom.folders import radiograph
from simulations.phantom.hospital import hospital_name, hospitals_of
from simulations.phantom.lesions import draw_findings
from simulations.phantom.scanner import expose

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=25, deadline=None)
PLACED = tuple(name for name in NAMES if name != "cardiomegaly")


def standing(seed: int, *, ratio: float = 0.44) -> Chest:
    """A random chest that stands straight, so that the midline is the middle column."""
    chance = np.random.default_rng(seed)
    body = replace(Body.draw(chance, sex="M", age=50), scoliosis=0.0)
    pose = Pose(tilt=0, turn=0, shift=(0, 0), zoom=1.1, inspiration=0, heart_zoom=1)
    return chest(body, pose, heart_ratio=ratio)


def weight_left(added: Map) -> float:
    """Share of the change in the right half of the image, where the patient's left is."""
    change = np.abs(added)
    return float(change[:, SIZE // 2 :].sum() / change.sum())


@few
@given(seeds, st.sampled_from(["effusion", "pneumothorax", "consolidation", "nodule"]))
def test_a_finding_of_the_left_changes_the_right_of_the_image_and_the_other_way_round(
    seed: int, name: str
) -> None:
    finding = draw_finding(name, np.random.default_rng(seed))
    bare = standing(seed)
    for side in ("left", "right"):
        added = draw_findings(bare, {name: replace(finding, side=side)}, np.random.default_rng(seed))
        share = weight_left(added)
        assert share > 0.97 if side == "left" else share < 0.03


@few
@given(seeds, st.sampled_from(["consolidation", "nodule"]))
def test_a_zone_is_where_the_finding_lies(seed: int, name: str) -> None:
    chance = np.random.default_rng(seed)
    bare, finding = standing(seed), draw_finding(name, chance)
    heights = []
    for zone, (lowest, highest) in ZONE_HEIGHTS.items():
        moved = replace(finding, side="right", zone=zone, height=(lowest + highest) / 2)
        added = np.abs(draw_findings(bare, {name: moved}, np.random.default_rng(seed)))
        heights.append(float((added.sum(axis=1) * np.arange(SIZE)).sum() / added.sum()))
    assert heights[0] + 8 < heights[1] < heights[2] - 4


@few
@given(seeds, st.floats(0.38, 0.72))
def test_the_heart_is_as_wide_as_the_cardiothoracic_ratio_says(seed: int, ratio: float) -> None:
    bare = standing(seed, ratio=ratio)
    below_the_vessels = bare.down > max(0.02, bare.heart_centre[1] - 0.1)
    inside = (bare.heart > 0.5) & below_the_vessels
    extent = bare.across[inside].max() - bare.across[inside].min()
    assert extent / (2 * bare.body.thorax) == pytest.approx(ratio, abs=0.03)


def test_cardiomegaly_is_a_heart_of_more_than_half_of_the_thorax() -> None:
    for severity in (0.0, 0.5, 1.0):
        assert cardiothoracic_ratio({"cardiomegaly": Finding("cardiomegaly", severity)}, 0.4) > 0.5
    assert cardiothoracic_ratio({}, 0.4) == 0.4


@few
@given(seeds)
def test_healthy_hearts_are_narrower_than_half_of_the_thorax(seed: int) -> None:
    assert Body.draw(np.random.default_rng(seed), sex="F", age=89).heart_ratio < 0.5


@few
@given(seeds, st.sampled_from(PLACED))
def test_a_finding_survives_the_resize_to_64_pixels(seed: int, name: str) -> None:
    bare = standing(seed)
    finding = draw_finding(name, np.random.default_rng(seed))
    added = draw_findings(bare, {name: finding}, np.random.default_rng(seed))
    small = added.reshape(64, 4, 64, 4).mean(axis=(1, 3))
    assert np.abs(small).max() > 0.2


@few
@given(seeds)
def test_a_pneumothorax_darkens_a_rim_that_has_no_vessels(seed: int) -> None:
    bare = standing(seed)
    finding = Finding("pneumothorax", 0.6, "left")
    added = draw_findings(bare, {"pneumothorax": finding}, np.random.default_rng(seed))
    rim = (added + bare.vessels < -0.17) & (bare.lungs["left"] > 0.99)
    assert rim.sum() > 300
    np.testing.assert_allclose((bare.vessels + added)[rim], -0.20, atol=0.05)


@few
@given(seeds)
def test_fluid_lies_at_the_base(seed: int) -> None:
    bare = standing(seed)
    added = draw_findings(bare, {"effusion": Finding("effusion", 0.5, "right")}, np.random.default_rng(seed))
    fluid = added > 0.3
    assert bare.down[fluid].mean() > bare.angle - 0.5
    assert not fluid[bare.down < bare.angle - 0.55].any()


def test_no_finding_adds_nothing() -> None:
    assert not draw_findings(standing(0), {}, np.random.default_rng(0)).any()


def test_lungs_are_darker_than_the_heart_and_the_spine_and_maps_stay_single_precision() -> None:
    bare = standing(1)
    lung = bare.attenuation[(bare.lungs["right"] > 0.9) & (bare.heart < 0.1)].mean()
    assert bare.attenuation[bare.heart > 0.9].mean() > lung + 0.4
    assert bare.attenuation[(np.abs(bare.across) < 0.05) & (bare.down > -0.5)].mean() > lung + 0.4
    assert bare.attenuation.dtype == bare.vessels.dtype == np.float32


def test_smooth_noise_has_mean_zero_and_variance_one() -> None:
    fields = np.stack([smooth_noise(np.random.default_rng(seed), waves=12) for seed in range(200)])
    np.testing.assert_allclose(fields.mean(axis=(1, 2)), 0, atol=1e-5)
    assert (fields**2).mean() == pytest.approx(1, abs=0.05)


def test_pose_carries_points_to_the_pixels_where_the_maps_have_them() -> None:
    pose = Pose(tilt=0.1, turn=0, shift=(0.05, -0.03), zoom=1.1, inspiration=0, heart_zoom=1)
    bare = chest(standing(0).body, pose, heart_ratio=0.4)
    row, column = pose.to_pixels([0.3], [-0.2])
    nearest = int(row[0].round()), int(column[0].round())
    assert bare.across[nearest] == pytest.approx(0.3, abs=0.04)
    assert bare.down[nearest] == pytest.approx(-0.2, abs=0.04)


def test_scanners_give_one_patient_unlike_pictures() -> None:
    bare = standing(2)
    hospitals = hospitals_of(hospitals=5, studies=20, seed=0)
    pictures = [
        expose(bare.attenuation, hospital.scanner, np.random.default_rng(0)).astype(float)
        for hospital in hospitals
    ]
    for first in range(5):
        for second in range(first):
            assert np.abs(pictures[first] - pictures[second]).mean() > 60


def test_the_lead_letter_stands_on_the_side_that_it_names() -> None:
    scanner = replace(hospitals_of(hospitals=1, studies=20, seed=0)[0].scanner, noise=0.0)
    left, right = (
        expose(standing(0).attenuation, replace(scanner, marker=marker), np.random.default_rng(1)).astype(int)
        for marker in ("L", "R")
    )
    assert np.nonzero(left - right > 400)[1].min() > SIZE * 0.75
    assert np.nonzero(right - left > 400)[1].max() < SIZE * 0.25


def test_names_do_not_repeat_for_fifty_hospitals() -> None:
    assert len({hospital_name(index) for index in range(50)}) == 50


@pytest.mark.parametrize("hospitals", [1, 2, 3, 7, 20])
def test_sizes_add_up_to_the_number_asked_for(hospitals: int) -> None:
    sizes = [hospital.num_studies for hospital in hospitals_of(hospitals=hospitals, studies=33, seed=1)]
    assert sum(sizes) == hospitals * 33
    assert min(sizes) >= 0.6 * 33 - 1
    assert max(sizes) <= 1.4 * 33 + 1


def test_hospitals_differ_in_what_they_see_most() -> None:
    common = {
        max(hospital.prevalence, key=lambda name: hospital.prevalence[name])
        for hospital in hospitals_of(hospitals=7, studies=20, seed=0)
    }
    assert len(common) >= 4


def test_truth_names_side_zone_and_device() -> None:
    findings = {
        "nodule": Finding("nodule", 0.5, "left", "upper"),
        "device": Finding("device", 0.5, "right", kind="port"),
    }
    assert truth_row(findings) == [
        *("0", "0", "0", "0", "1", "1", "0"),
        *("", "", "", "", "left", "upper", "right", "port"),
    ]


@pytest.mark.slow
def test_a_linear_model_does_not_find_the_small_findings() -> None:
    """Pooled hospitals, patients apart, standardised pixels at 64x64: below 0.80 AUROC for each."""
    studies = [
        study
        for hospital in hospitals_of(hospitals=4, studies=240, seed=0)
        for study in caseload(hospital, seed=0)
    ]
    images = np.stack([_seen(radiograph(study, 0)) for study in studies])
    labels = np.array([[name in study.findings for name in NAMES] for study in studies])
    patients = np.array([f"{study.folder}/{study.patient.key}" for study in studies])
    drawn = np.random.default_rng(0).permutation(np.unique(patients))
    training = np.isin(patients, drawn[: int(0.7 * len(drawn))])
    pixels = StandardScaler().fit(images[training]).transform(images)
    for column, name in enumerate(NAMES):
        if name not in ("cardiomegaly", "effusion"):
            model = LogisticRegression(C=1e-3, max_iter=200).fit(pixels[training], labels[training, column])
            area = roc_auc_score(labels[~training, column], model.decision_function(pixels[~training]))
            assert 0.5 < area < 0.80, (name, area)


def _seen(pixels: np.ndarray) -> np.ndarray:
    """(4096,) as ingest would show it, by the mean over squares of 4x4 pixels."""
    return (pixels / 4095).astype(np.float32).reshape(64, 4, 64, 4).mean(axis=(1, 3)).ravel()

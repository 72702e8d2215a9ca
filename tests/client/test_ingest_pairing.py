from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shelved import pair

from client.ingest.images.header import Header
from client.ingest.pairing import MAX_REPORTS, FileNames, identify
from client.ingest.placement import Place, place
from client.ingest.pseudonyms import Pseudonyms
from client.ingest.rejected import Reason
from client.ingest.reports import ImageRecord, Report

no_deadline = settings(deadline=None)
"""A loaded machine makes no test fail."""

PSEUDONYMS = Pseudonyms(b"s" * 32)


def image(instance: str, accession: str = "A1", patient: str = "P1", issuer: str = "") -> Header:
    return Header(instance, f"study of {accession}", accession, patient, issuer, "CT", "")


def report(*instances: str, accession: str = "A1", patient: str = "P1") -> Report:
    return Report("reports.csv:2", accession, patient, instances, "text")


def placed(images: list[Header], reports: list[Report]) -> list[Place]:
    paired = pair(images, reports)
    return list(place(images, paired.shelf, paired.pairing, PSEUDONYMS))


def test_a_report_belongs_to_the_instances_it_names_and_no_others() -> None:
    pairing = pair([image("1"), image("2"), image("3")], [report("3", "1")])
    assert pairing.reports_of == ((0,), (), (0,))


def test_a_report_that_names_none_belongs_to_its_accession() -> None:
    pairing = pair([image("1"), image("2", accession="A2"), image("3")], [report()])
    assert pairing.reports_of == ((0,), (), (0,))


def test_a_report_of_a_lost_image_does_not_move_to_its_neighbours() -> None:
    pairing = pair([image("1")], [report("lost")])
    assert pairing.reports_of == ((),)
    assert [alone.report for alone in pairing.unpaired] == [0]


def test_several_reports_of_an_image_keep_their_order() -> None:
    assert pair([image("1")], [report("1"), report(), report("1")]).reports_of == ((0, 1, 2),)


@pytest.mark.parametrize("extra", [0, 1, 500])
def test_one_number_for_a_whole_archive_pairs_nothing(extra: int) -> None:
    images = [image(str(number)) for number in range(100)]
    reports = [report("7"), *(report() for _ in range(MAX_REPORTS + extra))]
    pairing = pair(images, reports)
    vague = tuple(range(1, MAX_REPORTS + 1)) if extra == 0 else ()
    assert pairing.reports_of == tuple((0, *vague) if number == 7 else vague for number in range(100))
    assert [refusal.reason for refusal in pairing.refused] == (
        [Reason.TOO_MANY_REPORTS] * (MAX_REPORTS + extra) if extra else []
    )


def test_too_many_reports_of_one_instance_leave_its_neighbours_theirs() -> None:
    reports = [report("2"), report("3"), *(report("1") for _ in range(MAX_REPORTS)), report("1", "2")]
    pairing = pair([image("1"), image("2"), image("3")], reports)
    assert pairing.reports_of == ((), (0,), (1,))
    assert len(pairing.refused) == MAX_REPORTS + 1


def test_an_empty_accession_pairs_nothing() -> None:
    assert pair([image("1", accession="")], [report(accession="")]).reports_of == ((),)


def test_a_report_never_goes_to_another_patient() -> None:
    pairing = pair([image("1", patient="P2")], [report("1"), report()])
    assert pairing.reports_of == ((),)
    assert [refusal.reason for refusal in pairing.refused] == [Reason.OTHER_PATIENT] * 2


def test_of_an_accession_of_two_patients_the_report_s_own_counts() -> None:
    images = [image("1"), image("2", patient="P2")]
    pairing = pair(images, [report(), report(patient="")])
    assert pairing.reports_of == ((0,), ())
    assert [refusal.reason for refusal in pairing.refused] == [Reason.SEVERAL_PATIENTS]


def test_a_report_of_nobody_without_image_is_refused() -> None:
    assert [refusal.reason for refusal in pair([], [report(patient="")]).refused] == [Reason.NO_PATIENT]


def test_a_report_alone_is_its_patient_s_though_only_images_name_the_issuer() -> None:
    images = [image("1", issuer="north")]
    reports = [report(accession="other")]
    alone, paired = sorted(placed(images, reports), key=lambda spot: spot.instance)
    assert alone.patient == paired.patient


def test_a_patient_id_of_two_issuers_cannot_place_a_report_alone() -> None:
    images = [image("1", issuer="north"), image("2", issuer="south", accession="A2")]
    pairing = pair(images, [report(accession="other")])
    assert [refusal.reason for refusal in pairing.refused] == [Reason.SEVERAL_PATIENTS]


def test_frames_of_one_instance_all_have_its_report() -> None:
    assert pair([image("1"), image("1"), image("2")], [report("1")]).reports_of == ((0,), (0,), ())


def test_without_its_accession_a_report_goes_by_its_study_then_by_its_files() -> None:
    images = [image("1", accession="A1"), image("2", accession="A2"), image("3", accession="A3")]
    by_study = replace(report(accession="lost"), study_uids=("study of A2",), file_names=("c",))
    by_file = replace(report(accession=""), study_uids=("lost",), file_names=("c",))
    pairing = pair(images, [by_study, by_file], files=["a.dcm", "b.dcm", "c.dcm"])
    assert pairing.reports_of == ((), (0,), (1,))


def test_a_report_on_several_orders_belongs_to_all_of_them() -> None:
    images = [image("1"), image("2", accession="A2"), image("3", accession="A3")]
    both = replace(report(), further_accessions=("A2",))
    assert pair(images, [both, report()]).reports_of == ((0, 1), (0,), ())


def test_two_patients_under_one_accession_or_study_are_refused() -> None:
    images = [image("1"), image("2", patient="P2")]
    nobody = report(patient="")
    by_study = replace(nobody, accession="", study_uids=("study of A1",))
    refused = pair(images, [nobody, by_study]).refused
    assert [refusal.reason for refusal in refused] == [Reason.SEVERAL_PATIENTS] * 2


def test_a_name_that_fits_images_of_two_studies_is_refused() -> None:
    images = [image("1"), image("2", accession="A2"), image("3", accession="A2")]
    named = replace(report(accession=""), file_names=("im1",))
    pairing = pair(images, [named], files=["x/im1.png", "y/im1.png", "y/im1.dcm"])
    assert [refusal.reason for refusal in pairing.refused] == [Reason.AMBIGUOUS_IMAGE]
    same = pair(
        images, [replace(named, file_names=("y/im1",))], files=["x/im1.png", "y/im1.png", "y/im1.dcm"]
    )
    assert same.reports_of == ((), (0,), (0,))


FILES = [
    "train/p1/s1/v1.jpg",
    "train/p1/s2/v1.jpg",
    "train/p2/s1/v1.jpg",
    "v2.png",
    "deep/v2.jpg",
    "1.2.840.5",
]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("train/p1/s2/v1.jpg", [1]),
        ("CheXpert/train/p2/s1/v1.png", [2]),
        ("s2\\v1", [1]),
        ("./p2//s1/v1.jpg", [2]),
        ("s1/v1.jpg", [0, 2]),
        ("p3/s1/v1.jpg", []),
        ("v2.jpg", [4]),
        ("v2", [3, 4]),
        ("other/v2.jpg", [3]),
        ("1.2.840.5", [5]),
        ("1.2.840.5.dcm", [5]),
        ("V2", []),
        ("", []),
        ("///", []),
    ],
)
def test_a_name_means_the_files_with_which_its_folders_agree(name: str, found: list[int]) -> None:
    assert FileNames(FILES).find(name) == found


paths = st.lists(st.sampled_from(["a", "b", "c.png", "c.jpg"]), min_size=1, max_size=4).map("/".join)


@no_deadline
@given(st.lists(paths, max_size=6), paths)
def test_names_are_found_as_by_comparing_all_files(files: list[str], name: str) -> None:
    def parts(path: str) -> list[str]:
        *folders, last = path.split("/")
        return [last.removesuffix(".png").removesuffix(".jpg"), *reversed(folders)]

    agree = {number: min(len(parts(file)), len(parts(name))) for number, file in enumerate(files)}
    fits = {n: depth for n, depth in agree.items() if parts(files[n])[:depth] == parts(name)[:depth]}
    best = [n for n, depth in fits.items() if depth == max(fits.values())]
    exact = [n for n in best if files[n].split("/")[-1] == name.split("/")[-1]]
    assert FileNames(files).find(name) == (exact or best)


def test_a_table_identifies_only_images_that_do_not_say_whose_they_are() -> None:
    unknown = image("1", accession="", patient="")
    images = [unknown, replace(image("2"), view="PA"), image("3", accession="", patient="")]
    records = [
        ImageRecord("t.csv:2", "x/1.png", "P8", "S8", "AP"),
        ImageRecord("t.csv:3", "x/2.png", "P9", "S9", "AP"),
        ImageRecord("t.csv:4", "3.png", "P8", "S8"),
        ImageRecord("t.csv:5", "3.png", "P9", "S9"),
    ]
    identified = identify(images, records, files=["1.jpg", "2.jpg", "3.jpg"])
    assert identified[0] == replace(unknown, patient_id="P8", accession="S8", view="AP")
    assert identified[1:] == images[1:]


few = st.sampled_from(["", "1", "2", "3"])
some = st.sampled_from(["1", "2", "3"])
headers = st.lists(
    st.builds(image, st.text("123456789", min_size=1, max_size=2), few, some, few),
    max_size=6,
    unique_by=lambda header: header.instance_uid,
)
tables = st.lists(
    st.builds(
        lambda instances, accession, patient, study, name: replace(
            report(*instances, accession=accession, patient=patient),
            study_uids=(f"study of {study}",),
            file_names=(name,),
        ),
        st.lists(st.text("123456789", min_size=1, max_size=2), max_size=2, unique=True),
        few,
        few,
        few,
        few,
    ),
    max_size=6,
)


def _files(images: list[Header]) -> list[str]:
    return [f"{header.instance_uid[-1]}.png" for header in images]


@no_deadline
@given(headers, tables)
def test_every_report_ends_in_exactly_one_place(images: list[Header], reports: list[Report]) -> None:
    pairing = pair(images, reports, files=_files(images))
    paired = {number for numbers in pairing.reports_of for number in numbers}
    alone = {one.report for one in pairing.unpaired}
    assert not paired & alone
    assert len(paired) + len(alone) + len(pairing.refused) == len(reports)


@no_deadline
@given(headers, tables)
def test_no_pair_crosses_patients(images: list[Header], reports: list[Report]) -> None:
    pairing = pair(images, reports, files=_files(images))
    patients_of: dict[int, set[tuple[str, str]]] = {}
    for header, numbers in zip(images, pairing.reports_of, strict=True):
        for number in numbers:
            assert reports[number].patient_id in ("", header.patient_id)
            patients_of.setdefault(number, set()).add(header.patient)
    assert all(len(patients) == 1 for patients in patients_of.values())


@no_deadline
@given(headers, tables)
def test_every_image_has_one_row_and_no_study_two_patients(
    images: list[Header], reports: list[Report]
) -> None:
    pairing = pair(images, reports)
    places = list(place(images, pairing.shelf, pairing.pairing, PSEUDONYMS))
    numbers = sorted(spot.image for spot in places if spot.image is not None)
    assert numbers == list(range(len(images)))
    assert len(places) == len(images) + len(pairing.unpaired)
    patients_of: dict[str, set[str]] = {}
    for spot in places:
        patients_of.setdefault(spot.study, set()).add(spot.patient)
    with_accession = [
        patients for study, patients in patients_of.items() if not _of_uid_or_place(study, images, reports)
    ]
    assert all(len(patients) == 1 for patients in with_accession)


def _of_uid_or_place(study: str, images: list[Header], reports: list[Report]) -> bool:
    """Tell whether a study has no accession number; then its UID says who it is, right or wrong."""
    others = [("uid", header.study_uid) for header in images]
    others += [("report", one.place) for one in reports]
    return study in {PSEUDONYMS.study(*other) for other in others}

from hypothesis import given
from hypothesis import strategies as st

from client.ingest.dicom import Header
from client.ingest.pairing import pair
from client.ingest.placement import place
from client.ingest.pseudonyms import Pseudonyms
from client.ingest.rejected import Reason
from client.ingest.reports import Report

PSEUDONYMS = Pseudonyms(b"s" * 32)


def image(instance: str, accession: str = "A1", patient: str = "P1", issuer: str = "") -> Header:
    return Header(instance, f"study of {accession}", accession, patient, issuer, "CT", "")


def report(*instances: str, accession: str = "A1", patient: str = "P1") -> Report:
    return Report("reports.csv:2", accession, patient, instances, "text")


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
    alone, paired = sorted(
        place(images, reports, pair(images, reports), PSEUDONYMS), key=lambda spot: spot.instance
    )
    assert alone.patient == paired.patient


def test_a_patient_id_of_two_issuers_cannot_place_a_report_alone() -> None:
    images = [image("1", issuer="north"), image("2", issuer="south", accession="A2")]
    pairing = pair(images, [report(accession="other")])
    assert [refusal.reason for refusal in pairing.refused] == [Reason.SEVERAL_PATIENTS]


few = st.sampled_from(["", "1", "2", "3"])
some = st.sampled_from(["1", "2", "3"])
headers = st.lists(
    st.builds(image, st.text("123456789", min_size=1, max_size=2), few, some, few),
    max_size=6,
    unique_by=lambda header: header.instance_uid,
)
tables = st.lists(
    st.builds(
        lambda instances, accession, patient: report(*instances, accession=accession, patient=patient),
        st.lists(st.text("123456789", min_size=1, max_size=2), max_size=2, unique=True),
        few,
        few,
    ),
    max_size=6,
)


@given(headers, tables)
def test_every_report_ends_in_exactly_one_place(images: list[Header], reports: list[Report]) -> None:
    pairing = pair(images, reports)
    paired = {number for numbers in pairing.reports_of for number in numbers}
    alone = {one.report for one in pairing.unpaired}
    assert not paired & alone
    assert len(paired) + len(alone) + len(pairing.refused) == len(reports)


@given(headers, tables)
def test_no_pair_crosses_patients(images: list[Header], reports: list[Report]) -> None:
    pairing = pair(images, reports)
    patients_of: dict[int, set[tuple[str, str]]] = {}
    for header, numbers in zip(images, pairing.reports_of, strict=True):
        for number in numbers:
            assert reports[number].patient_id in ("", header.patient_id)
            patients_of.setdefault(number, set()).add(header.patient)
    assert all(len(patients) == 1 for patients in patients_of.values())


@given(headers, tables)
def test_every_image_has_one_row_and_no_study_two_patients(
    images: list[Header], reports: list[Report]
) -> None:
    pairing = pair(images, reports)
    places = place(images, reports, pairing, PSEUDONYMS)
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

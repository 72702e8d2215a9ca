import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shelved import open_reports

from client.ingest.rejected import Reason, Refusal
from client.ingest.reports import Opened, Report
from client.ingest.reports.fhir_text import report_text
from client.ingest.reports.hypertext import plain_text

no_deadline = settings(deadline=None)
"""A loaded machine makes no test fail."""

FIXTURES = Path(__file__).parent / "report_fixtures" / "fhir"


def reports_of(opened: Opened) -> dict[str, Report]:
    return {report.accession: report for report in opened.reports}


def resource(**fields: Any) -> dict[str, Any]:
    return {"resourceType": "DiagnosticReport", "status": "final", **fields}


def attachment(text: str, kind: str = "text/plain", encoding: str = "utf-8") -> dict[str, str]:
    return {"contentType": kind, "data": base64.b64encode(text.encode(encoding)).decode()}


def write(folder: Path, *lines: object, name: str = "reports.ndjson") -> Path:
    path = folder / name
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    return path


def test_a_report_finds_its_patient_study_images_and_results_in_its_bundle() -> None:
    report = reports_of(open_reports(FIXTURES / "bundle_r4.json"))["ACC-1"]
    assert report.patient_id == "MRN-1"
    assert (report.study_uids, report.instance_uids) == (("1.2.3.100",), ("1.2.3.100.1", "1.2.3.100.2"))
    assert (report.date, report.language, report.place) == ("2021-05-06", "en", "bundle_r4.json#6")
    assert report.sections == {
        "findings": "Lungs: Invented lungs are clear.\nNodule size: 2.5 cm",
        "impression": "Normal invented chest.",
    }


def test_a_presented_form_is_read_before_the_conclusion_that_it_contains() -> None:
    report = reports_of(open_reports(FIXTURES / "bundle_r4.json"))["ACC-2"]
    assert report.text == "Befund:\nGröße < 5 mm.\nSonst nichts.\nBeurteilung:\nKlein."
    assert report.parts() == {"findings": "Größe < 5 mm.\nSonst nichts.", "impression": "Klein."}
    assert (report.further_accessions, report.patient_id) == (("ACC-3",), "MRN-2")


def test_the_names_of_r5_are_read_too() -> None:
    (report,) = open_reports(FIXTURES / "bundle_r5.json").reports
    assert (report.accession, report.patient_id, report.date) == ("ACC-5", "MRN-5", "2024-02")
    assert report.instance_uids == ("1.2.5.100.9", "1.2.5.100.7", "1.2.5.100.8")
    assert (report.study_uids, report.file_names) == (("1.2.5.100",), ("images/shot_5.png",))
    assert report.sections == {"findings": "Invented liver.", "impression": "Normal invented liver."}


def test_what_is_in_a_bundle_and_is_no_valid_report_is_refused_by_its_number() -> None:
    assert set(open_reports(FIXTURES / "bundle_r4.json").refusals) == {
        Refusal("bundle_r4.json#8", Reason.WITHDRAWN),
        Refusal("bundle_r4.json#9", Reason.NOT_A_REPORT),
    }


def test_a_bulk_export_is_read_across_its_files_and_the_last_version_counts() -> None:
    opened = open_reports(FIXTURES / "bulk")
    reports = reports_of(opened)
    assert {report.patient_id for report in opened.reports} == {"MRN-9"}
    assert reports["ACC-n1"].parts()["findings"] == "Invented, amended."
    assert reports["ACC-n2"].text == "Invented plain text."
    assert reports["ACC-n4"].sections == {"report": "Invented text.", "impression": "Another impression."}
    assert set(opened.refusals) == {
        Refusal("DiagnosticReport.ndjson:1", Reason.SUPERSEDED),
        Refusal("DiagnosticReport.ndjson:4", Reason.UNSUPPORTED_FORM),
        Refusal("DiagnosticReport.ndjson:7", Reason.MALFORMED_REPORT),
        Refusal("DiagnosticReport.ndjson:8", Reason.NOT_A_REPORT),
    }


def test_bundles_do_not_see_each_other_s_patients(tmp_path: Path) -> None:
    def bundle(number: str) -> dict[str, Any]:
        patient = {"resourceType": "Patient", "id": "p", "identifier": [{"value": number}]}
        report = resource(id="r", subject={"reference": "Patient/p"}, conclusion="x")
        return {"resourceType": "Bundle", "entry": [{"resource": patient}, {"resource": report}]}

    write(tmp_path, bundle("MRN-A"), bundle("MRN-B"))
    write(tmp_path, bundle("MRN-C"), name="one.json")
    assert sorted(one.patient_id for one in open_reports(tmp_path).reports) == ["MRN-A", "MRN-B", "MRN-C"]


def test_the_id_of_a_server_is_no_patient_number(tmp_path: Path) -> None:
    (report,) = open_reports(
        write(tmp_path, resource(subject={"reference": "Patient/7"}, conclusion="x"))
    ).reports
    assert report.patient_id == ""


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"resourceType": "DiagnosticReport",\n', Reason.MALFORMED_REPORT),
        ('{"resourceType": "DiagnosticReport", "x": ' + "[" * 100_000 + "\n", Reason.TOO_DEEP),
        ('{"resourceType": "DiagnosticReport", "x": ' + "1" * 5000 + "}\n", Reason.MALFORMED_REPORT),
        (resource(conclusion="x" * 2_000_000), Reason.TOO_LONG),
        (resource(presentedForm=[attachment("x" * 7_000_000)]), Reason.TOO_LONG),
        (resource(), Reason.EMPTY_REPORT),
        (resource(conclusion=["", 3, None, {"a": 1}]), Reason.EMPTY_REPORT),
        (resource(presentedForm=[{"contentType": "text/plain", "data": "?"}]), Reason.MALFORMED_REPORT),
        (resource(presentedForm=[attachment("a\0b")]), Reason.NOT_TEXT),
        (resource(presentedForm=[attachment("{}", "application/rtf")]), Reason.UNSUPPORTED_FORM),
        ({"resourceType": "Location"}, Reason.NOT_A_REPORT),
        ("[]\n", None),
        ("3\n", Reason.NOT_A_REPORT),
    ],
)
def test_a_bad_line_costs_itself_and_has_one_reason(
    tmp_path: Path, line: object, reason: Reason | None
) -> None:
    opened = open_reports(write(tmp_path, line, "\n", resource(conclusion="fine")))
    assert [report.text for report in opened.reports] == ["fine"]
    assert [refusal.reason for refusal in opened.refusals] == ([] if reason is None else [reason])


def test_a_line_that_is_not_utf_8_is_refused_as_that(tmp_path: Path) -> None:
    path = write(tmp_path, resource(conclusion="fine"))
    path.write_bytes(
        path.read_bytes() + json.dumps(resource(conclusion="Größe"), ensure_ascii=False).encode("cp1252")
    )
    assert open_reports(path).refusals == (Refusal("reports.ndjson:2", Reason.NOT_UTF8),)


def test_half_a_surrogate_cannot_reach_the_store(tmp_path: Path) -> None:
    (report,) = open_reports(write(tmp_path, resource(conclusion="a\ud800b"))).reports
    assert report.text == "a\ufffdb"


def test_observations_that_hold_one_another_end() -> None:
    def observation(number: int) -> dict[str, Any]:
        return {
            "valueString": f"text {number}",
            "hasMember": [{"reference": "o1"}, {"reference": "o2"}],
        }

    resources = {"o1": observation(1), "o2": observation(2)}
    text = report_text(
        resource(result=[{"reference": "o1"}]), lambda one: resources.get(str(one.get("reference")), {})
    )
    assert not isinstance(text, Reason)
    assert text.words == "FINDINGS: text 1\ntext 2"


FIELDS = "subject identifier value reference media link presentedForm data result contentType imagingStudy"
FIELDS += " conclusion type coding contained id status"
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS.split()), inner, max_size=4)
    ),
    max_leaves=12,
)


@no_deadline
@given(
    st.dictionaries(
        st.sampled_from(["subject", "identifier", "media", "presentedForm", "result"]), json_values
    )
)
def test_no_json_of_the_wrong_shape_breaks_the_reader(
    tmp_path_factory: pytest.TempPathFactory, fields: dict[str, Any]
) -> None:
    path = write(tmp_path_factory.mktemp("fhir"), resource(conclusion="x") | fields)
    opened = open_reports(path)
    assert len(opened.reports) + len(opened.refusals) == 1


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("a<br>b<BR/>c", "a\nb\nc"),
        ("<p>one\ntwo</p><p>three", "one two\nthree"),
        ("<pre>one\ntwo</pre>", "one\ntwo"),
        ("<h1>Findings</h1>Clear", "Findings:\nClear"),
        ("<h1>Findings:</h1>Clear", "Findings:\nClear"),
        ("size &lt; 5&nbsp;mm &amp; more", "size < 5 mm & more"),
        ("a < b and c > d", "a < b and c > d"),
        ("<table><tr><td>L</td><td>clear</td></tr></table>", "L clear"),
        ("<script>x</script>a<!-- c -->b<style>y", "ab"),
        ("<!-- never closed", ""),
        ("", ""),
    ],
)
def test_html_as_a_reader_sees_it(markup: str, text: str) -> None:
    assert plain_text(markup) == text


@pytest.mark.parametrize("filler", ["<", "<!--", "<p", "<h1>", "</script", "&", "<script>", " <"])
def test_hostile_html_takes_no_more_than_a_moment(filler: str) -> None:
    started = time.process_time()
    plain_text(filler * (1_000_000 // len(filler)))
    plain_text(filler + "a" * 1_000_000)
    assert time.process_time() - started < 5

"""What a scrub removes and what it keeps, case by case."""

import time

import pytest

from client.ingest.deidentify import Identifiers, Kind, scrub, stretches

NOBODY = Identifiers()
SOMEBODY = Identifiers(
    names=(
        "Long^Rose^J",
        "Müller-Lüdenscheidt^Jürgen^^Dr",
        "O'Brien^María José",
        "van der Berg^Anna",
        "Li^Wei",
    ),
    ids=("MRN-0012345", "A0112B5D545"),
    dates=("20210203",),
    birth_dates=("19350314",),
    institutions=("St. Mary General Hospital", "Charité Berlin"),
)

CLINICAL = """
Parkinson disease with Grey-Turner sign; Paris classification type 2.
T2 hyperintense, 12 mm, L4/5 and C5-C6 disc, T1-weighted, 5/5 strength, 1.5 x 2.3 cm, 20x42x42mm, BI-RADS 4.
Density of 35 Hounsfield units. Hodgkin lymphoma, Crohn disease, Kerley B lines, Baker cyst.
History of Parkinson. Non-Hodgkin lymphoma. M. Crohn, M. Parkinson, M. psoas. Sister Mary Joseph nodule.
COVID-19, SARS-CoV-2, 2019-nCoV, IL-6, CA 19-9, CA-125, 18F-FDG, 99mTc.
HER2, PD-L1, BRCA1, p53, H1N1, pT2bN0M0, WBC 250000 cells, 120000/mm3, 1000-1500 HU, 150-450 ng.
MR angiography. MR Brain. MR Abdomen. DR chest. MS plaques. Axial MR. Masses are seen.
Guidelines of 2017. Onset 3 months ago. A 76-year-old man, smoker since 2014.
8 Fr. catheter, 12.420, 0.9 x10^3, SpO2 92%, BP 120/80.
Mass at 12:00 position of the left breast; left breast, 3:00. Ratio 1:10. Ribs 10-11-12. G3P1001. S1Q3T3.
T10-T11, L5-S1, C2-6. This may be seen. Image 12/45, series 3. In 2-3 weeks. Punkt 10 am rechten Rand.
Discussed with the ED. Discussed with Surgery. Performed by CT. Followed by MRI. Reviewed with Radiology.
Patient: Male, 45 years. Patient: Immunosuppressed. Findings reported by Nursing.
Circle of Willis, vein of Galen, foramen of Monro, tetralogy of Fallot, loop of Henle, Virchow-Robin spaces.
3/10 pain, grade 4/5 power, ICD-10 J12.82, 786.2 cough, 38.5 degrees, 120 kVp, 200 mAs, DLP 350 mGy.
Pat. mit V.a. Pneumonie links basal, M. Bechterew, Z.n. OP, 8 mm Herd, kein Erguss.
Radiographie du thorax de face: pas d'épanchement. Maladie de Crohn.
Radiografía de tórax: sin derrame. Enfermedad de Parkinson.
No Acute Cardiopulmonary Abnormality. CHEST 2 VIEWS. PORTABLE CHEST. HEAD CT WITHOUT CONTRAST.
Long segment stenosis, white matter disease, young man, head of the femur, rose thorn, small stone.
""".strip().splitlines()


@pytest.mark.parametrize("sentence", CLINICAL)
def test_medicine_comes_through_unchanged(sentence: str) -> None:
    assert scrub(sentence, NOBODY).text == sentence


@pytest.mark.parametrize("sentence", CLINICAL)
def test_medicine_comes_through_whoever_the_patient_is(sentence: str) -> None:
    patient = Identifiers(names=("Long^Rose", "White^Young", "Small^Peter", "Head^Grace"))
    assert scrub(sentence, patient).text == sentence


@pytest.mark.parametrize(
    ("report", "scrubbed"),
    [
        (
            "Dictated by Dr. Farid Quintanilla on 05/11/2016. Call 555-915-5361 with questions.",
            "Dictated by Dr. [NAME] on [DATE]. Call [PHONE] with questions.",
        ),
        ("Ms/Mr Szabo was examined on 2021-01-11.", "Ms/Mr [NAME] was examined on [DATE]."),
        (
            "Discussed with Ivanenko by e-mail (ivanenko@hospital.example).",
            "Discussed with [NAME] by e-mail ([EMAIL]).",
        ),
        ("Drs. Smith and Jones, dr. kowalski, DR. SMITH", "Drs. [NAME] and [NAME], dr. [NAME], DR. [NAME]"),
        ("Signed by: JOHN SMITH MD", "Signed by: [NAME] MD"),
        ("Signed by Grace White.", "Signed by [NAME]."),
        (
            "Electronically signed by Jane Q. Doe, M.D. on 3 May 2020 at 10:15 AM",
            "Electronically signed by [NAME], M.D. on [DATE]",
        ),
        ("Attending: Kim, Mary B. Exam: chest", "Attending: [NAME] Exam: chest"),
        (
            "Herr Dr. med. Schmidt, Frau Klein, PD Dr. Vogel",
            "Herr Dr. med. [NAME], Frau [NAME], PD Dr. [NAME]",
        ),
        ("befundet von Schulze, gez. Huber", "befundet von [NAME], gez. [NAME]"),
        (
            "M. Dupuis est vu pour une toux avec le Dr Martin.",
            "M. [NAME] est vu pour une toux avec le Dr [NAME].",
        ),
        ("Señora García López, firmado por José Ruiz", "Señora [NAME], firmado por [NAME]"),
    ],
)
def test_names_that_no_header_tells_go_with_their_titles_and_signatures(report: str, scrubbed: str) -> None:
    assert scrub(report, NOBODY).text == scrubbed


DATES = """
2021-01-11; 2021/1/11; 2021.01.11; 11.01.2021; 11. 1. 2021; 11.1.21; 1/11/21; 01/11/2021; 01-11-2021;
01-11-21; 11-Jan-2021; 11 Jan 21; 11JAN2021; Jan 11, 2021; January 11th 2021; 11th of January, 2021;
January 2021; Jan '21; 20210111; 20210111101500; 2021-01-11T10:15:00Z; 2021-01-11 10:15; 11 janvier 2021;
1er mars 2020; 3. März 2021; 3 de mayo de 2020; 23-27 January 2020; January 23, 2020 at 10:15; 11 enero;
Monday, 3 May 2020; 1/2020; 12.2019; 05/11/|2016; 05/|11/2016; January|11, 2021; 14h30 le 3 mai 2020;
10:15 Uhr am 3.5.2020
"""


@pytest.mark.parametrize("written", [date.strip().replace("|", "\n") for date in DATES.split(";")])
def test_dates_become_one_token_however_they_are_written(written: str) -> None:
    report = f"Compared with the study of {written} there is no change."
    assert scrub(report, NOBODY).text == "Compared with the study of [DATE] there is no change."


PHONES = """
(555) 123-4567; +49 30 123456; 030/1234567; 555.123.4567; 01 23 45 67 89; 555-1234; +34 612 345 678;
0171 2345678; 1-800-555-1234; 555-123-4567 ext. 12
"""


@pytest.mark.parametrize("written", [phone.strip() for phone in PHONES.split(";")])
def test_telephone_numbers_go(written: str) -> None:
    assert scrub(f"Please ring {written} for more.", NOBODY).text == "Please ring [PHONE] for more."


@pytest.mark.parametrize(
    ("report", "kind"),
    [
        ("Tel.: 12345", Kind.PHONE),
        ("pager 1234", Kind.PHONE),
        ("a.b@c.example", Kind.EMAIL),
        ("yamaguchi@\nhospital.example", Kind.EMAIL),
        ("x (at) y.de", Kind.EMAIL),
        ("http://x.org/y?z=1", Kind.LINK),
        ("www.abc.com", Kind.LINK),
        ("hospital.org/path", Kind.LINK),
        ("SSN 123-45-6789", Kind.ID),
        ("1.2.826.0.1.3680043.8.498.1", Kind.ID),
        ("RAD-21-12345", Kind.ID),
        ("S-2021-12345", Kind.ID),
        ("acc# 12345", Kind.ID),
        ("ID: AB 1234", Kind.ID),
        ("case no. 4521", Kind.ID),
        ("8478921", Kind.ID),
        ("CXR1234567", Kind.ID),
        ("Fallnummer 123456", Kind.ID),
        ("AE0D9D55621", Kind.ID),
        ("123 Main Street, Boston, MA 02114", Kind.PLACE),
        ("12 rue de la Paix", Kind.PLACE),
        ("Hauptstraße 12, 12345 Berlin", Kind.PLACE),
        ("SW1A 1AA", Kind.PLACE),
        ("Calle Mayor 5", Kind.PLACE),
        ("P.O. Box 123", Kind.PLACE),
        ("Massachusetts General Hospital", Kind.PLACE),
        ("Mayo Clinic", Kind.PLACE),
        ("St. Mary's Hospital", Kind.PLACE),
        ("Universitätsklinikum Heidelberg", Kind.PLACE),
        ("lives in Springfield", Kind.PLACE),
        ("93-year-old", Kind.AGE),
        ("aged 95", Kind.AGE),
        ("101 Jahre alt", Kind.AGE),
        ("on 3/14", Kind.DATE),
        ("in March", Kind.DATE),
        ("born in 1945", Kind.DATE),
        ("at 10:15", Kind.TIME),
        ("around 18:00 h", Kind.TIME),
        ("3 pm", Kind.TIME),
    ],
)
def test_what_reaches_or_numbers_a_person_becomes_a_token_of_its_kind(report: str, kind: Kind) -> None:
    result = scrub(report, NOBODY)
    assert result.counts == {kind: 1}
    assert not any(letter.isdigit() for letter in result.text)


NAMES = """
Müller; Mueller; Muller; MÜLLER; müller; Muellre; M?ller; MÃ¼ller; Müllers; Ludenscheid;
Lüdenscheidt, J.; Müller-Lüdenscheidt; Mueller Luedenscheidt; Müller-|Lüdenscheidt; M ü l l e r;
Mu\u0308ller; Mül\u00adler; drmüller; Jürgen; O'Brien; OBrien; O Brien; O’BRIEN; o-brien; Obrein; brien;
Maria-Jose; MARIA JOSE; mariajose; María|José O'Brien; van der Berg; Van Der Berg; Vanderberg;
A. van der Berg; Anna Berg; berg, anna; Long, Rose; LONG, ROSE; Rose Long; rose long; J. Long;
Rose J. Long; Mr Long; mr long; Long, R.; Dr. Rose; Wei Li; Mr Li
"""


@pytest.mark.parametrize("written", [name.strip().replace("|", "\n") for name in NAMES.split(";")])
def test_names_of_the_headers_go_in_every_spelling(written: str) -> None:
    assert scrub(f"seen by {written} today", SOMEBODY).text.split() in (
        ["seen", "by", "[NAME]", "today"],
        ["seen", "by", written.split()[0], "[NAME]", "today"],
    )


@pytest.mark.parametrize(
    "written",
    [
        "12345",
        "0012345",
        "mrn12345",
        "12 345",
        "123-45",
        "MRN-0012345",
        "MRN 0012345",
        "a0112b5d545",
        "A0112 B5D545",
        "A0112-B5D545",
    ],
)
def test_numbers_of_the_headers_go_in_every_spelling(written: str) -> None:
    assert scrub(f"study {written} of today", SOMEBODY).text in (
        "study [ID] of today",
        "study MRN [ID] of today",
    )


@pytest.mark.parametrize(
    "written", ["born 1935", "03/14", "14.03.", "14.03.1935", "14 March 1935", "19350314"]
)
def test_dates_of_the_headers_go_even_without_a_year(written: str) -> None:
    assert scrub(f"patient, {written}, today", SOMEBODY).counts == {Kind.DATE: 1}


@pytest.mark.parametrize(
    "written", ["St Mary General Hospital", "st. mary general hospital", "Charité", "charite"]
)
def test_institutions_of_the_headers_go(written: str) -> None:
    assert scrub(f"made at {written} today", SOMEBODY).text == "made at [PLACE] today"


@pytest.mark.parametrize(
    ("report", "scrubbed"),
    [
        ("The long segment was seen by Long today.", "The long segment was seen by [NAME] today."),
        ("Long was seen. Long segment is seen.", "[NAME] was seen. Long segment is seen."),
        ("ROSE LONG, 45Y", "[NAME], 45Y"),
        ("PATIENT WITH LONG SEGMENT STENOSIS", "PATIENT WITH LONG SEGMENT STENOSIS"),
        ("Patient: Long", "Patient: [NAME]"),
        (
            "patient long was seen; the patient may have long segments",
            "patient [NAME] was seen; the patient may have long segments",
        ),
        ("Long\nRose\nChest radiograph", "[NAME]\nChest radiograph"),
        ("Mr. Head had a head CT. Head CT normal.", "Mr. [NAME] had a head CT. Head CT normal."),
        (
            "Parkinson's disease; circle of Willis; Mr Parkinson.",
            "Parkinson's disease; circle of Willis; Mr [NAME].",
        ),
        (
            "Smith fracture. Smith chest radiograph. M. Smith.",
            "Smith fracture. [NAME] chest radiograph. [NAME].",
        ),
        ("Paris classification; seen by Paris today", "Paris classification; seen by [NAME] today"),
        ("MRT Stein im Ureter. Herr Stein hat ein Stein.", "MRT Stein im Ureter. Herr [NAME] hat ein Stein."),
    ],
)
def test_a_name_that_is_also_a_word_goes_only_where_it_means_the_person(report: str, scrubbed: str) -> None:
    people = Identifiers(
        names=("Long^Rose", "Head^John", "Parkinson^Willis", "Smith^Mary", "Ashby^Paris", "Stein^Eva")
    )
    assert scrub(report, people).text == scrubbed


def test_countries_stay_and_towns_go() -> None:
    report = "Trip to Italy, then travelled to Wuhan, China."
    assert scrub(report, NOBODY).text == "Trip to Italy, then travelled to [PLACE]."


def test_counts_say_how_many_of_each_kind_came_in_and_not_those_that_were_there() -> None:
    result = scrub("[NAME] and Dr. Kim, 1/2/2020 and 3/4/2020, [DATE]", NOBODY)
    assert result.text == "[NAME] and Dr. [NAME], [DATE] and [DATE], [DATE]"
    assert result.counts == {Kind.NAME: 1, Kind.DATE: 2}


def test_the_identifiers_of_two_studies_unite() -> None:
    both = Identifiers(names=("Szabo^Lena",), ids=("77123",)) | Identifiers(names=("Szabo^Lena", "Umar^Hana"))
    assert both == Identifiers(names=("Szabo^Lena", "Umar^Hana"), ids=("77123",))


def test_empty_headers_and_placeholders_remove_nothing() -> None:
    blank = Identifiers(
        names=("", "^^", "Anonymous^Patient"), ids=("", "1"), dates=("",), institutions=("", "Hospital")
    )
    report = "The patient in bed 1 was sent to hospital; the source is unknown."
    assert scrub(report, blank).text == report
    assert scrub("", blank).text == ""


def test_stretches_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    report = "\n".join(
        f"{number}. Seen by Dr. Rose Long on {1 + number % 28} March 2020; Müller, 12345, {number % 9} mm."
        for number in range(400)
    )
    whole = scrub(report, SOMEBODY)
    monkeypatch.setattr(stretches, "STRETCH", 2048)
    assert scrub(report, SOMEBODY) == whole
    assert whole.counts == {Kind.NAME: 800, Kind.DATE: 400, Kind.ID: 400}


def test_a_word_cut_by_the_end_of_a_stretch_is_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretches, "STRETCH", 997)
    report = "quinidine " * 2000
    assert scrub(report, Identifiers(names=("Quin^Ada",))).text == report


def test_what_only_a_removal_shows_goes_in_the_same_scrub() -> None:
    report = "REFERRED BY DR. KOWA KOWB KOWC KOWD KOWE LONG TODAY"
    assert scrub(report, SOMEBODY).text == "REFERRED BY DR. [NAME] TODAY"


def test_a_short_number_goes_with_leading_zeros_too() -> None:
    assert scrub("chart 01234 of bed 12345", Identifiers(ids=("1234",))).text == "chart [ID] of bed 12345"


NASTY = [
    "a",
    "A",
    "1",
    " ",
    ".",
    "a.",
    "A.",
    "A. ",
    "1-",
    "1 ",
    "1.",
    "a@",
    "a@b.",
    "Dr. A ",
    "(",
    "\n",
    "www.",
    "S-",
    "van der ",
    "Li ",
    "Patient: ",
    "signed by ",
    "[NAME]",
    "1 Jan ",
    "+1",
    "01 ",
    "ID ",
    "A1-",
    "a_",
    "e\u0301",
    "Aa Hospital ",
    "rue ",
    "discussed ",
    "L?i",
    "a.com",
    "Long, Rose ",
    "12345 ",
    "10:10 ",
    "Mr. Long Long ",
    "Dr. Aa and ",
    "tel 1",
    "Aa, MD ",
]


@pytest.mark.parametrize("pattern", NASTY)
def test_no_text_holds_it_up(pattern: str) -> None:
    """Time grows with the number of stretches, so one that is read quickly bounds a report of any length."""
    start = time.process_time()
    scrub(pattern * (stretches.STRETCH // len(pattern)), SOMEBODY)
    assert time.process_time() - start < 5

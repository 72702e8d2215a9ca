"""The page: its numbers are the records' numbers, it loads nothing, and a name is never markup."""

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import plotly.offline
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_samples import NAMES, comparison_json, rounds_jsonl, run_json, write_run

from common.errors import InputRefusedError
from server.report.page import LIBRARY, write_report
from server.report.panels import literal, round_axis, site_line

MOST_BYTES = 6_000_000
PLOTLY = plotly.offline.get_plotlyjs()
ASIDE = "plotly"
HOSTILE = (
    "</script><script>window.broken=1</script>",
    "<img src=http://example.org/x onerror=alert(1)>",
    '"><b>&amp; %{x} {{ 7*7 }}',
    "a\u2028b 'c' \\ $x^2$",
)


class Page(HTMLParser):
    """What a browser would find: tags with attributes, table cells, scripts, all visible text.

    Plotly itself is put aside before the page is parsed, which takes the parser ten times as long.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._cell = False
        self.libraries = text.count(PLOTLY)
        self.feed(text.replace(PLOTLY, ASIDE))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self._cell = tag in ("td", "th") or (self._cell and tag == "small")
        if tag == "small":
            self.handle_data("|")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] == "script" and data.strip():
            self.scripts.append(data)
            self.tags.append(("", {}))
        elif self._cell:
            self.rows[-1][-1] += data
        self.text += data

    @property
    def figures(self) -> list[dict[str, Any]]:
        loaded: list[dict[str, Any]] = json.loads(self.scripts[0])
        return loaded

    def row(self, name: str) -> list[str]:
        return next(row for row in self.rows if row and row[0] == name)


def page_of(folder: Path, *, compared: bool = True, **about: Any) -> Page:
    only = {key: about[key] for key in ("sites", "tasks") if key in about}
    run_about = {key: value for key, value in about.items() if key != "late"}
    write_run(
        folder, run_json(**run_about), rounds_jsonl(**about), comparison_json(**only) if compared else None
    )
    path = write_report(folder)
    assert path == folder / "report.html"
    assert path.stat().st_size < MOST_BYTES
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return page_of(tmp_path_factory.mktemp("demo"), late="st-brigid")


def test_the_score_table_holds_the_records(page: Page) -> None:
    for model in comparison_json()["models"]:
        estimates = [model["final"]["mean_auroc"], *(score["auroc"] for score in model["final"]["zero_shot"])]
        cells = [f"{e['value']:.3f}|{e['low']:.3f}–{e['high']:.3f}" for e in estimates]
        assert page.row(model["name"]) == [model["name"], *cells]


def test_the_hospital_table_holds_the_records(page: Page) -> None:
    cells = page.row("st-brigid")
    assert cells[1:8] == ["351", "95", "317", "7,020", "20", "0", "5"]
    assert cells[8:11] == ["1 min 03 s", "246.8 MB", "329.6 MB"]
    assert cells[-1] == "no answer within 600 s (5×)"


def test_the_curves_hold_the_records(page: Page) -> None:
    drawn = [trace["y"] for figure in page.figures for trace in figure["data"]]
    rounds = rounds_jsonl(late="st-brigid")
    assert [line["evaluation"]["mean_auroc"] for line in rounds] in drawn
    assert [line["seconds"]["training"] for line in rounds] in drawn
    lakeside = [float(f"{line['sites'][0]['losses']['masked_image']:.5g}") for line in rounds]
    assert lakeside in drawn


def test_a_round_without_an_answer_is_a_gap_in_the_loss(page: Page) -> None:
    lines = [trace for figure in page.figures for trace in figure["data"] if trace.get("meta") == 1]
    assert lines
    for line in lines:
        assert [number for number, y in zip(line["x"], line["y"], strict=True) if y is None] == [
            2,
            6,
            10,
            14,
            18,
        ]


def test_every_interval_is_drawn_to_its_ends(page: Page) -> None:
    ends = {
        (
            round(trace["x"][0] - trace["error_x"]["arrayminus"][0], 9),
            round(trace["x"][0] + trace["error_x"]["array"][0], 9),
        )
        for figure in page.figures
        for trace in figure["data"]
        if "error_x" in trace
    }
    for model in comparison_json()["models"]:
        for score in model["final"]["zero_shot"]:
            assert (round(score["auroc"]["low"], 9), round(score["auroc"]["high"], 9)) in ends


def test_the_summary_says_who_how_good_and_what_left(page: Page) -> None:
    for words in (
        "3 hospitals (lakeside, st-brigid and harbour) trained one vision-language model",
        "together in 20 rounds",
        "on 1,053 rows of images and reports from 951 patients",
        "mean zero-shot AUROC over 7 tasks is 0.842 (95 % interval 0.822 to 0.862; 0.5 is chance)",
        "That is 98.1 % of what training with all data in one place reaches in as many optimiser steps.",
        "It is above every model that a hospital trains alone (the best: lakeside alone, 0.740)",
        "What left each hospital over the whole run: 246.8 MB",
    ):
        assert words in page.text


def test_what_it_takes_to_repeat_the_run_is_there(page: Page) -> None:
    for words in ("5f" * 32, "c4" * 32, "inprocess", "4,123,456", "7, 8, 9"):
        assert words in page.text


def test_every_chart_has_a_title_and_every_figure_a_place(page: Page) -> None:
    places = [attributes for tag, attributes in page.tags if attributes.get("class") == "chart"]
    assert len(places) == len(page.figures) > 20
    assert all(place["aria-label"] for place in places)


def test_plotlys_own_classes_know_every_setting_of_every_figure(page: Page) -> None:
    for figure in page.figures:
        drawn = go.Figure(figure).to_plotly_json()
        assert drawn["data"] == figure["data"]
        assert {**drawn["layout"], "template": None} == {**figure["layout"], "template": None}


def test_a_page_is_written_without_plotlys_classes() -> None:
    looked = "import sys, server.report.page; sys.exit('plotly.basedatatypes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", looked], check=False).returncode == 0


def test_every_axis_that_measures_is_labelled(page: Page) -> None:
    for figure in page.figures:
        layout = figure["layout"]
        assert layout["xaxis"]["title"]["text"]
        assert layout["yaxis"]["title"]["text"] or "ticktext" in layout["yaxis"]


def test_nothing_is_loaded_from_anywhere(page: Page) -> None:
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert (attributes.get(name) or "data:").startswith("data:")
    style = re.findall(r"(?:@import|url\()", page.text)
    assert style == []


def test_only_the_scripts_of_the_page_may_run_and_none_may_fetch(page: Page) -> None:
    policy = next(
        str(attributes["content"])
        for tag, attributes in page.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "http" not in policy
    for script in (PLOTLY, page.scripts[2]):
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


def test_plotly_is_there_once(page: Page) -> None:
    assert page.libraries == 1
    assert page.scripts[1] == ASIDE


@pytest.mark.parametrize("name", ["PLOTLY", str(LIBRARY)])
def test_no_name_is_taken_for_the_place_of_plotly(tmp_path: Path, name: str) -> None:
    write_run(tmp_path, {**run_json(rounds=1), "name": name}, rounds_jsonl(rounds=1))
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert page.count(PLOTLY) == 1
    assert f"<title>{html.escape(name)}" in page


def test_the_same_records_give_the_same_page(tmp_path: Path) -> None:
    write_run(tmp_path, run_json(rounds=2), rounds_jsonl(rounds=2))
    first = write_report(tmp_path).read_bytes()
    assert write_report(tmp_path).read_bytes() == first


@pytest.mark.parametrize("sites", [1, 20])
@pytest.mark.parametrize("rounds", [1, 200])
def test_any_size_of_run_fits_the_page(tmp_path: Path, sites: int, rounds: int) -> None:
    page = page_of(tmp_path, sites=NAMES[:sites], rounds=rounds)
    assert len([row for row in page.rows if row[0] in NAMES]) == sites
    assert f"in {rounds} round" in page.text


def test_a_run_without_labels_says_so_and_shows_retrieval(tmp_path: Path) -> None:
    page = page_of(tmp_path, tasks=())
    assert "No held-out patient is labelled, so there is no AUROC" in page.text
    assert "outranks a random wrong one with probability 0.867" in page.text
    assert "Found among the first 10" in page.text


def test_a_run_with_nothing_measured_still_has_a_page(tmp_path: Path) -> None:
    run = run_json(tasks=(), rounds=1)
    run["final"]["retrieval"] = []
    rounds = rounds_jsonl(tasks=(), rounds=1)
    rounds[0]["update_norm"] = rounds[0]["clipped_share"] = None
    for told in (*rounds[0]["sites"], rounds[0]["cohort"]):
        told["losses"] = told["validation"] = {}
    page = Page(write_report(write_run(tmp_path, run, rounds)).read_text())
    assert "nothing says how good it is" in page.text
    assert "Losses" not in page.text


def test_what_secure_aggregation_tells_is_drawn_of_all_hospitals_together(tmp_path: Path) -> None:
    rounds = rounds_jsonl()
    for line in rounds:
        line["cohort"] = {"examples": 9, "losses": {"masked_image": 1 / line["round"]}}
        for site in line["sites"]:
            site["losses"] = site["validation"] = {}
    run = run_json()
    for site in run["sites"]:
        site["examples"] = site["seconds_training"] = None
    page = Page(write_report(write_run(tmp_path, run, rounds)).read_text())
    cells = page.row(run["sites"][0]["name"])
    assert (cells[4], cells[8]) == ("–", "–")
    assert "Losses of all hospitals together" in page.text
    assert "Losses by hospital" not in page.text
    assert "loss on validation patients" not in page.text
    drawn = [trace["y"] for figure in page.figures for trace in figure["data"]]
    assert [float(f"{1 / line['round']:.5g}") for line in rounds] in drawn


def test_a_run_without_a_comparison_compares_nothing(tmp_path: Path) -> None:
    page = page_of(tmp_path, compared=False)
    assert page.row("federated")[1] == "0.842|0.822–0.862"
    for words in ("central", "trains alone", "local-only"):
        assert words not in page.text.split("How to repeat")[0].split("FedVLP · federated")[1]


def test_a_hospital_that_refused_every_round_is_seen(tmp_path: Path) -> None:
    page = page_of(tmp_path, refusing="harbour")
    cells = page.row("harbour")
    assert cells[5:8] == ["0", "20", "0"]
    assert cells[-1] == "the bundle is not approved here (20×)"
    assert "A hospital did not take part 20 times (20 refused, 0 late)" in page.text
    heatmap = next(trace for figure in page.figures for trace in figure["data"] if trace["type"] == "heatmap")
    assert heatmap["z"] == [[0] * 20, [0] * 20, [1] * 20]


def test_rounds_that_were_not_evaluated_are_left_out_of_the_curve(tmp_path: Path) -> None:
    rounds = rounds_jsonl(rounds=6)
    for line in rounds[::2]:
        line["evaluation"] = {"mean_auroc": None, "zero_shot": {}}
    page = Page(write_report(write_run(tmp_path, run_json(rounds=6), rounds)).read_text())
    assert page.figures[0]["data"][0]["x"] == [2, 4, 6]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_never_markup(tmp_path: Path, page: Page, name: str) -> None:
    sites = (name, *NAMES[1:3])
    hostile = page_of(tmp_path, sites=sites, late="st-brigid")
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in page.tags]
    assert hostile.row(name)[1] == "310"
    assert "<" not in hostile.scripts[0]
    labels = [text for figure in hostile.figures for text in figure["layout"]["yaxis"].get("ticktext", ())]
    assert not [label for label in labels if "<" in label]


@given(st.text())
def test_a_literal_label_holds_no_markup_and_reads_as_written(text: str) -> None:
    label = literal(text)
    assert not {"<", ">"} & set(label)
    assert "%{" not in label
    assert html.unescape(label) == text


@given(st.integers(min_value=1, max_value=10_000))
def test_the_round_axis_has_few_labels_and_all_rounds(last: int) -> None:
    axis = round_axis(last)
    assert axis["range"][0] < 1
    assert axis["range"][1] > last
    assert last // axis["dtick"] <= 7


def test_thirty_hospitals_have_thirty_lines() -> None:
    assert len({tuple(site_line(index).values()) for index in range(30)}) == 30


@pytest.mark.parametrize("file", ["run.json", "rounds.jsonl", "comparison.json"])
def test_a_broken_record_leaves_the_older_page(tmp_path: Path, file: str) -> None:
    write_run(tmp_path, run_json(), rounds_jsonl(), comparison_json())
    (tmp_path / "report.html").write_text("older")
    (tmp_path / file).write_text('{"round": 1')
    with pytest.raises(InputRefusedError, match=file):
        write_report(tmp_path)
    assert (tmp_path / "report.html").read_text() == "older"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@pytest.mark.parametrize("name", ["lakeside", '<b>h</b> & %{x} "q"', HOSTILE[0]])
def test_a_browser_draws_every_chart_without_an_error(tmp_path: Path, name: str) -> None:
    page = page_of(tmp_path / "run", sites=(name, *NAMES[1:3]), late="st-brigid")
    dom, messages = _open(tmp_path / "run" / "report.html", profile=tmp_path / "profile")
    assert f'data-charts="{len(page.figures)}"' in dom
    assert len(re.findall(r'<div class="chart js-plotly-plot"', dom)) == len(page.figures)
    assert dom.count('class="main-svg"') >= len(page.figures)
    assert "CONSOLE" not in messages
    shown = name if len(name) <= 22 else name[:21] + "…"
    assert f">{html.escape(shown, quote=False)}</text>" in dom


def _open(path: Path, *, profile: Path) -> tuple[str, str]:
    """The document after its scripts ran, and what the browser had to say."""
    switches = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --enable-logging=stderr "
        "--virtual-time-budget=20000 --dump-dom"
    )
    command = ["chromium", *switches.split(), f"--user-data-dir={profile}", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, done.stderr

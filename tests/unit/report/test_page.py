import html.parser
import re

import pytest
from unit.report import fake_run

from histoweave.formats.report import read_results, read_texts
from histoweave.report.cohort import lead, parameters
from histoweave.report.derived import derived
from histoweave.report.page import pictures_of, render, sections_of
from histoweave.report.run import Run


def run_of(root, folder, figures=()):
    texts = read_texts(root / "workflow/report", root / "envs", root / "config/demo/datasets.tsv")
    results = read_results(folder, fake_run.MODELS)
    return Run(
        tables=derived(results.tables, fake_run.MODELS) | {"datasets": texts.datasets},
        files=results.files,
        config=fake_run.config(),
        pictures=pictures_of(figures, {"heatmap": "Slide heatmap\n\nLeft the\nslide."}),
        records=results.records,
        texts=texts.others,
    )


def page_of(root, folder, figures=()):
    return render(run_of(root, folder, figures), templates=root / "workflow/report", title="A <test> run")


class Tags(html.parser.HTMLParser):
    """All tags with their attributes, in order."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


@pytest.fixture(scope="module")
def page(root, results):
    figures = [
        {"figure": "participants", "svg": "<svg/>", "alt": "a flow", "file": "participants.svg"},
        {"figure": "heatmap__highest", "svg": "", "alt": "Not drawn: no slide.", "file": ""},
    ]
    return page_of(root, results, figures)


def test_page_refers_to_nothing_outside(page):
    for tag, attributes in Tags(page).found:
        for name in ("src", "href", "action", "data"):
            value = attributes.get(name, "data:")
            assert value.startswith(("data:", "#", "../")), (tag, value)
    assert "default-src 'none'" in page
    assert "url(" not in page
    assert "@import" not in page


def test_every_image_has_words_and_every_input_a_label(page):
    tags = Tags(page).found
    images = [attributes for tag, attributes in tags if tag == "img"]
    assert [image["alt"] for image in images] == ["a flow"]
    assert all(attributes.get("aria-label") for tag, attributes in tags if tag == "input")


def test_what_comes_from_tables_is_escaped(page):
    assert "P&lt;b&gt;&amp;9" in page
    assert "<b>&9" not in page
    assert "<h1>A &lt;test&gt; run</h1>" in page


def test_a_number_links_to_its_row(page):
    assert '<a href="../evaluation/metrics.parquet" title="row 1 of evaluation/metrics.parquet">row&nbsp;1</a>' in page


def test_a_figure_that_was_not_drawn_gives_its_reason(page):
    assert "Not shown here: the figure &#39;Slide heatmap: highest&#39; (no slide)." in page


def test_equal_runs_give_equal_bytes_without_a_time(root, results):
    assert page_of(root, results) == page_of(root, results)
    assert not re.search(r"20\d\d-\d\d-\d\dT\d\d", page_of(root, results))


def test_without_any_table_one_sentence_names_the_sections_that_are_empty(root, tmp_path):
    text = page_of(root, tmp_path)
    sections, empty = sections_of(run_of(root, tmp_path))
    assert [section.anchor for section in sections] == ["assays", "limits", "methods", "checklists", "provenance"]
    assert len(empty) == 13
    assert text.count("<section id=") == 5
    assert text.count("not written by this run") == 1  # the slides, beside the datasets
    assert "The steps behind these sections were not part of this run. So there is nothing on: <span" in text


def test_anchors_are_unique_and_reachable(page):
    anchors = [attributes["id"] for _, attributes in Tags(page).found if "id" in attributes]
    assert len(anchors) == len(set(anchors))
    links = {a["href"][1:] for tag, a in Tags(page).found if tag == "a" and a["href"].startswith("#")}
    assert links <= set(anchors)


def test_within_noise_is_said_in_words(page):
    assert "within noise" in page


def test_headings_sort_as_buttons_and_numbers_carry_their_value(page):
    assert 'data-sort="0.6"' in page
    sources = page.count('<th scope="col">source</th>')
    assert page.count("<th ") - sources == page.count('<button type="button">')


def test_simulated_cohorts_are_called_so(root, results):
    run = run_of(root, results)
    plain = render(run, templates=root / "workflow/report", title="x")
    run.config["simulate"] = {"folder": "demo-data"}
    assert "The cohort is simulated" in render(run, templates=root / "workflow/report", title="x")
    assert "The cohort is simulated" not in plain


def test_headline_says_the_gain_and_that_it_is_noise(root, results):
    run = run_of(root, results)
    run.config["report"]["figures"]["main_model"] = "abmil_wsi"
    assert lead(run) == [
        "40 patients with 19 events; 3 survival models on the same folds; 60 genes in the gene graphs.",
        "abmil_wsi reaches a c-index of 0.65 (0.60 to 0.71); difference from cox_clinical 0.05 (-0.01 to 0.10):"
        " within noise.",
    ]
    run.config["report"]["figures"]["main_model"] = "nobody"
    assert len(lead(run)) == 1


def test_viewer_is_linked_only_where_there_is_one(root, results):
    run = run_of(root, results)
    assert "viewer/index.html" not in render(run, templates=root / "workflow/report", title="x")
    run.texts["viewer"] = "viewer/index.html"
    assert '<a href="viewer/index.html">' in render(run, templates=root / "workflow/report", title="x")


def test_a_number_of_the_summary_leads_to_its_row_and_on_to_the_file(page):
    tags = Tags(page).found
    row = next(given["href"] for tag, given in tags if tag == "a" and given["href"].startswith("#metrics-row"))
    assert any(given.get("id") == row[1:] for tag, given in tags if tag == "tr")


def test_events_per_parameter(root, results):
    cohort = run_of(root, results).table("cohort")
    assert parameters(cohort, {"age": "numeric", "sex": "category", "absent": "numeric"}) == 2
    assert "2 parameters: 10 events for each" in page_of(root, results)


def test_card_names_the_run(root, results):
    text = page_of(root, results)
    assert "hash of the configuration" in text
    assert "hash of the lock of packages" in text

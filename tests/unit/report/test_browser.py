"""The page in a real browser, from disk: nothing leaves the machine, tables sort and filter, all fits a phone."""

from pathlib import Path

import pytest
from unit.report.browser import CHROMIUM, Browser
from unit.report.test_page import page_of

from histoweave.plots.style import note_svg

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    made = Browser(tmp_path_factory.mktemp("profile"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def page(root, results):
    path = results / "report" / "report.html"
    path.parent.mkdir()
    figure = {"figure": "participants", "svg": note_svg("A flow"), "alt": "a flow"}
    path.write_text(page_of(root, results, [figure]), encoding="utf-8")
    return path


def test_only_the_page_itself_is_asked_for_and_nothing_is_faulty(browser, page):
    browser.open(page, width=1400)
    assert browser.faults() == []
    assert browser.requests() == [page.as_uri()]


def test_every_image_is_drawn_and_has_words(browser, page):
    browser.open(page, width=1400)
    images = browser.run("[...document.images].map(i => [i.alt, i.naturalWidth > 0])")
    assert images == [["a flow", True]]


def column(browser, number):
    rows = f"[...document.querySelectorAll('#table-metrics tbody tr')].map(r => r.cells[{number}].textContent)"
    return browser.run(rows)


def test_a_heading_sorts_numbers_up_and_down_with_missing_last(browser, page):
    browser.open(page, width=1400)
    click = "document.querySelectorAll('#table-metrics th button')[3].click()"
    browser.run(click)
    up = column(browser, 3)
    assert [text[:5] for text in up] == ["0.600", "0.650", "0.700", "n/a"]
    browser.run(click)
    assert [text[:5] for text in column(browser, 3)] == ["0.700", "0.650", "0.600", "n/a"]
    assert browser.run("document.querySelectorAll('#table-metrics th')[3].ariaSort") == "descending"


def test_a_filter_keeps_rows_with_all_words(browser, page):
    browser.open(page, width=1400)
    browser.run(
        "(() => { const i = document.querySelector('#table-tripod_ai .filter');"
        " i.value = 'participants events RUN'; i.dispatchEvent(new Event('input')); })()"
    )
    rows = "[...document.querySelectorAll('#table-tripod_ai tbody tr')]"
    shown = browser.run(rows + ".filter(r => !r.hidden).map(r => r.cells[0].textContent)")
    assert shown == ["20a", "21"]


@pytest.mark.parametrize("width", [1400, 400])
def test_nothing_is_wider_than_the_screen(browser, page, width):
    browser.open(page, width=width)
    assert browser.run("document.documentElement.scrollWidth") <= width


def test_links_to_rows_reach_the_files_beside_the_report(browser, page):
    browser.open(page, width=1400)
    paths = set(browser.run("[...document.querySelectorAll('td a[href^=\"../\"]')].map(a => new URL(a.href).pathname)"))
    assert paths
    assert all(Path(path).is_file() for path in paths)


def test_it_prints(browser, page):
    browser.open(page, width=1400)
    assert browser.pdf().startswith(b"%PDF")

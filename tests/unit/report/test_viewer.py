import json
import re

import numpy as np
import pandas as pd
import pytest
from unit.report.browser import CHROMIUM, Browser
from unit.report.test_page import Tags

from histoweave.formats.report import write_jpeg, write_png
from histoweave.plots.heatmap import overlay
from histoweave.report.pyramid import finest_level, pieces
from histoweave.report.viewer import Case, render_viewer


def case(name="highest", slide="S1", **changed):
    told = {"width": 300, "height": 200, "finest": 9, "tile_px": 64, "mpp": 0.5, "overlay_width": 1.0}
    return Case(**({"case": name, "slide": slide, "model": "abmil"} | told | changed))


def page(root, cases, note=""):
    return render_viewer(cases, templates=root / "workflow/report", title="A <b> run", note=note)


def test_page_holds_its_cases_and_asks_for_nothing_elsewhere(root):
    text = page(root, [case(), case("lowest", "S2")])
    data = json.loads(re.search(r'id="cases">(.*?)</script>', text)[1])
    assert [entry["slide"] for entry in data] == ["S1", "S2"]
    assert "default-src 'none'" in text
    links = [value for _, given in Tags(text).found for name, value in given.items() if name in ("src", "href")]
    assert set(links) == {"data:,", "../report.html#heatmaps"}
    assert "A &lt;b&gt; run" in text


def test_a_slides_name_cannot_end_the_script(root):
    text = page(root, [case(slide="</script><i>")])
    assert "</script><i>" not in text


def test_without_slides_it_says_why(root):
    text = page(root, [], note="No slide file is known for S1.")
    assert "No slide file is known for S1." in text
    assert 'id="stage"' not in text


def test_library_comes_with_its_licence(root):
    folder = root / "workflow/report/viewer"
    assert "Redistribution and use" in (folder / "openseadragon.LICENSE.txt").read_text()
    assert (folder / "openseadragon.min.js").read_text().startswith("//! openseadragon 6.1.1")


def write_viewer(root, folder):
    rng = np.random.default_rng(2)
    cases = []
    for name in ("highest", "lowest"):
        image = rng.integers(0, 256, (200, 300, 3)).astype(np.uint8)
        for level, column, row, pixels in pieces(image, tile_px=64):
            write_jpeg(pixels, folder / name / str(level) / f"{column}_{row}.jpg", quality=80)
        tiles = pd.DataFrame({"x": [0, 128], "y": [0, 64], "value": [0.2, 0.8]})
        colours = overlay(tiles, (300, 200), downsample=1.0, shrunk=2.0, tile_px0=64.0)
        write_png(colours, folder / name / "attention.png")
        cases.append(case(name, f"S-{name}", finest=finest_level(300, 200)))
    (folder / "index.html").write_text(page(root, cases), encoding="utf-8")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_viewer_opens_from_disk_and_changes_slides(root, tmp_path):
    write_viewer(root, tmp_path)
    browser = Browser(tmp_path / "profile")
    try:
        browser.open(tmp_path / "index.html", width=400)
        wait = "new Promise((done, fail) => {{ const until = Date.now() + 20000; const look = () =>"
        wait += " document.body.dataset.ready === '{0}' ? done(1) : Date.now() > until ? fail('late')"
        wait += " : setTimeout(look, 50); look(); }})"
        browser.run(wait.format("highest"))
        choose = "const s = document.getElementById('case'); s.value = '1'; s.dispatchEvent(new Event('change'))"
        browser.run(f"(() => {{ {choose} }})()")
        browser.run(wait.format("lowest"))
        # the library warns of pieces that come after the slide was changed
        assert [fault for fault in browser.faults() if "loaded before reset" not in fault] == []
        outside = [url for url in browser.requests() if not url.startswith(tmp_path.as_uri())]
        assert outside == []
        asked = {url.rsplit("/", 3)[-3] for url in browser.requests() if url.endswith(".jpg")}
        assert asked == {"highest", "lowest"}
        assert "µm" in browser.run("document.getElementById('length').textContent")
        assert browser.run("document.documentElement.scrollWidth") <= 400
    finally:
        browser.close()

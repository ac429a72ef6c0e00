"""The four scripts on a small finished run, as the rules call them."""

import importlib
import json

import numpy as np
import pytest
import tifffile
from unit.report import fake_run

from histoweave.errors import InputError
from histoweave.formats.ledger import LEDGER
from histoweave.formats.report import FIGURES

MODELS = list(fake_run.MODELS)


def call(name, *arguments, settings=None):
    script = importlib.import_module(f"scripts.report.{name}")
    script.main([*map(str, arguments), "--seed", "1", *(["--settings", json.dumps(settings)] if settings else [])])


def parts_of(results):
    return [path.relative_to(results / "ledger") for path in (results / "ledger").rglob("*.parquet")]


def draw(results, out):
    settings = fake_run.config()["report"]["figures"] | {"main_model": "abmil_wsi"}
    table = out / "figures.parquet"
    call(
        "draw_figures", "--results", results, "--models", *MODELS, "--out", out / "figures", "--table", table,
        settings=settings,
    )  # fmt: skip
    return table


@pytest.fixture(scope="module")
def finished(root, tmp_path_factory):
    results = fake_run.make(tmp_path_factory.mktemp("run"))
    call("join_ledgers", "--results", results, "--parts", *parts_of(results), "--out", results / "ledger.parquet")
    draw(results, results / "report")
    write(root, results, results / "report/report.html")
    return results


def write(root, results, out):
    datasets = root / "config/demo/datasets.tsv"
    places = ["--results", results, "--project", root, "--datasets", datasets, "--out", out]
    bibtex = out.with_suffix(".bib")
    call("write_report", *places, "--bibtex", bibtex, "--title", "A run", settings=fake_run.config())


def test_joined_ledger_holds_what_the_parts_hold(finished):
    rows = LEDGER.read(finished / "ledger.parquet")
    assert rows["item"].tolist() == ["T999", "P998", "P<b>&9"]
    assert len(LEDGER.metadata(finished / "ledger.parquet")["counts"]) == 2


def test_parts_that_no_rule_names_any_more_are_left_alone(finished, tmp_path):
    known = [part for part in parts_of(finished) if "survival" in str(part)]
    out = tmp_path / "ledger.parquet"
    call("join_ledgers", "--results", finished, "--parts", *known, "never/written.parquet", "--out", out)
    assert set(LEDGER.read(out)["stage"]) == {"survival"}


def test_every_figure_has_its_file_and_words(finished):
    table = FIGURES.read(finished / "report/figures.parquet").set_index("figure")
    assert all((finished / "report/figures" / file).read_text().lstrip().startswith("<") for file in table["file"])
    assert table.loc[["participants", "splits", "discrimination", "gene_map", "heatmap__highest"], "drawn"].all()
    assert not table.loc["heatmap__lowest", "drawn"]
    assert table["alt"].str.len().min() > 20


def test_a_second_run_writes_the_same_bytes(finished, root, tmp_path):
    draw(finished, tmp_path)
    for path in (finished / "report/figures").iterdir():
        assert path.read_bytes() == (tmp_path / "figures" / path.name).read_bytes(), path.name
    write(root, finished, tmp_path / "report.html")
    assert (finished / "report/report.bib").read_text().startswith("@")
    assert (finished / "report/report.html").read_bytes() == (tmp_path / "report.html").read_bytes()


def test_page_shows_every_figure_that_was_drawn(finished):
    table = FIGURES.read(finished / "report/figures.parquet")
    text = (finished / "report/report.html").read_text()
    assert text.count("<img ") == table["drawn"].sum()
    assert len(text) < 8e6


def test_a_damaged_table_is_named(finished, root, tmp_path):
    broken = tmp_path / "survival/cohort.parquet"
    broken.parent.mkdir()
    broken.write_bytes(b"not a table")
    with pytest.raises(InputError, match=r"cohort\.parquet is not a readable Parquet file"):
        draw(tmp_path, tmp_path / "report")


def test_viewer_cuts_the_slides_of_the_cases(finished, root, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (480, 640, 3)).astype(np.uint8)
    for name in ("T000", "T001"):
        tifffile.imwrite(tmp_path / f"{name}.tiff", pixels, tile=(128, 128), photometric="rgb")
    table = tmp_path / "slides.tsv"
    table.write_text("slide\tpatient\tpath\n" + "".join(f"{n}\tP\t{tmp_path / n}.tiff\n" for n in ("T000", "T001")))
    call(
        "make_viewer", "--results", finished, "--models", *MODELS, "--slides", table, "--title", "A run",
        "--templates", root / "workflow/report", "--out", tmp_path / "viewer",
        settings={"enabled": True, "longest_px": 320, "tile_px": 128, "jpeg_quality": 85},
    )  # fmt: skip
    text = (tmp_path / "viewer/index.html").read_text()
    assert "No file is known for slide T002." in text
    assert (tmp_path / "viewer/highest/9/2_1.jpg").is_file()
    assert not (tmp_path / "viewer/highest/9/3_0.jpg").exists()
    assert (tmp_path / "viewer/median/attention.png").is_file()
    assert '"mpp": 1.0' in text

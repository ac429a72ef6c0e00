import pandas as pd
import pytest
from PIL import Image

from histoweave.errors import InputError
from histoweave.formats import slides, survival
from histoweave.formats.ledger import LEDGER, Account
from histoweave.formats.report import (
    FIGURES,
    join_ledgers,
    read_figures,
    read_results,
    read_slide_paths,
    read_slides,
    read_texts,
)

FROM = {"step": "test"}


def part(path, stage, items, *, n_in, n_out):
    account = Account(stage)
    account.items("slide", stage, n_in=n_in, n_out=n_out)
    account.leave_out("slide", stage, items, "no tissue")
    account.write(path, provenance=FROM)
    return path


def test_joined_ledger_holds_all_rows_and_counts_whatever_the_order(tmp_path):
    one = part(tmp_path / "one.parquet", "slides", ["b", "a"], n_in=5, n_out=3)
    two = part(tmp_path / "two.parquet", "expression", ["c"], n_in=1, n_out=0)
    rows, counts = join_ledgers([one, two])
    assert rows["item"].tolist() == ["c", "a", "b"]
    assert [count["n_in"] for count in counts] == [1, 5]
    other, _ = join_ledgers([two, one])
    pd.testing.assert_frame_equal(rows, other)


def test_a_part_whose_counts_do_not_add_up_is_named(tmp_path):
    path = part(tmp_path / "one.parquet", "slides", ["a"], n_in=2, n_out=1)
    counts = [{"kind": "slide", "context": "slides", "n_in": 9, "n_out": 1}]
    LEDGER.write(LEDGER.read(path), path, provenance=FROM, counts=counts)
    with pytest.raises(InputError, match=r"one\.parquet: slides of 'slides': 9 went in, 1 came out and 1 stand"):
        join_ledgers([path])


def test_no_part_gives_an_empty_ledger():
    rows, counts = join_ledgers([])
    assert len(rows) == 0
    assert list(rows) == list(LEDGER.columns)
    assert counts == []


def test_results_hold_none_for_what_is_not_there(tmp_path):
    frame = pd.DataFrame({"patient": ["p"], "repeat": [0], "fold": [0], "role": ["test"]})
    survival.FOLDS.write(frame, tmp_path / "survival/folds.parquet", provenance=FROM)
    found = read_results(tmp_path, ["m"])
    assert found.tables["cohort"] is None
    assert found.tables["risk/m"] is None
    assert found.files["risk/m"] == "survival/m/risk.parquet"
    pd.testing.assert_frame_equal(found.tables["folds"], frame)
    assert found.records == {"folds": {"provenance": FROM, "format": "folds", "format_version": 1}}


def test_a_table_of_another_kind_is_refused(tmp_path):
    frame = pd.DataFrame({"patient": ["p"], "repeat": [0], "fold": [0], "role": ["test"]})
    survival.FOLDS.write(frame, tmp_path / "survival/cohort.parquet", provenance=FROM)
    with pytest.raises(InputError, match="expected a table of format 'cohort'"):
        read_results(tmp_path, [])


def test_a_models_name_cannot_lead_out_of_the_folder(tmp_path):
    with pytest.raises(InputError, match="cannot name a file"):
        read_results(tmp_path, ["../../etc"])


def test_slides_of_the_cases_with_their_scale(tmp_path):
    blank = {"str": "", "int": 0, "float": 1.0}
    row = {name: blank[kind] for name, kind in slides.QC.columns.items()}
    quality = pd.DataFrame([row | {"slide": "S1", "mpp": 0.25, "tile_um": 64.0, "thumbnail_downsample": 32.0}])
    attention = pd.DataFrame({"case": ["highest", "lowest"], "slide": ["S1", "S2"]})
    assert read_slides(tmp_path, {"attention": attention, "slides_qc": quality}) == {}
    (tmp_path / "slides/thumbnails").mkdir(parents=True)
    Image.new("RGB", (4, 3), (1, 2, 3)).save(tmp_path / "slides/thumbnails/S1.png")
    found = read_slides(tmp_path, {"attention": attention, "slides_qc": quality})
    assert list(found) == ["highest"]
    thumbnail = found["highest"].pop("thumbnail")
    assert thumbnail.shape == (3, 4, 3)
    assert thumbnail[0, 0].tolist() == [1, 2, 3]
    assert found["highest"] == {"downsample": 32.0, "tile_px0": 256.0, "mpp": 0.25}
    assert read_slides(tmp_path, {"attention": None, "slides_qc": quality}) == {}


def test_figures_come_with_their_text_where_they_were_drawn(tmp_path):
    rows = [("a", "a.svg", True, "words"), ("b", "b.svg", False, "Not drawn: x.")]
    FIGURES.write(pd.DataFrame(rows, columns=list(FIGURES.columns)), tmp_path / "figures.parquet", provenance=FROM)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures/a.svg").write_text("<svg/>")
    assert [row["svg"] for row in read_figures(tmp_path)] == ["<svg/>", ""]


def test_texts_and_versions(tmp_path):
    (tmp_path / "captions").mkdir()
    (tmp_path / "captions/flow.rst").write_text("Title\n\nWords.\n")
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs/one.yaml").write_text("dependencies:\n  - python =3.11\n  - pytorch =2.13.0\n")
    (tmp_path / "envs/requirements.txt").write_text("torch==2.13.0\n")
    (tmp_path / "methods.txt.j2").write_text("Slides were cut.")
    (tmp_path / "references.bib").write_text("@article{x,\n  year = {2000}\n}\n")
    for name in ("tripod_ai", "remark"):
        (tmp_path / f"{name}.yaml").write_text(f"name: {name}\nitems: []\n")
    (tmp_path / "datasets.tsv").write_text("dataset\tmodality\nd1\tscrna\n")
    texts = read_texts(tmp_path, tmp_path / "envs", tmp_path / "datasets.tsv")
    assert texts.captions == {"flow": "Title\n\nWords.\n"}
    assert texts.others["versions"] == {"python": "3.11", "pytorch": "2.13.0"}
    assert texts.others["tripod_ai"] == {"name": "tripod_ai", "items": []}
    assert len(texts.others["lock"]) == 24
    assert texts.others["methods"] == "Slides were cut."
    assert texts.datasets["dataset"].tolist() == ["d1"]
    assert read_texts(tmp_path, tmp_path / "envs", None).datasets is None


def test_slide_files_of_the_cases_and_who_has_none(tmp_path):
    table = tmp_path / "slides.tsv"
    table.write_text("slide\tpath\tfeatures\nS1\ta/S1.svs\t\nS2\t\tb/S2.h5\n")
    quality = pd.DataFrame({"slide": ["S1", "S2"], "mpp": [0.25, 0.5], "tile_um": [64.0, 64.0]})
    attention = pd.DataFrame({"case": ["highest", "lowest"], "slide": ["S1", "S2"], "model": "m", "score": [0.5, 1.0]})
    found, note = read_slide_paths(table, {"attention": attention, "slides_qc": quality})
    assert [(row["case"], str(row["path"]), row["tile_px0"]) for row in found] == [("highest", "a/S1.svs", 256.0)]
    assert found[0]["tiles"]["value"].tolist() == [0.5]
    assert note == "No file is known for slide S2."
    assert read_slide_paths(table, {}) == ([], "No model of this run wrote attention, so there is no slide to show.")
    assert read_slide_paths(None, {"attention": attention, "slides_qc": quality})[0] == []

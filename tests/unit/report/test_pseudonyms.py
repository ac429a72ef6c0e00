"""With `report.pseudonyms` nothing that may be shown around names a patient or slide as the hospital does."""

import re
from base64 import b64decode

import numpy as np
import pandas as pd
import pytest
import tifffile
from unit.report import fake_run
from unit.report.test_scripts import MODELS, call, parts_of

from histoweave.errors import InputError
from histoweave.formats.ledger import LEDGER
from histoweave.formats.report import PSEUDONYMS
from histoweave.formats.slides import QC
from histoweave.report.pseudonyms import Pseudonyms, assign
from histoweave.rng import generator

HIDE = Pseudonyms({"patient": {"TCGA-AA-0001": "P002", "12": "P001", "700112": "P003"}, "slide": {"S1": "S007"}})


def names(seed):
    tables = {"cohort": pd.DataFrame({"patient": ["b", "a", "c"]}), "none": None}
    ledger = {"kind": ["patient", "slide", "cell"], "item": ["d", "s", "x"]}
    return assign(tables | {"ledger": pd.DataFrame(ledger)}, generator(seed, "test"))


def test_all_who_are_named_get_one_and_no_other():
    made = names(1)
    assert sorted(made["name"]) == ["a", "b", "c", "d", "s"]
    assert sorted(made["pseudonym"]) == ["P001", "P002", "P003", "P004", "S001"]


def test_the_seed_alone_decides_who_is_who():
    pd.testing.assert_frame_equal(names(1), names(1))
    assert len({tuple(names(seed).sort_values("name")["pseudonym"]) for seed in range(9)}) > 3


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("slide S1: the process died", "slide S007: the process died"),
        ("S10 is not S1.", "S10 is not S007."),
        ("TCGA-AA-0001-01Z-00-DX1.svs is damaged", "P002-01Z-00-DX1.svs is damaged"),
        ("cannot open /data/Miller_Ann/x.svs", "cannot open (a file)"),
        ("patient 12 has 12 of 12.5 tiles", "patient P001 has 12 of 12.5 tiles"),
        ("twice: 700112", "twice: P003"),
        ("no patient is at risk", "no patient is at risk"),
    ],
)
def test_sentences(said, shown):
    assert HIDE.text(said) == shown
    assert Pseudonyms({}).text(said) == said


def test_somebody_without_pseudonym_is_refused():
    with pytest.raises(InputError, match=r"Remove pseudonyms\.parquet"):
        HIDE.tables({"cohort": pd.DataFrame({"patient": ["who"]})})


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished run at a hospital whose names are no pseudonyms, one of them in a reason."""
    monkeypatch.setattr(fake_run, "PATIENT", "MRN77")
    monkeypatch.setattr(fake_run, "SLIDE", "H24-")
    results = fake_run.make(tmp_path / "results")
    account = fake_run.Account("slides")
    account.items("slide", "late", n_in=2, n_out=0)
    account.leave_out("slide", "late", ["H24-998", "H24-997"], "failed: slide H24-998: /scans/MRN77998.svs is damaged")
    account.write(results / "ledger/slides/late.parquet", provenance=fake_run.FROM)
    call("join_ledgers", "--results", results, "--parts", *parts_of(results), "--out", results / "ledger.parquet")
    call("assign_pseudonyms", "--results", results, "--out", results / "pseudonyms.parquet")
    return results


def shown(root, results, tmp_path):
    """Make all that may be shown around; returns its folder."""
    out, hide = results / "report", ["--pseudonyms", results / "pseudonyms.parquet"]
    pixels = np.random.default_rng(1).integers(0, 256, (480, 640, 3)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "H24-000.tiff", pixels, tile=(128, 128), photometric="rgb")
    (tmp_path / "slides.tsv").write_text(f"slide\tpatient\tpath\nH24-000\tMRN77000\t{tmp_path}/H24-000.tiff\n")
    config = fake_run.config()
    figures = config["report"]["figures"] | {"main_model": "abmil_wsi"}
    common = ["--results", results, *hide]
    call("draw_figures", *common, "--models", *MODELS, "--out", out / "figures", "--table", out / "figures.parquet",
         settings=figures)  # fmt: skip
    call("write_report", *common, "--project", root, "--title", "A run", "--out", out / "report.html",
         "--bibtex", out / "references.bib", settings=config)  # fmt: skip
    call("make_viewer", *common, "--models", *MODELS, "--slides", tmp_path / "slides.tsv", "--title", "A run",
         "--templates", root / "workflow/report", "--out", out / "viewer",
         settings=config["report"]["viewer"] | {"longest_px": 320, "tile_px": 128})  # fmt: skip
    return out


def said_by(path):
    """A file's text, with that of the figures in it."""
    text = path.read_bytes().decode("utf-8", "replace")
    return text + "".join(b64decode(data).decode() for data in re.findall(r"svg\+xml;base64,([\w+/=]+)", text))


def test_nothing_that_is_shown_holds_a_name(run, root, tmp_path):
    folder = shown(root, run, tmp_path)
    table = PSEUDONYMS.read(run / "pseudonyms.parquet")
    assert set(LEDGER.read(run / "ledger.parquet")["item"]) | set(QC.read(run / "slides/qc.parquet")["slide"]) <= set(
        table["name"]
    )
    for path in folder.rglob("*"):
        found = [name for name in ("MRN77", "H24-", "P<b>&9", "P&lt;b") if name in str(path.relative_to(folder))]
        found += [name for name in ("MRN77", "H24-", "P<b>&9", "P&lt;b") if path.is_file() and name in said_by(path)]
        assert found == [], path
    new = dict(zip(table["name"], table["pseudonym"], strict=True))
    page, viewer = said_by(folder / "report.html"), (folder / "viewer/index.html").read_text()
    assert f"failed: slide {new['H24-998']}: (a file) is damaged" in page
    assert f"{new['H24-000']} (highest risk)" in page
    assert f'"slide": "{new["H24-000"]}"' in viewer
    assert f"No file is known for slide {new['H24-001']}, slide {new['H24-002']}." in viewer

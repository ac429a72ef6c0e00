import re

import pytest
from unit.report.test_page import run_of

from histoweave.report.blocks import Code, Listing, Text
from histoweave.report.methods import Citations, bibtex_of, entries_of, methods_section, reference_text
from histoweave.survival.registry import METHODS

BIB = """@article{b2001,
  author = {B, C.},
  title = {On {Cox} models},
  journal = {Journal},
  volume = {3},
  year = {2001},
  doi = {10.1/x}
}

@inproceedings{a2000,
  author = {A, B.},
  title = {Tiles},
  booktitle = {Meeting},
  year = {2000},
  eprint = {1234.5}
}
"""


def test_entries_and_their_lines():
    entries = entries_of(BIB)
    assert list(entries) == ["b2001", "a2000"]
    assert reference_text(entries["b2001"]) == "B, C. On Cox models. Journal 3 (2001). doi:10.1/x"
    assert reference_text(entries["a2000"]) == "A, B. Tiles. Meeting (2000). arXiv:1234.5"


def test_citations_are_numbered_as_they_come():
    citations = Citations(entries_of(BIB))
    assert citations.cite("a2000") == "[1]"
    assert citations.cite("b2001", "a2000") == "[2, 1]"
    with pytest.raises(KeyError, match="nobody"):
        citations.cite("nobody")


def section(root, results, **changed):
    run = run_of(root, results)
    run.config["survival"] |= changed
    blocks = methods_section(run).blocks
    text = " ".join(block.text for block in blocks if isinstance(block, Text))
    return text, blocks


def test_paragraph_holds_the_runs_settings(root, results):
    text, _ = section(root, results)
    assert "tiles of 256 px (128 µm)" in text
    assert "2 repeats of 2 folds" in text
    assert "a Cox model [" in text
    assert "age, sex" in text
    assert "G-HANet" not in text
    assert "{{" not in text


def test_paragraph_follows_the_models(root, results):
    text, _ = section(root, results, models={"ours": {"method": "ghanet"}})
    assert "G-HANet [" in text
    assert "Path-GPTOmic" not in text


def test_paragraph_says_what_was_left_out_and_who_came_from_elsewhere(root, results):
    text, _ = section(root, results)
    assert "trained without each" not in text
    assert "external cohort" not in text
    run = run_of(root, results)
    run.config["survival"]["one_site_out"] = {"models": ["ours"], "least_events": 7}
    run.config["inputs"]["cohorts"] = {"here": "train", "there": "external"}
    text = " ".join(block.text for block in methods_section(run).blocks if isinstance(block, Text))
    assert "ours was also trained without each site that had 7 or more events" in text
    assert "predicted the patients of 1 external cohort once" in text


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_named_with_its_citation(root, results, method):
    named = {
        "cox_clinical": "a Cox model", "coxnet_rna": "an elastic net", "coxnet_slide": "an elastic net",
        "coxnet_both": "an elastic net", "rsf_rna": "A random survival forest", "snn_rna": "A self-normalising network",
        "abmil_wsi": "Attention-based multiple-instance learning", "meanpool_wsi": "The mean of embedded tiles",
        "transmil_wsi": "TransMIL", "late_fusion": "Late fusion is the mean", "mcat": "MCAT", "survpath": "SurvPath",
        "path_gptomic": "Path-GPTOmic", "ghanet": "G-HANet",
    }  # fmt: skip
    text, _ = section(root, results, models={"ours": {"method": method}})
    assert re.search(rf"{named[method]} \[\d+\]", text)
    assert f"`{method}`" in (root / "README.md").read_text()


def test_permuted_follow_up_is_named_where_it_was_fitted(root, results):
    explain = {"models": None, "patients": 5, "tiles": 5, "steps": 5}
    assert "permuted follow-up" not in section(root, results, explain=explain | {"null_fits": 0})[0]
    text, _ = section(root, results, explain=explain | {"null_fits": 20})
    assert "those of 20 fits to permuted follow-up [" in text


def test_every_citation_has_its_entry(root, results):
    text, blocks = section(root, results)
    listed = next(block for block in blocks if isinstance(block, Listing)).entries
    bibtex = next(block for block in blocks if isinstance(block, Code)).text
    assert f"[{len(listed)}]" in text
    assert bibtex.count("@") == len(listed)


def test_every_reference_of_the_file_can_be_read(root):
    text = (root / "workflow/report/references.bib").read_text()
    entries = entries_of(text)
    assert len(entries) == text.count("\n@") + 1
    assert all("(" in reference_text(entry) for entry in entries.values())
    assert list(entries) == sorted(entries)


def test_without_texts_it_says_so(root, results):
    run = run_of(root, results)
    run.texts.clear()
    assert methods_section(run).blocks[0].tone == "missing"


def test_bibtex_file_holds_what_is_cited_and_no_more(root, results):
    text = bibtex_of(run_of(root, results))
    assert list(entries_of(text)) == sorted(entries_of(text))
    assert "@article{cox1972," in text
    assert "@article{wang2025," not in text
    assert text.endswith("}\n")

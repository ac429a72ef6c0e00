from histoweave.report.blocks import Picture, Section, Table, Text
from histoweave.report.folding import fold, why_empty

GONE = Text("Not available: evaluation/metrics.parquet was not written by this run.", "missing")
UNDRAWN = Picture("calibration", "Calibration", "", "Not drawn: the table 'calibration' is empty.", "")
WORDS, TABLE = Text("How to read this."), Table("t", "caption", ["a"], [])


def test_a_section_with_nothing_but_words_beside_what_is_missing_is_empty():
    sections = [Section("a", "A", [WORDS, GONE, UNDRAWN]), Section("b", "B", [WORDS])]
    kept, empty = fold(sections)
    assert [section.anchor for section in kept] == ["b"]
    assert [section.anchor for section in empty] == ["a"]


def test_what_a_section_lacks_is_gathered_at_its_end():
    (section,), empty = fold([Section("a", "A", [GONE, UNDRAWN, TABLE, WORDS, GONE])])
    assert not empty
    assert section.blocks[:2] == [TABLE, WORDS]
    assert section.blocks[2].text == (
        "Not shown here: evaluation/metrics.parquet was not written by this run; the figure 'Calibration' (the table"
        " 'calibration' is empty)."
    )


def test_a_lone_sentence_stays_as_it_is():
    (section,), _ = fold([Section("a", "A", [TABLE, GONE])])
    assert section.blocks == [TABLE, GONE]


def test_the_reason_is_what_the_run_was_not_given():
    inputs = {"patients": None, "slides": "s.tsv", "datasets": None}
    assert why_empty(inputs) == "This run was given no patients and no single-cell or spatial datasets."
    assert why_empty(dict.fromkeys(inputs, "x")).startswith("The steps behind")

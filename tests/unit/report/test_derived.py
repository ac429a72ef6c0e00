import pandas as pd

from histoweave.report.derived import derived, one_slide_per_case

ATTENTION = pd.DataFrame(
    [
        ("highest", "S2", 0.3),
        ("highest", "S1", 0.2),
        ("highest", "S1", 0.2),
        ("lowest", "S4", 0.5),
        ("lowest", "S3", 0.5),
    ],
    columns=["case", "slide", "attention"],
)


def test_the_slide_with_most_attention_stands_for_a_case():
    kept = one_slide_per_case(ATTENTION)
    assert kept.groupby("case")["slide"].unique().map(list).to_dict() == {"highest": ["S1"], "lowest": ["S3"]}
    assert len(kept) == 3


def test_first_model_of_the_config_that_has_attention_is_shown():
    tables = {"attention/a": None, "attention/b": ATTENTION, "attention/c": ATTENTION}
    assert set(derived(tables, ["a", "b", "c"])["attention"]["model"]) == {"b"}
    assert set(derived(tables, ["c", "a", "b"])["attention"]["model"]) == {"c"}


def test_without_tables_nothing_is_made_up():
    made = derived({}, ["a"])
    assert made["flow"] is None
    assert made["attention"] is None

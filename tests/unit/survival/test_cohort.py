import numpy as np
import pandas as pd
import pytest

from histoweave.errors import InputError
from histoweave.survival.cohort import assemble, check_expression, summary, with_roles


def tables():
    clinical = pd.DataFrame(
        {"patient": ["B", "A", "C", "D"], "site": ["s1", None, None, "s2"], "time_days": [10.0, 20, np.nan, 5],
         "event": [1.0, 0, 1, 1], "age": [50.0, 60, 70, 80]}
    )  # fmt: skip
    slides = pd.DataFrame(
        {"slide": ["a2", "a1", "b1"], "patient": ["A", "A", "B"], "site": ["s9", "s9", None],
         "status": ["ok", "ok", "failed"], "reason": ["", "", "broken"]}
    )  # fmt: skip
    return clinical, slides


def test_join_and_reasons():
    cohort, left_out = assemble(*tables(), {"D"}, at_least="any")
    assert cohort["patient"].tolist() == ["A", "D"]
    assert cohort["slides"].tolist() == ["a1 a2", ""]
    assert cohort["has_expression"].tolist() == [False, True]
    assert {(part.items, part.reason.split()[0]) for part in left_out} == {(("C",), "no"), (("B",), "does")}
    assert summary(cohort) == {"patients": 2, "events": 1, "with slide": 1, "with expression": 1, "sites": 2}


@pytest.mark.parametrize(("at_least", "kept"), [("none", "ABD"), ("slide", "A"), ("expression", "BD"), ("any", "ABD")])
def test_what_is_asked_for(at_least, kept):
    assert "".join(assemble(*tables(), {"B", "D"}, at_least=at_least)[0]["patient"]) == kept


def test_site_comes_from_patient_slide_or_barcode():
    clinical, slides = tables()
    clinical.loc[3, "patient"], clinical.loc[3, "site"] = "TCGA-AB-1234", None
    cohort, _ = assemble(clinical, slides, set(), at_least="none")
    assert dict(zip(cohort["patient"], cohort["site"], strict=True)) == {"A": "s9", "B": "s1", "TCGA-AB-1234": "AB"}


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [("time_days", 0.0, "'A' with time 0"), ("event", 2.0, "event 2"), ("patient", "B", "more than once.*'B'")],
)
def test_follow_up_that_cannot_be(column, value, text):
    clinical, slides = tables()
    clinical.loc[1, column] = value
    with pytest.raises(InputError, match=text):
        assemble(clinical, slides, {"A", "B", "D"}, at_least="any")


def test_nobody_left():
    with pytest.raises(InputError, match="no patient is left"):
        assemble(*tables(), set(), at_least="both")


def test_expression_scale_is_checked():
    frame = pd.DataFrame([[1.0, -2.0, np.nan], [3.0, 4.0, 5.0]], index=["A", "B"], columns=["g1", "g2", "g3"])
    kept, left_out = check_expression(frame, scale="zscore")
    assert list(kept) == ["g1", "g2"]
    assert left_out[0].items == ("g3",)
    for scale in ("counts", "tpm"):
        with pytest.raises(InputError, match=f"says '{scale}', but 1 values are negative .*'A', gene 'g2', -2"):
            check_expression(frame, scale=scale)
    with pytest.raises(InputError, match="largest value is 300"):
        check_expression(frame.abs() * 75, scale="log2_tpm")
    with pytest.raises(InputError, match="all 1 genes"):
        check_expression(frame[["g3"]], scale="zscore")


def test_genes_with_gaps_are_left_out_by_name_and_a_table_of_gaps_is_refused():
    frame = pd.DataFrame({"g1": [1.0, 2.0], "g2": [1.0, np.nan], "g3": [np.inf, 1.0]}, index=["A", "B"])
    kept, left_out = check_expression(frame, scale="tpm")
    assert list(kept) == ["g1"]
    assert [(one.kind, one.items, one.reason) for one in left_out] == [
        ("gene", ("g2", "g3"), "has values that are missing or infinite")
    ]
    with pytest.raises(InputError, match="all 2 genes of inputs.expression have missing values"):
        check_expression(frame[["g2", "g3"]], scale="tpm")


def test_cohorts_have_roles_and_patients():
    cohort, _ = assemble(*tables(), {"D"}, at_least="any")
    roles = {"here": "train", "there": "external"}
    frame = with_roles(cohort, {"A": "here", "B": "there", "D": "there"}, roles)
    assert frame["role"].tolist() == ["train", "external"]
    with pytest.raises(InputError, match=r"no patient of the cohort\(s\) 'there' is left"):
        with_roles(cohort, {"A": "here", "B": "there", "D": "here"}, roles)

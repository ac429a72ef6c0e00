import numpy as np
import pandas as pd
import pytest
from unit.report.test_page import run_of

from histoweave.report import cohort
from histoweave.report.blocks import Table, Text


def words(section):
    return " ".join(block.text for block in section.blocks if isinstance(block, Text))


def tables(section):
    return {block.name: block for block in section.blocks if isinstance(block, Table)}


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def test_characteristics_hold_covariates_and_sites(root, results):
    found = texts(tables(cohort.flow_section(run_of(root, results)))["baseline"])
    assert [row[0] for row in found] == ["age", "sex", "sex", "site", "site", "site", "site"]
    assert sum(int(row[2].split()[0]) for row in found[1:3]) == 40


def test_a_cohort_without_sites_has_none_in_the_table(root, results):
    run = run_of(root, results)
    run.tables["cohort"] = run.table("cohort").assign(site="")
    assert "site" not in {row[0] for row in texts(tables(cohort.flow_section(run))["baseline"])}


def test_endpoint_tells_events_follow_up_and_horizons(root, results):
    text = words(cohort.endpoint_section(run_of(root, results)))
    assert "The endpoint is OS of the patients' table" in text
    assert "19 of 40 patients (48 %) had an event" in text
    assert "365 days (1.0 years), 1,825 days (5.0 years)" in text


def test_follow_up_that_is_not_reached_is_said(root, results):
    run = run_of(root, results)
    run.tables["cohort"] = run.table("cohort").assign(event=1)
    assert "Median follow-up (reverse Kaplan-Meier) was not reached." in words(cohort.endpoint_section(run))


def test_missing_values_are_counted_per_field(root, results):
    run = run_of(root, results)
    frame = run.table("cohort").copy()
    frame.loc[:4, "age"] = np.nan
    run.tables["cohort"] = frame
    found = dict(texts(tables(cohort.endpoint_section(run))["missing-values"]))
    assert found["age"] == "5"
    assert found["event"] == "0"
    assert "patient" not in found


def test_slides_by_status_and_their_sizes(root, results):
    section = cohort.assays_section(run_of(root, results))
    assert "41 slides were given: 40 ok, 1 failed." in words(section)
    rows = {row[0]: row[1:] for row in texts(tables(section)["slides"])}
    assert rows["mpp"] == ["0.500"] * 5
    assert [row[0] for row in texts(tables(section)["datasets"])] == ["blood_1", "blood_2", "tumour_1", "tumour_st"]


def test_folds_are_proved_disjoint_by_patient_and_site(root, results):
    section = cohort.splits_section(run_of(root, results))
    text = words(section)
    assert "2 repeats of 2 folds. Patients with two roles in one fold: 0." in text
    assert "in the test part of 1 fold of a repeat" in text
    assert "No site is in the training and the test part of the same fold." in text
    counted = texts(tables(section)["folds"])
    assert len(counted) == 12
    assert sum(int(row[3]) for row in counted) == 4 * 40


def test_a_site_in_both_parts_is_a_caution(root, results):
    run = run_of(root, results)
    run.tables["cohort"] = run.table("cohort").assign(site="one")
    block = next(block for block in cohort.splits_section(run).blocks if getattr(block, "tone", "") == "caution")
    assert block.text.startswith("In 4 of 4 pairs of fold and site")


def test_a_patient_with_two_roles_is_counted(root, results):
    run = run_of(root, results)
    folds = run.table("folds")
    run.tables["folds"] = pd.concat([folds, folds[:1].assign(role="test")], ignore_index=True)
    assert "Patients with two roles in one fold: 1." in words(cohort.splits_section(run))


@pytest.mark.parametrize("section", ["flow", "endpoint", "assays", "splits"])
def test_without_tables_each_section_stands_and_says_so(root, tmp_path, section):
    made = getattr(cohort, f"{section}_section")(run_of(root, tmp_path))
    assert made.anchor == section
    assert "was not written by this run" in words(made)


def test_lead_without_a_cohort(root, tmp_path):
    assert cohort.lead(run_of(root, tmp_path)) == ["No table; no survival analysis."]


def test_without_a_cohort_the_lead_counts_what_is_there(root, results, tmp_path):
    run = run_of(root, results)
    for name in ("cohort", "gene_embedding"):
        run.tables.pop(name, None)
    assert cohort.lead(run) == ["41 slides; no survival analysis."]
    assert cohort.lead(run_of(root, tmp_path)) == ["No table; no survival analysis."]


def test_the_headline_needs_both_models(root, results):
    run = run_of(root, results)
    chosen = run.config["report"]["figures"]
    chosen["main_model"], chosen["reference_model"] = "path_gptomic", "nobody"
    assert cohort.headline(run) == []
    run.tables.pop("comparisons")
    assert cohort.headline(run) == []


def test_sites_in_two_parts_of_a_fold_are_a_caution(root, results):
    run = run_of(root, results)
    calm = [block for block in cohort.splits_section(run).blocks if "No site is in" in getattr(block, "text", "")]
    assert len(calm) == 1
    folds = run.table("folds").copy()
    folds.loc[folds["role"].eq("train").idxmax(), "role"] = "test"
    run.tables["folds"] = folds
    (found,) = [block for block in cohort.splits_section(run).blocks if "pairs of fold and site" in str(block)]
    assert found.text.startswith("In 1 of 16 pairs of fold and site")
    run.tables["cohort"] = run.table("cohort").drop(columns="site")
    said = words(cohort.splits_section(run))
    assert "pairs of fold and site" not in said
    assert "No site is in" not in said

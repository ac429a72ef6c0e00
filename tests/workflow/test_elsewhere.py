"""Sites and cohorts that the models have not seen, from the config to the tables of the evaluation."""

import numpy as np
import pandas as pd
import pytest
import yaml

pytestmark = pytest.mark.slow


def write_cohort(folder):
    """150 patients of five sites; those of E are an external cohort; age tells the risk."""
    rng = np.random.default_rng(7)
    score = rng.normal(size=150)
    days, last = rng.exponential(1500 * np.exp(-score)), rng.uniform(300, 4000, 150)
    frame = pd.DataFrame(
        {"patient": [f"P{i:03}" for i in range(150)], "site": np.array(list("ABCDE"))[np.arange(150) % 5]}
    )
    frame["time_days"], frame["event"] = np.ceil(np.minimum(days, last)), (days <= last).astype(int)
    frame["age"] = np.round(60 + 8 * score + 4 * rng.normal(size=150))
    frame["cohort"] = np.where(frame["site"] == "E", "elsewhere", "here")
    frame.to_csv(folder / "patients.tsv", sep="\t", index=False)
    config = {
        "inputs": {"patients": "patients.tsv", "covariates": {"age": "numeric"},
                   "cohorts": {"here": "train", "elsewhere": "external"}},
        "survival": {"models": {"cox_clinical": {"method": "cox_clinical"}}, "horizons_days": [365, 730],
                     "cohort": {"at_least": "none"}, "one_site_out": {"models": ["cox_clinical"]}},
    }  # fmt: skip
    (folder / "elsewhere.yaml").write_text(yaml.safe_dump(config))
    return frame


def test_models_meet_sites_and_cohorts_that_they_have_not_seen(project):
    people = write_cohort(project.folder)
    tables = [f"results/evaluation/{name}.parquet" for name in ("sites", "external")]
    done = project.snakemake("--configfile", "elsewhere.yaml", "--", *tables)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    sites, external = (pd.read_parquet(project.folder / name) for name in tables)
    c = sites[sites["metric"] == "c_index"].set_index("kind")
    assert c.loc["site", "site"].tolist() == list("ABCD")
    assert c.loc["mean of sites", "lower"] > 0.5
    row = external[(external["model"] == "cox_clinical") & (external["metric"] == "c_index")].iloc[0]
    assert (row["cohort"], row["n_patients"]) == ("elsewhere", 30)
    assert row["estimate"] > 0.6
    folds = pd.read_parquet(project.folder / "results/survival/external/folds.parquet").set_index("patient")["role"]
    assert set(folds[people.loc[people["site"] == "E", "patient"]]) == {"test"}
    assert set(folds[people.loc[people["site"] != "E", "patient"]]) == {"train", "validation"}

from pathlib import Path

import pandas as pd
import pytest
import yaml

from histoweave import steps
from histoweave.simulate.cohort import permute_follow_up, simulate_cohort
from histoweave.simulate.settings import SimulateSettings
from histoweave.simulate.slide import plan_slides
from histoweave.simulate.tables import NO_EXPRESSION, demo_tables, has_expression

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def tables():
    """What the simulator makes of the demo's config."""
    properties = yaml.safe_load((ROOT / "workflow/schemas/simulate.schema.yaml").read_text())["properties"]
    given = yaml.safe_load((ROOT / "config/demo.yaml").read_text())["simulate"]
    values = {key: leaf["default"] for key, leaf in properties.items()} | given
    settings = steps.settings_of(SimulateSettings, values)
    cohort = simulate_cohort(settings)
    permuted = permute_follow_up(cohort.patients, seed=settings.seed)
    return demo_tables(cohort, plan_slides(cohort, seed=settings.seed), permuted, folder=settings.folder)


@pytest.mark.parametrize("name", ["slides.tsv", "patients.tsv", "patients_permuted.tsv", "datasets.tsv"])
def test_committed_tables_are_what_the_simulator_makes(tables, name):
    assert (ROOT / "config/demo" / name).read_text() == tables[name]


def test_only_the_slide_without_resolution_has_mpp_in_the_table():
    slides = pd.read_csv(ROOT / "config/demo/slides.tsv", sep="\t")
    assert slides["mpp"].notna().sum() == 1


def test_a_few_patients_have_no_expression():
    patients = pd.read_csv(ROOT / "config/demo/patients.tsv", sep="\t")["patient"]
    assert (~has_expression(patients)).sum() == len(NO_EXPRESSION)

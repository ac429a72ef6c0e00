import pytest

from histoweave.simulate.cohort import Cohort, simulate_cohort
from histoweave.simulate.genes import GeneModel, simulate_genes
from histoweave.simulate.settings import SimulateSettings

DEMO = SimulateSettings(
    folder="demo-data",
    seed=10,
    patients=200,
    event_share=0.6,
    trait_effect=1.3,
    module_effect=1.3,
    age_effect=0.7,
    trait_echo=0.3,
    cells=300,
    spots=225,
)


@pytest.fixture(scope="session")
def settings() -> SimulateSettings:
    return DEMO


@pytest.fixture(scope="session")
def cohort() -> Cohort:
    return simulate_cohort(DEMO)


@pytest.fixture(scope="session")
def genes() -> GeneModel:
    return simulate_genes(seed=DEMO.seed)

"""What the demo cohort is made of."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class SimulateSettings:
    """The demo cohort.

    folder : where the big files go; seed : seed of the cohort, apart from the run's seed,
    so that the committed tables stay true whatever the run's seed is
    patients : how many; event_share : share of patients with an event
    trait_effect, module_effect, age_effect : log hazard ratio per SD of each
    trait_echo : correlation between the slide trait and the activity of module 2
    cells, spots : per single-cell and spatial dataset
    """

    section: ClassVar[str] = "simulate"
    folder: str
    seed: int
    patients: int
    event_share: float
    trait_effect: float
    module_effect: float
    age_effect: float
    trait_echo: float
    cells: int
    spots: int

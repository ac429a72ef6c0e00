"""Random numbers: one generator per task, made from the run's seed and the task's names.

No generator is shared between tasks, so that neither the number of workers nor their
order changes a result.
"""

import hashlib

import numpy as np


def derive_seed(seed: int, *names: object) -> int:
    """63-bit seed of the task called `names` under the run's `seed`."""
    text = "\x1f".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: object) -> np.random.Generator:
    """Numpy generator of the task called `names` under the run's `seed`."""
    return np.random.default_rng(derive_seed(seed, *names))

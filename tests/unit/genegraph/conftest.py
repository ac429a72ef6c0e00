"""Results must not depend on the number of cores, and small tensors are slower on several."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)

import pytest


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Tests run as steps do: one thread per process."""
    import torch

    torch.set_num_threads(1)

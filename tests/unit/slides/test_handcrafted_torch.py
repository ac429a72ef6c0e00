import numpy as np
import pytest
import torch
from unit.slides.pretend import GLASS, tissue_picture

from histoweave.slides import handcrafted, handcrafted_torch
from histoweave.slides.nuclei_torch import _label


@pytest.fixture(scope="module")
def tiles():
    pictures = [tissue_picture(64, 64, seed=n, margin=m)[0] for n, m in ((1, -0.5), (2, 0.1), (3, -0.5))]
    glass = np.broadcast_to(GLASS, (64, 64, 3)).astype(np.uint8)
    return np.stack([*pictures, glass, np.zeros((64, 64, 3), dtype=np.uint8)])


def test_the_batch_gives_the_numbers_of_single_tiles(tiles):
    expected = handcrafted.encode(tiles, mpp=0.5)
    found = handcrafted_torch.encode(tiles, mpp=0.5, device=torch.device("cpu"))
    off = np.abs(found - expected) / (np.abs(expected) + 1e-3)
    assert off.max() < 1e-5, handcrafted.feature_names()[int(off.max(axis=0).argmax())]


def test_on_a_gpu_too(tiles):
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    expected = handcrafted.encode(tiles, mpp=0.5)
    found = handcrafted_torch.encode(tiles, mpp=0.5, device=torch.device("cuda"))
    assert (np.abs(found - expected) / (np.abs(expected) + 1e-3)).max() < 1e-5


def test_labels_join_what_touches_and_nothing_else():
    spiral = torch.tensor(
        [
            [1, 1, 1, 1, 1, 1, 1],
            [0, 0, 0, 0, 0, 0, 1],
            [1, 1, 1, 1, 1, 0, 1],
            [1, 0, 0, 0, 1, 0, 1],
            [1, 0, 1, 0, 1, 0, 1],
            [1, 0, 0, 0, 0, 0, 1],
            [1, 1, 1, 1, 1, 1, 1],
        ],
        dtype=torch.bool,
    )
    labels = _label(torch.stack([spiral, ~spiral]))
    assert len(labels[0].unique()) == 3  # ground, the spiral, and the dot that touches it nowhere
    assert len(labels[1].unique()) == 2
    assert not set(labels[0].unique().tolist()[1:]) & set(labels[1].unique().tolist()[1:])

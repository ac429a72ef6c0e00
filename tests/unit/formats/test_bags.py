"""Bags stay in the files until they are used, and say the same as arrays."""

import mmap

import numpy as np
import pandas as pd
import pytest

from histoweave.formats import slides
from histoweave.formats.bags import JoinedBag, read_bags
from histoweave.formats.files import check_seal

SIZES = {"A": 7, "B": 1, "C": 12}
META = {"encoder": "named", "encoder_hash": "0", "mpp": 0.5, "tile_um": 128.0}


@pytest.fixture
def features(tmp_path):
    """Folder of feature files and what they hold."""
    rng, held = np.random.default_rng(0), {}
    for name, size in SIZES.items():
        held[name] = rng.normal(size=(size, 3)).astype(np.float32)
        tiles = pd.DataFrame({"tile": range(size), "x": range(size), "y": range(size)})
        path = tmp_path / f"{name}.h5ad"
        slides.write_features(held[name], tiles, path, names=["a", "b", "c"], meta=META, provenance={})
    return tmp_path, held


def held_by(array):
    """What lies under an array."""
    while getattr(array, "base", None) is not None:
        array = array.base
    return array


def test_a_bag_of_one_slide_is_a_view_of_its_file(features):
    folder, held = features
    (bag,) = read_bags(folder, [["A"]]).bags
    assert isinstance(held_by(bag), mmap.mmap)
    assert not bag.flags.writeable
    np.testing.assert_array_equal(bag, held["A"])


@pytest.mark.parametrize(
    "index", [slice(None), slice(3, 9), slice(6, 8), np.array([19, 0, 7, 7]), np.arange(20) % 3 == 0, np.array([], int)]
)
def test_a_bag_of_many_slides_is_indexed_like_one_array(features, index):
    folder, held = features
    (bag,) = read_bags(folder, [["A", "B", "C"]]).bags
    whole = np.concatenate([held[name] for name in "ABC"])
    assert isinstance(bag, JoinedBag)
    assert bag.shape == whole.shape == (len(bag), 3)
    np.testing.assert_array_equal(bag[index], whole[index])
    np.testing.assert_array_equal(np.mean(bag, axis=0, dtype=np.float64), whole.mean(axis=0, dtype=np.float64))


def test_compressed_files_are_read_as_well(features):
    folder, held = features
    data = slides.FEATURES.read(folder / "A.h5ad")
    data.write_h5ad(folder / "A.h5ad", compression="gzip")
    (bag,) = read_bags(folder, [["A"]]).bags
    np.testing.assert_array_equal(bag, held["A"])


def test_mapped_files_keep_their_checksum(features):
    check_seal(features[0] / "A.h5ad")

import h5py
import numpy as np
import pandas as pd
import pytest

from histoweave.errors import InputError
from histoweave.formats.feature_files import read_given
from histoweave.formats.slides import write_features

FEATURES = np.random.default_rng(1).standard_normal((5, 8)).astype(np.float32)
COORDS = np.arange(10).reshape(5, 2) * 256


def hdf5(path, datasets, attrs=None, on_coords=None):
    with h5py.File(path, "w") as file:
        for name, values in datasets.items():
            file[name] = values
        file.attrs.update(attrs or {})
        if on_coords:
            file["coords"].attrs.update(on_coords)
    return path


def test_trident(tmp_path):
    path = hdf5(
        tmp_path / "a.h5",
        {"features": FEATURES, "coords": COORDS},
        on_coords={"patch_size_level0": 512, "level0_magnification": 40},
    )
    with h5py.File(path, "a") as file:
        file["features"].attrs["encoder"] = "uni_v1"
    given = read_given(path, mpp=0.25)
    assert np.array_equal(given.features, FEATURES)
    assert np.array_equal(given.spatial, COORDS)
    assert (given.encoder, given.tile_um, given.mpp) == ("uni_v1", 128.0, 0.25)


def test_older_trident_has_an_axis_of_one_slide(tmp_path):
    path = hdf5(tmp_path / "a.h5", {"features": FEATURES[None], "coords": COORDS[None]})
    given = read_given(path, mpp=None)
    assert given.features.shape == (5, 8)
    assert np.array_equal(given.spatial, COORDS)


def test_clam_without_attributes(tmp_path):
    given = read_given(hdf5(tmp_path / "a.h5", {"features": FEATURES, "coords": COORDS.astype("i4")}), mpp=None)
    assert (given.encoder, given.names[0], len(given.names)) == ("given", "f0000", 8)
    assert np.isnan(given.tile_um)


def test_stamp_is_in_micrometres(tmp_path):
    path = hdf5(
        tmp_path / "a.h5",
        {"feats": FEATURES.astype(np.float16), "coords": COORDS.astype(np.float32)},
        {"unit": "um", "tile_size_um": 256.0, "extractor": "ctranspath", "stamp_version": "2.4.0"},
    )
    given = read_given(path, mpp=0.25)
    assert np.array_equal(given.spatial, COORDS * 4)
    assert (given.encoder, given.tile_um) == ("ctranspath", 256.0)
    assert np.isnan(read_given(path, mpp=None).spatial).all()


def test_stamp_without_a_unit_is_refused(tmp_path):
    with pytest.raises(InputError, match="coordinates in an unknown unit, expected 'um'"):
        read_given(hdf5(tmp_path / "a.h5", {"feats": FEATURES, "coords": COORDS}), mpp=0.5)


def test_parquet_with_and_without_places(tmp_path):
    frame = pd.DataFrame(FEATURES, columns=[f"hif_{n}" for n in range(8)])
    frame.to_parquet(tmp_path / "a.parquet")
    given = read_given(tmp_path / "a.parquet", mpp=None)
    assert given.names == list(frame)
    assert np.isnan(given.spatial).all()
    frame.assign(tile=range(5), x=COORDS[:, 0], y=COORDS[:, 1]).to_parquet(tmp_path / "b.parquet")
    given = read_given(tmp_path / "b.parquet", mpp=None)
    assert given.features.shape == (5, 8)
    assert np.array_equal(given.spatial, COORDS)


def test_npz(tmp_path):
    np.savez(tmp_path / "a.npz", feats=FEATURES.astype(np.float16), coords=COORDS)
    given = read_given(tmp_path / "a.npz", mpp=None)
    assert given.features.dtype == np.float32
    assert np.array_equal(given.spatial, COORDS)


def test_our_own(tmp_path):
    tiles = pd.DataFrame({"tile": range(5), "x": COORDS[:, 0], "y": COORDS[:, 1]})
    meta = {"encoder": "handcrafted", "encoder_hash": "abc", "mpp": 0.5, "tile_um": 128.0, "tile_level0_px": 256.0}
    names = [f"n{n}" for n in range(8)]
    write_features(FEATURES, tiles, tmp_path / "a.h5ad", names=names, meta=meta, provenance={})
    given = read_given(tmp_path / "a.h5ad", mpp=None)
    assert given.names == names
    assert np.array_equal(given.features, FEATURES)
    assert (given.encoder, given.tile_um, given.mpp) == ("handcrafted", 128.0, 0.5)
    assert (given.encoder_hash, given.side_px) == ("abc", 256.0), "a model takes them as those it was trained on"


def test_features_must_be_finite(tmp_path):
    bad = FEATURES.copy()
    bad[3, 2] = np.nan
    with pytest.raises(InputError, match="1 of 5 tiles have features that are not finite"):
        read_given(hdf5(tmp_path / "a.h5", {"features": bad, "coords": COORDS}), mpp=None)


@pytest.mark.parametrize(
    ("datasets", "text"),
    [
        ({"other": FEATURES}, "neither 'features'"),
        ({"features": FEATURES, "coords": COORDS[:3]}, "5 rows of features, but 3 of coordinates"),
        ({"features": FEATURES[0]}, "expected one row per tile"),
    ],
)
def test_other_layouts_are_refused(tmp_path, datasets, text):
    with pytest.raises(InputError, match=text):
        read_given(hdf5(tmp_path / "a.h5", datasets), mpp=None)


def test_broken_and_unknown_files_are_refused(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"no hdf5")
    with pytest.raises(InputError, match="a.h5 cannot be read as features"):
        read_given(tmp_path / "a.h5", mpp=None)
    (tmp_path / "a.pkl").write_bytes(b"")
    with pytest.raises(InputError, match="a.pkl: unknown kind of feature file"):
        read_given(tmp_path / "a.pkl", mpp=None)
    pd.DataFrame({"a": [1.0], "b": ["text"]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"1 column\(s\) are no numbers: 'b'"):
        read_given(tmp_path / "a.parquet", mpp=None)


def test_a_pickle_inside_npz_is_not_opened(tmp_path):
    np.savez(tmp_path / "a.npz", features=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="cannot be read as features"):
        read_given(tmp_path / "a.npz", mpp=None)


def test_features_of_hdf5_without_places_are_taken(tmp_path):
    given = read_given(hdf5(tmp_path / "a.h5", {"features": FEATURES}), mpp=0.5)
    assert np.array_equal(given.features, FEATURES)
    assert np.isnan(given.spatial).all()


def test_npz_of_other_names_or_lengths_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", embedding=FEATURES)
    with pytest.raises(InputError, match=r"a.npz: no array 'features' in it, only 'embedding'"):
        read_given(tmp_path / "a.npz", mpp=None)
    np.savez(tmp_path / "b.npz", feats=FEATURES, coords=COORDS[:4])
    with pytest.raises(InputError, match=r"b.npz: 5 rows of features, but 4 of coordinates\. Write it again"):
        read_given(tmp_path / "b.npz", mpp=None)

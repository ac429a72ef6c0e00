"""Files of one slide: names that are safe, what a file remembers of its making, pictures and outlines."""

import json

import numpy as np
import pandas as pd
import pytest

from histoweave.errors import InputError
from histoweave.formats import slides
from histoweave.formats.explained import heatmap_path, write_heatmap

META = {"encoder": "named", "encoder_hash": "0" * 24, "mpp": 0.5, "tile_um": 128.0}
TWO = pd.DataFrame({"tile": [0, 5], "x": [0, 256], "y": [512, 0]})


def test_every_file_of_a_slide_stands_in_a_folder_of_its_kind(tmp_path):
    found = slides.slide_files(tmp_path, "TCGA-1.a_b")
    assert {name: str(path.relative_to(tmp_path)) for name, path in found.items()} == {
        "tissue": "tissue/TCGA-1.a_b.geojson",
        "tiles": "tiles/TCGA-1.a_b.parquet",
        "features": "features/TCGA-1.a_b.h5ad",
        "thumbnail": "thumbnails/TCGA-1.a_b.png",
        "page": "qc_pages/TCGA-1.a_b.png",
    }


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "a b", "a..b", "-rf", "x" * 200, "a\nb", "é"])
def test_names_that_could_lead_elsewhere_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="cannot name a file"):
        slides.slide_files(tmp_path, name)
    with pytest.raises(InputError, match="cannot name a file"):
        heatmap_path(tmp_path, name)


def test_features_keep_names_places_and_what_made_them(tmp_path):
    values = np.array([[1.5, 2], [3, 4]])
    path = tmp_path / "s.h5ad"
    slides.write_features(values, TWO, path, names=["area", "hue"], meta=META | {"fingerprint": "f1"}, provenance={})
    data = slides.FEATURES.read(path)
    assert data.X.dtype == np.float32
    assert data.X.tolist() == values.tolist()
    assert data.var_names.tolist() == ["area", "hue"]
    assert data.obs_names.tolist() == ["0", "5"]
    assert data.obsm["spatial"].tolist() == [[0, 512], [256, 0]]
    assert (data.uns["encoder"], float(data.uns["mpp"])) == ("named", 0.5)
    assert slides.remembered_features(path) == ("f1", 2)


@pytest.mark.parametrize("missing", ["encoder", "encoder_hash", "mpp", "tile_um"])
def test_features_without_their_origin_are_not_written(tmp_path, missing):
    meta = {key: value for key, value in META.items() if key != missing}
    with pytest.raises(InputError, match=missing):
        slides.write_features(np.ones((2, 1)), TWO, tmp_path / "s.h5ad", names=["a"], meta=meta, provenance={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_not_written(tmp_path, value):
    with pytest.raises(InputError, match="not finite"):
        slides.write_features(
            np.array([[1.0], [value]]), TWO, tmp_path / "s.h5ad", names=["a"], meta=META, provenance={}
        )
    assert list(tmp_path.iterdir()) == []


def test_without_a_usable_file_nothing_is_remembered(tmp_path):
    assert slides.remembered(tmp_path / "none.parquet") == ("", {})
    assert slides.remembered_features(tmp_path / "none.h5ad") == ("", 0)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    (tmp_path / "broken.h5ad").write_bytes(b"\x89HDF")
    assert slides.remembered(tmp_path / "broken.parquet") == ("", {})
    assert slides.remembered_features(tmp_path / "broken.h5ad") == ("", 0)
    pd.DataFrame({"tile": [1]}).to_parquet(tmp_path / "foreign.parquet")
    assert slides.remembered(tmp_path / "foreign.parquet") == ("", {})


def test_a_tile_table_remembers_its_slide(tmp_path):
    path = tmp_path / "t.parquet"
    row = {"slide": "S", "mpp": 0.25}
    slides.TILES.write(slides.TILES.empty(), path, provenance={}, fingerprint="abc", row=row)
    assert slides.remembered(path) == ("abc", row)


def test_a_slide_of_several_files_is_named_by_all_of_them(tmp_path):
    main, folder = tmp_path / "a.mrxs", tmp_path / "a"
    main.write_bytes(b"index")
    alone = slides.fingerprint_slide(main)
    folder.mkdir()
    (folder / "Data0.dat").write_bytes(b"12345")
    first = slides.fingerprint_slide(main)
    (folder / "Data0.dat").write_bytes(b"123456")
    second = slides.fingerprint_slide(main)
    (folder / "Data1.dat").write_bytes(b"")
    assert len({alone, first, second, slides.fingerprint_slide(main)}) == 4


def test_pictures_come_back_as_they_were(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    slides.write_picture(pixels, tmp_path / "p.png")
    np.testing.assert_array_equal(slides.read_picture(tmp_path / "p.png"), pixels)
    assert slides.read_picture(tmp_path / "none.png") is None


def test_outlines_come_back_and_what_is_no_json_is_named(tmp_path):
    content = {"type": "FeatureCollection", "features": []}
    slides.write_geojson(content, tmp_path / "o.geojson")
    assert slides.read_geojson(tmp_path / "o.geojson") == content
    (tmp_path / "bad.geojson").write_text("{")
    for name in ("bad.geojson", "none.geojson"):
        with pytest.raises(InputError, match=f"{name} is no GeoJSON"):
            slides.read_geojson(tmp_path / name)


def test_a_heatmap_has_a_closed_square_and_a_colour_per_tile(tmp_path):
    path = heatmap_path(tmp_path, "S1")
    write_heatmap(path, np.array([[0, 0], [512, 256]]), 256.0, [0.0, 1.0], what="attention")
    first, second = json.loads(path.read_text())["features"]
    ring = second["geometry"]["coordinates"][0]
    assert ring[0] == ring[-1] == [512, 256]
    assert np.ptp(ring, axis=0).tolist() == [256, 256]
    assert first["properties"]["color"] == [0, 40, 255]
    assert second["properties"]["color"] == [255, 40, 0]
    assert second["properties"]["measurements"] == {"attention": 1.0}
    assert second["properties"]["objectType"] == "tile"


def test_a_heatmap_needs_a_score_for_every_tile(tmp_path):
    with pytest.raises(ValueError, match="shorter"):
        write_heatmap(tmp_path / "h.geojson", np.zeros((2, 2)), 1.0, [0.5], what="x")
    assert list(tmp_path.iterdir()) == []

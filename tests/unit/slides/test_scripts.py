"""The stage's three scripts, run in order on a small cohort that has every way to go wrong."""

import dataclasses
import errno
import importlib.util
import json
import re

import numpy as np
import pandas as pd
import pytest
import tifffile
from conftest import ROOT
from unit.slides.pretend import CUT, tissue_picture, write_aperio, write_generic, zero_tile
from unit.slides.test_encoders import SETTINGS

from histoweave import slide_encoding, slide_runs, steps
from histoweave.errors import InputError
from histoweave.formats import slides as files
from histoweave.formats.ledger import LEDGER

TILING_SETTINGS = json.dumps(dataclasses.asdict(CUT))


@pytest.fixture(scope="module")
def scripts(request):
    folder = request.config.rootpath / "workflow/scripts/slides"

    def load(name):
        spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.main

    return {name: load(name) for name in ("tile_slides", "encode_tiles", "summarise_slides")}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slides")
    picture, _ = tissue_picture(400, 500, seed=11)
    glass = np.full((300, 300, 3), 243, dtype=np.uint8)
    half = write_aperio(folder / "half.svs", picture, mpp=0.5)
    half.write_bytes(half.read_bytes()[:4000])
    np.savez(folder / "given.npz", features=np.ones((3, 4), dtype=np.float32), coords=np.zeros((3, 2)))
    paths = {
        "good": write_aperio(folder / "good.svs", picture, mpp=0.5),
        "table": write_generic(folder / "table.tiff", picture, mpp=None),
        "half": half,
        "empty": write_generic(folder / "empty.tiff", glass, mpp=0.5),
        "dots": write_generic(folder / "dots.tiff", picture, mpp=352.78),
        "unknown": write_generic(folder / "unknown.tiff", picture, mpp=None),
    }
    made = [{"slide": name, "patient": f"P{n}", "path": str(path)} for n, (name, path) in enumerate(paths.items())]
    made[1]["mpp"] = 0.5
    return [*made, {"slide": "given", "patient": "P9", "features": str(folder / "given.npz"), "site": "A"}]


def run_all(
    scripts, rows, folder, *, threads=1, code="1", export="none", tiling_settings=TILING_SETTINGS, tiles=CUT.tiles
):
    encoding_settings = json.dumps({"tiles": dataclasses.asdict(tiles), "encoder": dataclasses.asdict(SETTINGS)})
    text, common = json.dumps(rows), ["--folder", str(folder), "--code", code, "--threads", str(threads)]
    tiling, encoding = folder / "batches/b/tile_slides.parquet", folder / "batches/b/encode_tiles.parquet"
    scripts["tile_slides"](
        ["--rows", text, "--settings", tiling_settings, "--thumbnail-px", "256", "--out", str(tiling), *common]
    )
    scripts["encode_tiles"](
        ["--rows", text, "--settings", encoding_settings, "--tiling", str(tiling), "--out", str(encoding), *common]
        + ["--registry", str(ROOT / "resources/encoders.yaml"), "--export", export]
    )
    qc, ledger = folder / "qc.parquet", folder / "ledger.parquet"
    sheet = ["--folder", str(folder), "--sheet", str(folder / "contact_sheet.png")]
    scripts["summarise_slides"](["--manifests", str(encoding), "--ledger", str(ledger), "--out", str(qc), *sheet])
    return files.QC.read(qc).set_index("slide"), LEDGER.read(ledger).set_index("item")


@pytest.fixture(scope="module")
def finished(scripts, rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    return folder, *run_all(scripts, rows, folder)


def test_each_slide_ends_with_a_status(finished):
    _, qc, ledger = finished
    assert qc["status"].to_dict() == {
        "dots": "failed", "empty": "empty", "given": "ok", "good": "ok", "half": "failed", "table": "ok",
        "unknown": "failed",
    }  # fmt: skip
    assert sorted(ledger.index) == ["dots", "empty", "half", "unknown"]
    assert "Set 'mpp' for unknown in slides.tsv" in ledger.loc["unknown", "reason"]
    assert "no tissue" in qc.loc["empty", "reason"]
    assert qc.loc["table", ["mpp", "mpp_source"]].tolist() == [0.5, "table"]
    assert qc.loc["good", ["mpp", "mpp_source", "width_px", "height_px"]].tolist() == [0.5, "property", 500, 400]
    assert qc.loc["given", ["site", "n_tiles"]].tolist() == ["A", 3]


def test_features_stand_beside_their_tiles(finished):
    folder, qc, _ = finished
    paths = files.slide_files(folder, "good")
    features, tiles = files.FEATURES.read(paths["features"]), files.TILES.read(paths["tiles"])
    good = tiles[tiles["status"] == "ok"]
    assert features.shape == (len(good), 187) == (qc.loc["good", "n_tiles"], 187)
    assert np.array_equal(features.obsm["spatial"], good[["x", "y"]])
    assert features.uns["encoder"] == "handcrafted"
    assert features.uns["tile_um"] == 32.0
    assert "nuclei_per_mm2" in features.var_names


def test_outline_and_thumbnail_are_written(finished):
    folder, qc, _ = finished
    paths = files.slide_files(folder, "good")
    content = json.loads(paths["tissue"].read_text())
    assert len(content["features"]) == 1
    assert paths["thumbnail"].read_bytes()[:4] == b"\x89PNG"
    assert qc.loc["good", "thumbnail_downsample"] == 2


def snapshot(folder):
    return {
        p.relative_to(folder): p.stat().st_mtime_ns for p in folder.rglob("*") if p.parent.name in ("tiles", "features")
    }


def test_unchanged_slides_are_skipped_and_changed_ones_are_not(scripts, rows, tmp_path):
    few = rows[:2]
    run_all(scripts, few, tmp_path)
    before = snapshot(tmp_path)
    again, _ = run_all(scripts, few, tmp_path)
    assert snapshot(tmp_path) == before
    assert again["status"].tolist() == ["ok", "ok"]
    few[1] = few[1] | {"mpp": 0.45}
    run_all(scripts, few, tmp_path)
    changed = {path.stem for path, when in snapshot(tmp_path).items() if when != before[path]}
    assert changed == {"table"}
    run_all(scripts, few, tmp_path, code="2")
    assert all(when != before[path] for path, when in snapshot(tmp_path).items())


def test_workers_do_not_change_a_byte(scripts, rows, finished, tmp_path):
    folder = finished[0]
    run_all(scripts, rows, tmp_path, threads=3)
    made = [p for kind in ("tiles", "features", "tissue", "thumbnails") for p in sorted((folder / kind).iterdir())]
    assert len(made) >= 10
    assert [p.name for p in made if p.read_bytes() != (tmp_path / p.relative_to(folder)).read_bytes()] == []


def test_names_cannot_leave_the_folder(tmp_path):
    with pytest.raises(InputError, match="cannot name a file"):
        files.slide_files(tmp_path, "../other")


ROW = {"slide": "S1", "patient": "P1"}


def test_a_full_disk_is_not_the_slides_fault():
    def work(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        slide_runs.guarded(ROW, work=work)


def test_any_other_fault_is_a_status():
    def work(_):
        raise ValueError("odd bytes")

    done = slide_runs.guarded(ROW, work=work)
    assert (done["status"], done["reason"]) == ("failed", "slide S1: ValueError: odd bytes")


def die_of_one(row):
    if row["slide"] == "S1":
        import os

        os._exit(11)
    return slide_runs.blank(row) | {"status": "ok"}


def test_a_slide_that_kills_its_process_fails_alone():
    rows = [{"slide": f"S{n}", "patient": "P"} for n in range(4)]
    done = slide_runs.over_slides(die_of_one, rows, threads=2)
    assert [row["status"] for row in done] == ["ok", "failed", "ok", "ok"]
    assert "the process that read it died" in done[1]["reason"]


def test_seconds_are_kept(finished):
    assert isinstance(finished[1]["seconds"], pd.Series)
    assert (finished[1]["seconds"] >= 0).all()


def test_a_killed_slide_goes_on_where_it_was(scripts, rows, tmp_path, monkeypatch):
    run_all(scripts, rows[:1], tmp_path / "whole")
    monkeypatch.setattr(slide_encoding, "_SHARD", 5)
    honest, calls = slide_encoding.encode_all, []

    def dying(encoder, tiles, *, batch):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return honest(encoder, tiles, batch=batch)

    monkeypatch.setattr(slide_encoding, "encode_all", dying)
    with pytest.raises(KeyboardInterrupt):
        run_all(scripts, rows[:1], tmp_path / "killed")
    assert len(list((tmp_path / "killed/shards/good").iterdir())) == 2
    run_all(scripts, rows[:1], tmp_path / "killed")
    path = "features/good.h5ad"
    assert (tmp_path / "killed" / path).read_bytes() == (tmp_path / "whole" / path).read_bytes()
    parts = -(-files.FEATURES.read(tmp_path / "whole" / path).n_obs // 5)
    assert len(calls) == parts + 1
    assert not (tmp_path / "killed/shards/good").exists()


def test_exports_and_pages_are_written(scripts, rows, tmp_path):
    run_all(scripts, rows[:1], tmp_path, export="all")
    assert len(list((tmp_path / "exports").rglob("good.h5"))) == 2
    assert (tmp_path / "qc_pages/good.png").is_file()
    assert (tmp_path / "contact_sheet.png").is_file()


def test_outlines_drawn_by_hand_are_used_and_a_change_is_seen(scripts, rows, tmp_path):
    folder = tmp_path / "outlines"
    folder.mkdir()
    settings = dataclasses.replace(CUT, tissue=dataclasses.replace(CUT.tissue, outlines=str(folder)))
    text = json.dumps(dataclasses.asdict(settings))

    def counted(side):
        ring = [[128, 128], [128 + side, 128], [128 + side, 128 + side], [128, 128 + side], [128, 128]]
        content = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}}
        (folder / "good.geojson").write_text(json.dumps(content))
        qc, _ = run_all(scripts, rows[:2], tmp_path / "out", tiling_settings=text)
        assert qc["outline"].to_dict() == {"good": "drawn", "table": "found"}
        return qc.loc["good", "n_tiles"]

    assert (counted(128), counted(192)) == (4, 9)
    (folder / "good.geojson").write_text("{")
    qc, _ = run_all(scripts, rows[:2], tmp_path / "out", tiling_settings=text)
    assert qc["status"].to_dict() == {"good": "failed", "table": "ok"}
    assert "good.geojson is no GeoJSON" in qc.loc["good", "reason"]


def test_half_size_decoding_is_named_in_every_file(scripts, tmp_path):
    pytest.importorskip("simplejpeg", reason="the environment is from before this package was needed")
    picture, _ = tissue_picture(800, 1000, seed=11)
    written = {"jpeg": {}, "lossless": {"compression": "deflate", "compressionargs": {}}}
    rows = []
    for name, how in written.items():
        path = write_generic(tmp_path / f"{name}.tiff", picture, mpp=0.25, levels=1, **how)
        rows.append({"slide": name, "patient": "P", "path": str(path)})
    settings = dataclasses.replace(CUT, tiles=dataclasses.replace(CUT.tiles, decode="half"))
    made = {}
    for name, cut in (("full", CUT), ("half", settings)):
        folder, text = tmp_path / name, json.dumps(dataclasses.asdict(cut))
        made[name], _ = run_all(scripts, rows, folder, tiling_settings=text, tiles=cut.tiles)
    assert made["full"]["decode"].to_dict() == {"jpeg": "full", "lossless": "full"}
    assert made["half"]["decode"].to_dict() == {"jpeg": "half", "lossless": "full"}
    assert made["half"]["level"].tolist() == made["full"]["level"].tolist() == [0, 0]
    files_of = {name: files.slide_files(tmp_path / name, "jpeg") for name in made}
    tiles = {name: files.TILES.read(paths["tiles"]) for name, paths in files_of.items()}
    assert files.TILES.metadata(files_of["half"]["tiles"])["decode"] == "half"
    assert tiles["half"][["x", "y", "tissue_fraction"]].equals(tiles["full"][["x", "y", "tissue_fraction"]])
    one, other = (files.FEATURES.read(files_of[name]["features"]) for name in ("full", "half"))
    assert (one.uns["decode"], other.uns["decode"]) == ("full", "half")
    means = [
        name for name in one.var_names if name.endswith("_mean") and name.split("_")[0] in ("red", "green", "blue")
    ]
    assert np.abs(one[:, means].X - other[:, means].X).max() < 1
    assert not np.array_equal(one.X, other.X)


@pytest.fixture(scope="module")
def odd_rows(tmp_path_factory):
    """Slides that are damaged or strange, each in its own way, and one that is not."""
    folder = tmp_path_factory.mktemp("odd")
    picture, _ = tissue_picture(512, 640, seed=11)
    text = folder / "text.svs"
    text.write_text("no slide\n" * 500)
    dark = np.zeros((512, 512, 3), dtype=np.uint8)
    dark[100:140, 100:140] = (0, 0, 250)
    (folder / "elsewhere").mkdir()
    target = write_aperio(folder / "elsewhere/target.svs", picture, mpp=0.5)
    link, dangling = folder / "link.svs", folder / "dangling.svs"
    link.symlink_to(target)
    dangling.symlink_to(folder / "gone.svs")
    zeroed = write_aperio(folder / "zeroed.svs", picture, mpp=0.5, tile=(64, 64))
    zero_tile(zeroed, 44)
    huge = write_generic(folder / "huge.tiff", picture, mpp=0.5, levels=1)
    with tifffile.TiffFile(huge, mode="r+b") as file:
        for tag in ("ImageWidth", "ImageLength"):
            file.pages[0].tags[tag].overwrite(2**31 - 1)
    paths = {
        "dangling": dangling,
        "dark": write_generic(folder / "dark.tiff", dark, mpp=0.5),
        "huge": huge,
        "link": link,
        "one_level": write_generic(folder / "one_level.tiff", picture, mpp=0.5, levels=1),
        "one_pixel": write_generic(folder / "one_pixel.tiff", picture[:1, :1], mpp=0.5, levels=1, tile=(16, 16)),
        "rounded_up": write_generic(folder / "rounded_up.tiff", picture[:511, :639], mpp=0.25, levels=2, up=True),
        "text": text,
        "zeroed": zeroed,
    }
    return [{"slide": name, "patient": "P", "path": str(path)} for name, path in paths.items()]


def test_every_odd_slide_ends_in_a_status_and_the_others_go_on(scripts, odd_rows, tmp_path):
    qc, ledger = run_all(scripts, odd_rows, tmp_path)
    assert qc["status"].to_dict() == {
        "dangling": "failed", "dark": "failed", "huge": "failed", "link": "ok", "one_level": "ok",
        "one_pixel": "empty", "rounded_up": "ok", "text": "failed", "zeroed": "ok",
    }  # fmt: skip
    assert set(ledger.index) == {"dangling", "dark", "huge", "one_pixel", "text"}
    for slide, words in {
        "dangling": "gone.svs|dangling.svs",
        "dark": "fluorescence",
        "text": "cannot be opened",
    }.items():
        assert re.search(words, ledger.loc[slide, "reason"]), slide
    tiles = files.TILES.read(files.slide_files(tmp_path, "zeroed")["tiles"])
    assert (tiles["status"] == "unreadable").sum() == 1
    rounded = files.TILES.metadata(files.slide_files(tmp_path, "rounded_up")["tiles"])
    assert (rounded["grid"]["level"], rounded["tile_um"]) == (1, 32.0)


def test_a_full_disk_ends_the_run_with_one_line_and_no_half_files(scripts, rows, tmp_path, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", "tiles.parquet")

    monkeypatch.setattr("histoweave.formats.table.pq.write_table", full)
    with pytest.raises(SystemExit) as stopped:
        steps.run(lambda _: run_all(scripts, rows[:1], tmp_path))
    assert stopped.value.code == 2
    assert "the disk is full" in capsys.readouterr().err
    assert list(tmp_path.rglob("*.parquet")) == []
    assert [p.name for p in tmp_path.rglob(".*")] == []

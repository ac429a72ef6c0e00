"""Encoding with a network: one process, in which the next slides are read while the device is busy."""

import dataclasses
import hashlib
import threading

import numpy as np
import pytest
from safetensors.torch import save_file
from unit.slides.pretend import CUT, tissue_picture, write_aperio
from unit.slides.test_encoders import SETTINGS
from unit.slides.test_networks import SMALL, TINY, drawn

from histoweave import slide_encoding
from histoweave.formats import slides as files
from histoweave.slide_encoding import EncodingJob, EncodingSettings, encode_slides
from histoweave.slide_tiling import TilingJob, tile_slide
from histoweave.slides.encoders import Encoder
from histoweave.slides.vit import VisionTransformer, VitShape


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(drawn(VisionTransformer(VitShape(**SMALL))), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return dataclasses.replace(
        SETTINGS, name="tiny", weights=str(path), sha256=digest, accept_licence=True, batch_tiles=5
    )


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    """Four slides, the first much larger than the rest, so that it is done last."""
    folder = tmp_path_factory.mktemp("slides")
    sizes = {"large": (640, 640), "small": (256, 320), "other": (320, 256), "third": (320, 320)}
    return [
        {"slide": name, "patient": name, "path": str(write_aperio(folder / f"{name}.svs", picture, mpp=0.5))}
        for n, (name, size) in enumerate(sizes.items())
        for picture in [tissue_picture(*size, seed=n)[0]]
    ]


def encoded(slides, encoder, folder, *, threads):
    tiling = TilingJob(folder, CUT, 128, "1")
    rows = [row | tile_slide(row, job=tiling) for row in slides]
    job = EncodingJob(folder, EncodingSettings(CUT.tiles, encoder), "1", "none", TINY)
    return encode_slides(rows, job=job, threads=threads)


def test_slides_read_side_by_side_have_the_same_features_in_the_same_order(slides, network, tmp_path):
    one, many = tmp_path / "one", tmp_path / "many"
    alone, together = (encoded(slides, network, folder, threads=n) for folder, n in ((one, 1), (many, 3)))
    assert [row["slide"] for row in together] == [row["slide"] for row in slides]
    assert [row["status"] for row in together] == ["ok"] * 4
    assert [row["n_tiles"] for row in together] == [row["n_tiles"] for row in alone]
    for row in slides:
        first, second = (files.slide_files(folder, row["slide"])["features"].read_bytes() for folder in (one, many))
        assert first == second, row["slide"]


def test_the_next_slide_is_read_while_the_device_has_the_first(slides, network, tmp_path, monkeypatch):
    both = threading.Barrier(2, timeout=30)

    def encode(tiles):
        both.wait()  # a batch stays on the device until another slide's is ready for it
        return np.asarray(tiles).mean(axis=(1, 2), dtype=np.float32)

    encoder = Encoder("means", ["red", "green", "blue"], "1", encode)
    monkeypatch.setattr(slide_encoding, "make_encoder", lambda *_, **__: encoder)
    settings = dataclasses.replace(network, batch_tiles=1000)
    done = encoded(slides[:2], settings, tmp_path, threads=2)
    assert [(row["slide"], row["status"]) for row in done] == [("large", "ok"), ("small", "ok")]


def test_a_slide_that_fails_leaves_the_others_as_they_are(slides, network, tmp_path):
    folder = tmp_path / "out"
    rows = [row | tile_slide(row, job=TilingJob(folder, CUT, 128, "1")) for row in slides]
    rows[1]["path"] = str(tmp_path / "gone.svs")
    job = EncodingJob(folder, EncodingSettings(CUT.tiles, network), "1", "none", TINY)
    done = encode_slides(rows, job=job, threads=3)
    assert [row["status"] for row in done] == ["ok", "failed", "ok", "ok"]
    assert "gone.svs" in done[1]["reason"]

"""Networks against timm's own numbers (tests/golden/encoders), and weights under every name they are published with."""

import hashlib
import json

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from histoweave.errors import InputError
from histoweave.slides.encoders import EncoderSettings, fit_tile, make_encoder
from histoweave.slides.registry import encoder_card
from histoweave.slides.resnet import ResNet50Stage3
from histoweave.slides.vit import VisionTransformer, VitShape, resample_positions
from histoweave.slides.weights import fill, read_weights, timm_names

SMALL = {"patch": 14, "tile": 56, "dim": 48, "depth": 2, "heads": 3, "hidden": 4.0, "gated": False, "registers": 0,
         "embed_prefix": True, "scaled": False, "pooling": "cls"}  # fmt: skip
KINDS = {
    "plain": {},
    "scaled": {"scaled": True},
    "gated": {"scaled": True, "hidden": 5.3375, "gated": True},
    "registers": {"scaled": True, "registers": 4, "embed_prefix": False},
    "registers_gated": {"scaled": True, "hidden": 5.33334, "gated": True, "registers": 8, "embed_prefix": False},
    "registers_embedded": {"scaled": True, "hidden": 5.3375, "gated": True, "registers": 4},
}


@pytest.fixture(scope="module")
def golden(request):
    return json.loads((request.config.rootpath / "tests/golden/encoders/timm.json").read_text())


@pytest.fixture(scope="module")
def registry(request):
    return yaml.safe_load((request.config.rootpath / "resources/encoders.yaml").read_text())


def drawn(model):
    """State of `model` drawn by name, as tests/golden/encoders/README.md says."""
    state = {}
    for name, value in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
        values = np.random.default_rng(seed).standard_normal(tuple(value.shape)) * 0.05
        if name.endswith(("running_var", "gamma")) or (name.endswith("weight") and value.ndim == 1):
            values = np.abs(values) + 0.8
        state[name] = torch.from_numpy(values.astype(np.float32))
    return state


INPUT = torch.from_numpy(np.random.default_rng(5).standard_normal((2, 3, 56, 56)).astype(np.float32))


@pytest.mark.parametrize("pooling", ["cls", "cls_mean"])
@pytest.mark.parametrize("kind", KINDS)
def test_transformers_give_timms_numbers(golden, kind, pooling):
    model = VisionTransformer(VitShape(**SMALL | KINDS[kind] | {"pooling": pooling})).eval()
    assert {name: list(value.shape) for name, value in model.state_dict().items()} == golden[kind]["keys"]
    fill(model, drawn(model), name=kind)
    with torch.inference_mode():
        assert np.abs(model(INPUT).numpy() - np.array(golden[kind][pooling])).max() < 2e-5


def test_every_transformer_of_the_registry_is_of_a_kind_that_is_compared(registry):
    def settings(sizes):
        return sizes["gated"], sizes["registers"] > 0, sizes["embed_prefix"], sizes["scaled"]

    compared = {settings(SMALL | kind) for kind in KINDS.values()}
    cards = {name: encoder_card(registry, name).model for name in registry}
    assert [
        name for name, model in cards.items() if model != "resnet50_stage3" and settings(model) not in compared
    ] == []
    assert {model["pooling"] for model in cards.values() if model != "resnet50_stage3"} <= {"cls", "cls_mean"}


@pytest.mark.parametrize("kind", ["plain", "registers"])
def test_weights_of_larger_tiles_give_timms_numbers(golden, kind):
    shape = SMALL | KINDS[kind]
    model = VisionTransformer(VitShape(**shape)).eval()
    fill(model, drawn(VisionTransformer(VitShape(**shape | {"tile": 112}))), name=kind)
    with torch.inference_mode():
        assert np.abs(model(INPUT).numpy() - np.array(golden["larger"][kind])).max() < 2e-5


def test_resnet_gives_timms_numbers(golden):
    model = ResNet50Stage3().eval()
    fill(model, drawn(model), name="resnet50")
    with torch.inference_mode():
        found = model(INPUT).numpy()
    expected = np.array(golden["resnet50"]["mean"])
    assert np.abs(found - expected).max() < 1e-4 * max(1, np.abs(expected).max())


def test_full_models_have_the_tensors_that_timm_builds(golden, registry):
    for name, expected in golden["shapes"].items():
        card = encoder_card(registry, name)
        with torch.device("meta"):
            model = VisionTransformer(VitShape(**card.model))
        shapes = sorted((key, list(value.shape)) for key, value in model.state_dict().items())
        assert len(shapes) == expected["count"], name
        assert hashlib.sha256(json.dumps(shapes).encode()).hexdigest() == expected["sha"], name
        assert card.dims == VitShape(**card.model).features, name


def test_every_card_is_whole(registry):
    assert len(registry) >= 15
    for name in registry:
        card = encoder_card(registry, name)
        assert card.licence
        assert 0.2 <= card.mpp <= 1
        assert len(card.norm) == 2


def facebook_names(state):
    """`state` as facebookresearch/dinov2 names it; its positions have a place for the class token."""
    out = {}
    for name, value in state.items():
        name = name.replace("reg_token", "register_tokens").replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3")
        out[f"teacher.backbone.{name}"] = value
    first = torch.full((1, 1, 48), 0.25)
    out["teacher.backbone.pos_embed"] = torch.cat([first, state["pos_embed"]], dim=1)
    out["teacher.backbone.cls_token"] = state["cls_token"] - first
    return out | {"teacher.backbone.mask_token": torch.zeros(1, 48)}


def hugging_face_names(state):
    out = {}
    for name, value in facebook_names(state).items():
        name = name.removeprefix("teacher.backbone.")
        for old, new in (
            ("cls_token", "embeddings.cls_token"), ("register_tokens", "embeddings.register_tokens"),
            ("pos_embed", "embeddings.position_embeddings"), ("mask_token", "embeddings.mask_token"),
            ("patch_embed.proj.", "embeddings.patch_embeddings.projection."), ("mlp.w12.", "mlp.weights_in."),
            ("mlp.w3.", "mlp.weights_out."), ("attn.proj.", "attention.output.dense."),
            ("ls1.gamma", "layer_scale1.lambda1"), ("ls2.gamma", "layer_scale2.lambda1"),
        ):  # fmt: skip
            name = name.replace(old, new)
        name = name.replace("blocks.", "encoder.layer.")
        name = "layernorm" + name[4:] if name.startswith("norm.") else name
        if "attn.qkv" in name:
            for part, piece in zip(("query", "key", "value"), value.chunk(3), strict=True):
                out[name.replace("attn.qkv", f"attention.attention.{part}")] = piece
        else:
            out[name] = value
    return out


@pytest.mark.parametrize("rename", [facebook_names, hugging_face_names, lambda s: {f"model.{k}": s[k] for k in s}])
def test_weights_are_the_same_under_every_name(rename):
    shape = VitShape(**SMALL | KINDS["registers_gated"])
    model, other = VisionTransformer(shape).eval(), VisionTransformer(shape).eval()
    state = drawn(model)
    fill(model, state, name="a")
    fill(other, rename(state), name="a")
    with torch.inference_mode():
        assert torch.allclose(model(INPUT), other(INPUT), atol=1e-6)


def test_pooling_heads_beside_a_trunk_are_left_out():
    state = {"visual.trunk.cls_token": torch.zeros(1), "visual.attn_pool.query": torch.zeros(1), "head.weight": INPUT}
    assert list(timm_names(state)) == ["cls_token"]


def test_positions_for_another_size_keep_a_slope():
    slope = torch.arange(4.0)[None, :, None].expand(4, 4, 1).reshape(1, 16, 1)
    out = resample_positions(torch.cat([torch.full((1, 1, 1), 9.0), slope], dim=1), places=65, embedded=1)
    assert out[0, 0, 0] == 9
    rows = out[0, 1:, 0].reshape(8, 8)
    assert torch.allclose(rows, rows[:1].expand(8, 8), atol=1e-5)
    assert (rows[0].diff() > 0).all()
    assert torch.equal(resample_positions(out, places=65, embedded=1), out)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda s: {k: v for k, v in s.items() if k != "norm.bias"}, "missing: 'norm.bias'"),
        (lambda s: s | {"blocks.7.norm1.bias": torch.zeros(3)}, "unknown: 'blocks.7.norm1.bias'"),
        (lambda s: s | {"cls_token": torch.zeros(1, 1, 7)}, "of another shape: 'cls_token'"),
        (lambda s: s | {"pos_embed": torch.zeros(1, 14, 48)}, "of another shape: 'pos_embed'"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change, text):
    model = VisionTransformer(VitShape(**SMALL))
    with pytest.raises(InputError, match=f"do not fit encoder 'tiny' .*{text}.*Set slides.encoder.name"):
        fill(model, change(drawn(model)), name="tiny")


TINY = {
    "tiny": {
        "hub": "nobody/tiny", "licence": "CC-BY-NC-4.0", "mpp": 0.5, "tile": 56, "norm": "half", "dims": 48,
        "sha256": None, "model": {"patch": 14, "dim": 48, "depth": 2, "heads": 3},
    }
}  # fmt: skip


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_file(drawn(VisionTransformer(VitShape(**SMALL))), path)
    return EncoderSettings(
        name="tiny", weights=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest(), accept_licence=True,
        precision="fp32", batch_tiles=2, device="cpu",
    )  # fmt: skip


def made(settings, **changes):
    values = {**settings.__dict__, **changes}
    return make_encoder(EncoderSettings(**values), registry=TINY, mpp=0.5, tile_px=56)


def test_an_encoder_normalises_and_runs_the_network(tiny):
    tiles = np.random.default_rng(3).integers(0, 256, (3, 56, 56, 3), dtype=np.uint8)
    encoder = made(tiny)
    model = VisionTransformer(VitShape(**SMALL)).eval()
    fill(model, drawn(model), name="tiny")
    x = torch.from_numpy(tiles).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        expected = model((x - 0.5) / 0.5).numpy()
    found = encoder.encode(tiles)
    assert np.abs(found - expected).max() < 1e-4
    assert (len(encoder.names), encoder.names[0]) == (48, "tiny_0000")
    half = made(tiny, precision="bf16")
    assert np.abs(half.encode(tiles) - expected).max() < 0.05 * np.abs(expected).max()
    assert half.hash != encoder.hash


def test_a_torch_file_of_tensors_is_read_and_code_is_not(tiny, tmp_path):
    state = drawn(VisionTransformer(VitShape(**SMALL)))
    torch.save({"state_dict": state}, tmp_path / "a.pth")
    assert set(read_weights(tmp_path / "a.pth")) == set(state)
    torch.save({"state_dict": state, "run": print}, tmp_path / "b.pth")
    for bad in (tmp_path / "b.pth", tmp_path / "c.safetensors"):
        if not bad.exists():
            bad.write_bytes(b"no weights at all")
        with pytest.raises(InputError, match="holds no weights that can be read safely"):
            read_weights(bad)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"accept_licence": False}, "under CC-BY-NC-4.0 .*Set slides.encoder.accept_licence"),
        ({"weights": None}, "needs weights and none are given. Set slides.encoder.weights .published at nobody/tiny"),
        ({"weights": "/no/such/file"}, "'/no/such/file' is no file"),
        ({"sha256": None}, "no hash of .tiny. is known.*set slides.encoder.sha256 to [0-9a-f]{64}"),
        ({"sha256": "0" * 64}, "have the hash [0-9a-f]{64}, not 0000"),
        ({"name": "magic"}, "encoder 'magic' is not known. Set slides.encoder.name to one of 'handcrafted'"),
    ],
)  # fmt: skip
def test_what_is_not_in_order_is_refused(tiny, changes, text):
    with pytest.raises(InputError, match=text):
        made(tiny, **changes)


def test_the_resolution_must_be_that_of_the_training(tiny):
    with pytest.raises(InputError, match="trained at 0.5 um/px, tiles have 0.25"):
        make_encoder(tiny, registry=TINY, mpp=0.25, tile_px=56)


def test_cards_with_odd_keys_are_refused():
    odd = {"tiny": TINY["tiny"] | {"model": {"patch": 14, "dim": 48, "depth": 2, "heads": 3, "colour": 1}}}
    with pytest.raises(InputError, match="'colour' is missing or unknown"):
        encoder_card(odd, "tiny")


def test_tiles_of_another_size_keep_their_field():
    tile = np.zeros((256, 256, 3), dtype=np.uint8)
    tile[:, 128:] = 200
    small = fit_tile(tile, 224)
    assert small.shape == (224, 224, 3)
    assert (small[:, :112] == 0).all()
    assert (small[:, 112:] == 200).all()
    assert fit_tile(small, 224) is small

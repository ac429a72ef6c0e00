import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from histoweave.errors import InputError
from histoweave.survival import scgpt

GOLDEN = Path(__file__).parents[2] / "golden" / "scgpt"
LAYOUTS = ("ckpt_wqkv", "ckpt_impl_wqkv", "ckpt_in_proj")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "golden.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def checkpoint():
    return scgpt.read_checkpoint(GOLDEN / "ckpt_wqkv")


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(GOLDEN / "ckpt_wqkv", tmp_path / "model"))


def embed(checkpoint, expression, genes, **changes):
    match = scgpt.match_genes(list(genes), checkpoint, aliases={}, least=0.5)
    values = expression[:, match.columns]
    settings = {"orders": [np.arange(len(match.columns))], "most_tokens": 1200, "batch": 4, "device": CPU} | changes
    return scgpt.embed_profiles(checkpoint, values, match.gene_ids, **settings)


# --- binning


def test_bins_do_not_change_under_monotone_scaling():
    x = np.random.default_rng(0).gamma(1, 5, size=(3, 400)) * (np.arange(400) % 3 > 0)
    assert np.array_equal(scgpt.rank_bins(x, n_bins=51), scgpt.rank_bins(8 * x, n_bins=51))
    assert (scgpt.rank_bins(x, n_bins=51)[x == 0] == 0).all()


def test_bins_of_distinct_values_fill_one_to_fifty_in_order():
    x = np.random.default_rng(1).permutation(np.arange(1.0, 501.0))
    bins = scgpt.rank_bins(x[None], n_bins=51)[0]
    assert (np.diff(bins[np.argsort(x)]) >= 0).all()
    assert bins.min() == 1
    assert bins.max() == 50


def test_ties_get_the_middle_bin_and_a_profile_of_zeros_stays_zero():
    bins = scgpt.rank_bins(np.array([[3.0, 3.0, 3.0], [0.0, 0.0, 0.0]]), n_bins=51)
    assert bins.tolist() == [[25, 25, 25], [0, 0, 0]]


@pytest.mark.parametrize("case", [0, 1, 2, 4])
def test_bins_equal_the_reference_where_no_chance_is_in_them(golden, case):
    x, y = golden[f"bin{case}_x"], golden[f"bin{case}_y"]
    assert np.array_equal(scgpt.rank_bins(x[None], n_bins=51)[0], y)


def test_tied_bins_lie_in_the_range_that_the_reference_draws_from(golden):
    x, drawn = golden["bin_ties_x"], golden["bin_ties_y_seed7"]
    bins = scgpt.rank_bins(x[None], n_bins=51)[0]
    for value in np.unique(x):
        same = x == value
        assert len(set(bins[same])) == 1
        assert drawn[same].min() <= bins[same][0] <= drawn[same].max()


@pytest.mark.parametrize("value", [-0.5, -1e-9])
def test_negative_values_are_refused(value):
    x = np.ones((4, 5))
    x[2, 1] = value
    with pytest.raises(InputError, match=r"1 of 4 profiles hold negative values \(first: row 2\).*standardised"):
        scgpt.rank_bins(x, n_bins=51)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_missing_values_are_refused(value):
    x = np.ones((4, 5))
    x[2, 3] = value
    with pytest.raises(InputError, match=r"1 of 5 genes have missing or infinite expression \(first: column 3\)"):
        scgpt.rank_bins(x, n_bins=51)


# --- the model against the reference


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cell_embeddings_equal_the_reference_from_file_to_vector(golden, layout):
    checkpoint = scgpt.read_checkpoint(GOLDEN / layout)
    found = embed(checkpoint, golden["e2e_X"], golden["e2e_genes"])
    np.testing.assert_allclose(found, golden[f"e2e_{layout}"], atol=1e-5)


def test_each_step_equals_the_reference(golden, checkpoint):
    model = checkpoint.model
    ids, values = torch.from_numpy(golden["ragged_gene"]), torch.from_numpy(golden["ragged_expr"])
    padding = torch.from_numpy(golden["ragged_padmask"])
    kept = ~golden["ragged_padmask"]
    close = {"atol": 1e-5, "rtol": 0}
    np.testing.assert_allclose(model.embed_genes(torch.arange(203)), golden["gene_emb_encoder"], **close)
    grid = model.embed_values(torch.from_numpy(golden["value_enc_grid_x"]))
    np.testing.assert_allclose(grid, golden["value_enc_grid_y"], **close)
    inputs = model.embed_genes(ids) + model.embed_values(values)
    np.testing.assert_allclose(inputs, golden["input_embs"], **close)
    encoded = model.encode(ids, values, padding)
    for name in ("enc_fast", "enc_slow"):
        np.testing.assert_allclose(encoded.numpy()[kept], golden[name][kept], **close)
    np.testing.assert_allclose(encoded[:, 0], golden["cell_emb_raw"], **close)
    np.testing.assert_allclose(model.decode_expression(encoded).numpy()[kept], golden["mlm_output"][kept], **close)
    from_cell = model.decode_from_cell(encoded[:, 0], ids)
    np.testing.assert_allclose(from_cell.numpy()[kept], golden["mvc_output"][kept], **close)


def test_a_given_draw_of_genes_equals_the_reference(golden, checkpoint):
    ids = torch.from_numpy(golden["sampled64_gene_seed11"])
    values = torch.from_numpy(golden["sampled64_expr_seed11"]).float()
    cell = F.normalize(checkpoint.model.encode(ids, values, None)[:, 0], dim=1)
    np.testing.assert_allclose(cell, golden["sampled64_cell_emb"], atol=1e-5)


def test_tokens_hold_the_same_genes_and_bins_as_the_reference(golden):
    bins = scgpt.rank_bins(golden["ragged_counts"], n_bins=51)
    columns, held = scgpt.draw_tokens(bins, np.arange(bins.shape[1]), most=1199)
    assert np.array_equal(held, ~golden["ragged_padmask"][:, 1:])
    assert np.array_equal(golden["gene_ids"][columns][held], golden["ragged_gene"][:, 1:][held])
    assert np.array_equal(np.take_along_axis(bins, columns, axis=1)[held], golden["ragged_expr"][:, 1:][held])


def test_genes_out_of_the_vocabulary_are_reported(golden, checkpoint):
    match = scgpt.match_genes(list(golden["e2e_genes"]), checkpoint, aliases={}, least=0.5)
    assert len(match.columns) == 200
    assert len(match.missing) == 2


# --- choosing genes


def test_neither_batch_nor_neighbours_change_an_embedding(golden, checkpoint):
    x, genes = golden["e2e_X"], golden["e2e_genes"]
    whole = embed(checkpoint, x, genes)
    np.testing.assert_allclose(embed(checkpoint, x, genes, batch=1), whole, atol=1e-6)
    np.testing.assert_allclose(embed(checkpoint, x[3:5], genes), whole[3:5], atol=1e-6)


def test_one_draw_is_its_panel_and_several_are_their_mean(golden, checkpoint):
    x, genes = golden["e2e_X"], golden["e2e_genes"]
    orders = [np.random.default_rng(k).permutation(200) for k in range(3)]
    single = [embed(checkpoint, x, genes, orders=[order], most_tokens=41) for order in orders]
    together = embed(checkpoint, x, genes, orders=orders, most_tokens=41)
    np.testing.assert_allclose(together, np.mean(single, axis=0), atol=1e-6)
    assert not np.allclose(single[0], single[1], atol=1e-3)


def test_genes_outside_the_panel_are_no_tokens():
    bins = np.array([[5, 0, 7, 9], [0, 0, 2, 3]])
    columns, held = scgpt.draw_tokens(bins, np.array([2, 1, 0]), most=3)
    assert columns[0].tolist() == [2, 0]
    assert held.tolist() == [[True, True], [True, False]]


def test_an_alias_is_used_only_where_its_symbol_is_free(checkpoint):
    aliases = {"OLD": "AARS2", "OLDER": "ABCB6"}
    match = scgpt.match_genes(["OLD", "OLDER", "AARS2"], checkpoint, aliases=aliases, least=0.5)
    assert match.columns.tolist() == [1, 2]
    assert match.missing == ("OLD",)


def test_a_poor_match_lists_what_is_missing(checkpoint):
    with pytest.raises(InputError, match=r"only 1 of 3 genes .* floor of 0.6 \(missing: 'ENSG1', 'ENSG2'\)"):
        scgpt.match_genes(["ENSG1", "AARS2", "ENSG2"], checkpoint, aliases={}, least=0.6)


# --- checkpoints that cannot be used


def rewrite(folder, change):
    state = torch.load(folder / "best_model.pt", weights_only=True)
    change(state)
    torch.save(state, folder / "best_model.pt")


def test_missing_tensors_are_named(folder):
    rewrite(folder, lambda state: state.pop("transformer_encoder.layers.1.norm2.bias"))
    with pytest.raises(InputError, match=r"1 tensor\(s\) missing: 'transformer_encoder.layers.1.norm2.bias'"):
        scgpt.read_checkpoint(folder)


def test_misshapen_tensors_are_named(folder):
    rewrite(folder, lambda state: state.update({"value_encoder.linear1.weight": torch.zeros(16, 2)}))
    with pytest.raises(InputError, match=r"another shape than args.json says: 'value_encoder.linear1.weight'"):
        scgpt.read_checkpoint(folder)


def test_tensors_of_another_model_are_named(folder):
    rewrite(folder, lambda state: state.update({"bert.weight": torch.zeros(2)}))
    with pytest.raises(InputError, match=r"1 tensor\(s\) unknown: 'bert.weight'"):
        scgpt.read_checkpoint(folder)


def test_a_model_tuned_to_batches_is_refused(folder):
    rewrite(folder, lambda state: state.update({"dsbn.bns.0.weight": torch.zeros(16)}))
    with pytest.raises(InputError, match="belong to batches that it was fine-tuned on"):
        scgpt.read_checkpoint(folder)


class Trap:
    def __reduce__(self):
        return (print, ("code in a model file was run",))


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickled_object_is_never_run(folder, capsys, protocol):
    with (folder / "best_model.pt").open("wb") as file:
        pickle.dump({"encoder.embedding.weight": Trap()}, file, protocol=protocol)
    with pytest.raises(InputError, match="is not loaded"):
        scgpt.read_checkpoint(folder)
    assert "was run" not in capsys.readouterr().out


def test_a_pickled_object_in_torch_format_is_never_run(folder, capsys):
    torch.save({"encoder.embedding.weight": Trap()}, folder / "best_model.pt")
    with pytest.raises(InputError, match="objects other than tensors"):
        scgpt.read_checkpoint(folder)
    assert "was run" not in capsys.readouterr().out


def test_a_dictionary_of_dictionaries_is_refused(folder):
    torch.save({"model": {"weight": torch.zeros(2)}}, folder / "best_model.pt")
    with pytest.raises(InputError, match="no flat dictionary of tensors"):
        scgpt.read_checkpoint(folder)


def test_a_vocabulary_without_specials_is_refused(folder):
    vocabulary = json.loads((folder / "vocab.json").read_text())
    short = {token: row for token, row in vocabulary.items() if token not in ("<cls>", "AARS2")}
    (folder / "vocab.json").write_text(json.dumps(short))
    with pytest.raises(InputError, match=r"vocab.json lacks the special token\(s\) '<cls>'; the model has 203 rows"):
        scgpt.read_checkpoint(folder)


def test_specials_are_appended_where_the_model_has_rows_for_them(folder, checkpoint):
    vocabulary = json.loads((folder / "vocab.json").read_text())
    (folder / "vocab.json").write_text(json.dumps({t: r for t, r in vocabulary.items() if not t.startswith("<")}))
    assert scgpt.read_checkpoint(folder).vocabulary == checkpoint.vocabulary


def test_a_vocabulary_of_another_model_is_refused(folder):
    vocabulary = json.loads((folder / "vocab.json").read_text()) | {"NEW": 60000}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    with pytest.raises(InputError, match="has no row for 'NEW'"):
        scgpt.read_checkpoint(folder)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("args.json", '{"embsize": 16}', r"6 key\(s\) missing: 'nlayers'"),
        ("args.json", "[]", "holds no JSON object"),
        ("vocab.json", "{", "cannot be read"),
        ("best_model.pt", "not a model", "is not loaded"),
    ],
)
def test_damaged_files_are_named(folder, name, text, message):
    (folder / name).write_text(text)
    with pytest.raises(InputError, match=message):
        scgpt.read_checkpoint(folder)


@pytest.mark.parametrize("name", ["args.json", "vocab.json", "best_model.pt"])
def test_absent_files_are_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(InputError, match=name):
        scgpt.read_checkpoint(folder)


def test_the_digest_changes_with_the_weights(folder, checkpoint):
    assert scgpt.read_checkpoint(folder).digest == checkpoint.digest
    rewrite(folder, lambda state: state["value_encoder.linear1.bias"].add_(1))
    assert scgpt.read_checkpoint(folder).digest != checkpoint.digest


# --- the full size


def test_the_full_model_has_the_published_tensors_and_runs():
    wanted = json.loads((GOLDEN / "state_dict_keys_whole_human_expected.json").read_text())
    names = torch.Generator().manual_seed(0)
    state = {key: torch.randn(size, generator=names).mul_(0.02) for key, size in wanted.items()}
    shape = scgpt.Shape(dim=512, layers=12, heads=8, hidden=512, n_bins=51, pad_value=-2.0)
    model = scgpt.build(shape, scgpt.rename_attention(state), where="full")
    assert len(wanted) == 163
    assert sum(tensor.numel() for tensor in state.values()) == pytest.approx(51.3e6, rel=0.01)
    with torch.inference_mode():
        encoded = model.encode(torch.arange(16)[None], torch.ones(1, 16), None)
    assert encoded.shape == (1, 16, 512)
    assert torch.isfinite(encoded).all()

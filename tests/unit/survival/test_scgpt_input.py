import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from histoweave.errors import InputError
from histoweave.survival import scgpt_input
from histoweave.survival.gene_encoders import ScgptSettings

GOLDEN = Path(__file__).parents[2] / "golden" / "scgpt"
SETTINGS = ScgptSettings(str(GOLDEN / "ckpt_wqkv"), None, "all", 1200, 3, 4, 0.6)


@pytest.fixture(scope="module")
def profiles():
    with np.load(GOLDEN / "golden.npz", allow_pickle=False) as file:
        return file["e2e_X"], tuple(file["e2e_genes"]), file["e2e_ckpt_wqkv"]


def fitted(profiles, scale="tpm", usable=None, known=None, expression=None, **changes):
    own = profiles[0] if expression is None else expression
    return scgpt_input.fit_scgpt(
        own,
        profiles[1],
        scale=scale,
        usable=usable,
        settings=replace(SETTINGS, **changes),
        seed=1,
        device=torch.device("cpu"),
        known=known,
    )


def test_whole_profiles_equal_the_reference(profiles):
    expression, genes, wanted = profiles
    np.testing.assert_allclose(fitted(profiles)(expression, genes), wanted, atol=1e-5)


def test_log2_tpm_gives_the_embedding_of_tpm(profiles):
    expression, genes, wanted = profiles
    logged = np.log2(expression + 0.001)
    found = fitted(profiles, "log2_tpm", expression=logged)(logged, genes)
    np.testing.assert_allclose(found, wanted, atol=0.01)  # rounding moves values that lie on an edge by one bin


def test_the_panel_is_the_most_variable_genes_of_the_training_part(profiles):
    expression, genes, _ = profiles
    one = fitted(profiles, tokens="panel", most_tokens=31)
    (order,) = one.orders
    spread = np.log1p(expression[:, [genes.index(gene) for gene in one.genes]]).std(axis=0)
    assert set(order) == set(np.argsort(-spread, kind="stable")[:30])
    alone = one(expression[2:3], genes)
    np.testing.assert_allclose(alone, one(expression, genes)[2:3], atol=1e-6)


def test_draws_come_from_the_seed_alone(profiles):
    expression, genes, _ = profiles
    one, other = (fitted(profiles, tokens="draws", most_tokens=41) for _ in range(2))
    assert len(one.orders) == 3
    np.testing.assert_array_equal(one(expression, genes), other(expression, genes))


def test_an_embedding_is_made_once(profiles, monkeypatch):
    expression, genes, _ = profiles
    known = {}
    wanted = fitted(profiles, known=known)(expression[:4], genes)
    assert len(known) == 4
    calls = []
    true = scgpt_input.embed_profiles

    def counted(checkpoint, rows, *args, **options):
        calls.append(len(rows))
        return true(checkpoint, rows, *args, **options)

    monkeypatch.setattr(scgpt_input, "embed_profiles", counted)
    found = fitted(profiles, known=known)(expression, genes)
    assert calls == [2]
    np.testing.assert_array_equal(found[:4], wanted)


def test_another_panel_is_another_embedding(profiles):
    known = {}
    for most in (31, 41):
        fitted(profiles, tokens="panel", most_tokens=most, known=known)(*profiles[:2])
    assert len(known) == 12


def test_bundles_name_their_checkpoint(profiles, tmp_path):
    expression, genes, _ = profiles
    one = fitted(profiles, tokens="draws", most_tokens=41)
    again = scgpt_input.restored_scgpt(*one.state(), one.settings)
    np.testing.assert_array_equal(again(expression, genes), one(expression, genes))
    folder = shutil.copytree(GOLDEN / "ckpt_in_proj", tmp_path / "other")
    with pytest.raises(InputError, match="is not the one that the model was trained with"):
        scgpt_input.restored_scgpt(*one.state(), replace(SETTINGS, checkpoint=str(folder)))


def test_no_checkpoint_is_refused(profiles):
    with pytest.raises(InputError, match="needs a checkpoint folder.*encoder.scgpt.checkpoint"):
        fitted(profiles, checkpoint=None)


def test_z_scores_are_refused(profiles):
    expression, genes, _ = profiles
    z = expression - expression.mean(axis=0)
    with pytest.raises(InputError, match="hold negative values"):
        fitted(profiles, "zscore", expression=z)(z, genes)


def test_cells_without_the_genes_are_refused(profiles):
    with pytest.raises(InputError, match="no gene of the checkpoint's vocabulary is in both"):
        fitted(profiles, usable={"ENSG1"})


def test_aliases_are_read(profiles, tmp_path):
    path = tmp_path / "aliases.tsv"
    path.write_text("alias\tsymbol\nOLD1\tAARS2\n")
    assert scgpt_input.read_aliases(str(path)) == {"OLD1": "AARS2"}
    path.write_text("old\tnew\nOLD1\tAARS2\n")
    with pytest.raises(InputError, match="columns 'alias' and 'symbol' are needed, found old, new"):
        scgpt_input.read_aliases(str(path))
    with pytest.raises(InputError, match="cannot be read.*aliases"):
        scgpt_input.read_aliases(str(tmp_path / "none.tsv"))

"""Joining files to what models take, and the one error where they do not fit."""

import argparse
import importlib.util
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from unit.survival.people import make_patients

from histoweave.errors import InputError
from histoweave.formats.bags import SlideBags, check_encoder
from histoweave.formats.explained import GROUP_EXPRESSION
from histoweave.formats.expression import COUNTS
from histoweave.formats.genegraph import GENE_EMBEDDING, MODULES, with_vectors
from histoweave.formats.ledger import LEDGER, Account
from histoweave.formats.slides import QC
from histoweave.formats.survival import ALTERATIONS, COHORT, COHORTS, EXPRESSION
from histoweave.steps_explain import explained_groups, mean_attention
from histoweave.steps_predict import groups_table, usable_slides
from histoweave.steps_survival import load_cells, load_embedding, load_groups, note_left_out
from histoweave.survival import crossfit
from histoweave.survival.combine import Member
from histoweave.survival.gene_groups import GroupSettings
from histoweave.survival.interface import Context, Prediction

ROOT = Path(__file__).resolve().parents[3]


# --- the cohort: profiles of mutations, external patients


def assembled(folder, **given):
    """Run the script on five patients of two cohorts; returns the folder."""
    (folder / "patients.tsv").write_text(
        "patient\tcohort\ttime_days\tevent\n007\thome\t10\t1\nB\thome\t20\t0\nC\taway\t30\t1\nD\taway\t\t\nE\thome\t5\t1\n"
    )
    (folder / "rna.tsv").write_text("patient\tG1\tG2\n007\t1\t2\nB\t3\t4\nC\t5\t6\nD\t7\t8\nX\t9\t0\n")
    (folder / "mutations.tsv").write_text("patient\tTP53_mut\n007\t1\nE\t0\nY\t1\n")
    inputs = {
        "endpoint": None, "covariates": {}, "alterations": str(folder / "mutations.tsv"),
        "expression": {"path": str(folder / "rna.tsv"), "scale": "tpm"},
    } | given  # fmt: skip
    path = ROOT / "workflow/scripts/survival/assemble_cohort.py"
    spec = importlib.util.spec_from_file_location("assemble_cohort", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    words = [
        "--patients",
        folder / "patients.tsv",
        "--inputs",
        json.dumps(inputs),
        "--settings",
        '{"at_least": "none"}',
    ]
    words += ["--expression", folder / "expression.h5ad", "--alterations", folder / "alterations.h5ad"]
    words += ["--with-external", folder / "all.parquet"] if "cohorts" in given else []
    script.main([str(word) for word in [*words, "--out", folder / "c.parquet", "--ledger", folder / "l.parquet"]])
    return folder


def test_profiles_follow_the_patients_and_the_rest_stands_in_the_ledger(tmp_path):
    folder = assembled(tmp_path)
    cohort = COHORT.read(folder / "c.parquet")
    assert cohort["patient"].tolist() == ["007", "B", "C", "E"]
    assert cohort["has_expression"].tolist() == [True, True, True, False]
    assert EXPRESSION.read(folder / "expression.h5ad").to_df().loc["007"].tolist() == [1.0, 2.0]
    assert ALTERATIONS.read(folder / "alterations.h5ad").to_df()["TP53_mut"].to_dict() == {"007": 1.0, "E": 0.0}
    lost = LEDGER.read(folder / "l.parquet")
    assert lost.groupby("kind")["item"].apply(list).to_dict() == {
        "alterations profile": ["Y"],
        "expression profile": ["D", "X"],
        "patient": ["D"],
    }


def test_external_cohorts_are_told_apart_from_those_trained_on(tmp_path):
    folder = assembled(tmp_path, cohorts={"home": "train", "away": "external"})
    assert COHORT.read(folder / "c.parquet")["patient"].tolist() == ["007", "B", "E"]
    everybody = COHORTS.read(folder / "all.parquet").set_index("patient")
    assert everybody["role"].to_dict() == {"007": "train", "B": "train", "C": "external", "E": "train"}
    assert "C" in EXPRESSION.read(folder / "expression.h5ad").obs_names, "external patients keep their profiles"


def test_profiles_of_other_names_are_refused_and_leave_nothing(tmp_path):
    (tmp_path / "other.tsv").write_text("patient\tG1\nP-1\t1\n")
    with pytest.raises(InputError, match=r"none of the 1 patients of inputs.expression \('P-1'\) is in the patients"):
        assembled(tmp_path, expression={"path": str(tmp_path / "other.tsv"), "scale": "tpm"})
    assert not list(tmp_path.glob("*.parquet"))
    assert not list(tmp_path.glob("*.h5ad"))


# --- cells, embeddings, gene groups


def counts(folder, name, genes, kinds, *, packed=True):
    values = np.arange(len(kinds) * len(genes), dtype=np.float32).reshape(len(kinds), len(genes))
    obs = pd.DataFrame(index=[f"{name}{i}" for i in range(len(kinds))])
    obs["depth"], obs["n_genes"] = values.sum(1), len(genes)
    if any(kinds):
        obs["cell_type"] = pd.Categorical([kind or np.nan for kind in kinds])
    data = ad.AnnData(sparse.csr_matrix(values) if packed else values, obs=obs, var=pd.DataFrame(index=genes))
    COUNTS.write(data, folder / f"{name}.h5ad", provenance={})
    return folder / f"{name}.h5ad"


def test_cells_of_several_files_share_genes_and_leave_out_the_unnamed(tmp_path):
    first = counts(tmp_path, "a", ["G1", "G2", "G3"], ["T", "", "B"])
    second = counts(tmp_path, "b", ["G3", "G1"], ["B", "B"], packed=False)
    bare = counts(tmp_path, "c", ["G9"], ["", ""])
    cells = load_cells([first, second, bare])
    assert cells.genes == ("G1", "G3")
    assert cells.cell_type.tolist() == ["T", "B", "B", "B"]
    np.testing.assert_array_equal(cells.counts, [[0, 2], [6, 8], [1, 0], [3, 2]])
    assert load_cells([bare]) is None
    assert load_cells([]) is None


def test_embedding_by_gene(tmp_path):
    keys = pd.DataFrame({name: ["B", "A"] for name in GENE_EMBEDDING.columns})
    frame = with_vectors(keys, np.array([[1.0, 3.0], [2.0, 4.0]]))
    GENE_EMBEDDING.write(frame, tmp_path / "g.parquet", provenance={})
    found = load_embedding(tmp_path / "g.parquet")
    assert {gene: list(vector) for gene, vector in found.items()} == {"B": [1.0, 3.0], "A": [2.0, 4.0]}
    assert load_embedding(None) is None


def groups(source, **changes):
    values = {"source": source, "path": None, "least_genes": 2, "most_groups": 5, **changes}
    return GroupSettings(**values)


def files(folder):
    frame = pd.DataFrame({"gene": ["G1", "G2", "G3", "G4"], "module": ["1", "1", "none", "2"]})
    for column, kind in MODULES.columns.items():
        if column not in frame:
            frame[column] = "" if kind == "str" else 0
    MODULES.write(frame, folder / "modules.parquet", provenance={})
    (folder / "families.gmt").write_text("kinases\tx\tG1\tG2\nlost\tx\tQ1\tQ2\n")
    return argparse.Namespace(modules=folder / "modules.parquet", families=folder / "families.gmt")


@pytest.mark.parametrize(
    ("source", "kept", "lost"),
    [("modules", {"module_1": ["G1", "G2"]}, ["module_2"]), ("functional", {"kinases": ["G1", "G2"]}, ["lost"])],
)
def test_groups_come_from_their_source_and_small_ones_go_to_the_ledger(tmp_path, source, kept, lost):
    account = Account("survival")
    assert load_groups(files(tmp_path), groups(source), ["G1", "G2", "G4"], account) == kept
    assert [row[3] for row in account.rows] == lost
    assert account.counts == [{"kind": "gene set", "context": source, "n_in": 2, "n_out": 1}]


def test_a_file_of_groups_of_the_users_own(tmp_path):
    own = tmp_path / "own.gmt"
    own.write_text("mine\tx\tG2\tG4\n")
    found = load_groups(files(tmp_path), groups("gmt", path=str(own)), ["G2", "G4"], Account("survival"))
    assert found == {"mine": ["G2", "G4"]}


def test_groups_need_their_source_and_expression(tmp_path):
    args = argparse.Namespace(modules=None, families=tmp_path / "none.gmt")
    assert load_groups(args, groups("modules"), [], Account("survival")) is None
    with pytest.raises(InputError, match="is 'modules' without a gene graph"):
        load_groups(args, groups("modules"), ["G1"], Account("survival"))
    with pytest.raises(InputError, match="is 'gmt', but survival.gene_groups.path names no file"):
        load_groups(args, groups("gmt"), ["G1"], Account("survival"))


def test_a_model_is_explained_without_groups_where_there_are_none(tmp_path, caplog):
    args = argparse.Namespace(modules=None, families=None, groups=vars(groups("modules")))
    with caplog.at_level("WARNING"):
        assert explained_groups(args, ["G1"]) == {}
    assert "gene groups are not attributed: survival.gene_groups.source is 'modules'" in caplog.text


def test_the_ledger_counts_patients_of_each_part(tmp_path):
    account = Account("survival")
    left_out = [("train", 10, ["A", "B"], "no slide"), ("train", 10, ["C"], "no genes"), ("test", 4, ["D"], "no slide")]
    note_left_out(account, left_out, "m/0/1")
    assert account.counts == [
        {"kind": "patient", "context": "m/0/1/train", "n_in": 10, "n_out": 7},
        {"kind": "patient", "context": "m/0/1/test", "n_in": 4, "n_out": 3},
    ]
    account.write(tmp_path / "l.parquet", provenance={})  # refuses counts that do not add up
    assert LEDGER.read(tmp_path / "l.parquet")["reason"].tolist() == ["no slide", "no slide", "no genes", "no slide"]


# --- slides to predict


def quality(folder, rows):
    frame = pd.DataFrame(rows, columns=["slide", "patient", "status"])
    for column, kind in QC.columns.items():
        if column not in frame:
            frame[column] = "" if kind == "str" else 0
    QC.write(frame, folder / "qc.parquet", provenance={})
    return folder / "qc.parquet"


def test_slides_of_a_patient_that_can_be_used(tmp_path):
    path = quality(tmp_path, [("s2", "A", "ok"), ("s1", "A", "ok"), ("s3", "A", "failed"), ("s4", "B", "empty")])
    slides, account = usable_slides(path)
    assert slides == {"A": ["s1", "s2"]}
    assert account.rows == [("survival", "patient", "predict", "B", "has no slide with usable tiles")]
    assert account.counts[0]["n_in"] == 2


def test_not_one_slide_that_can_be_used(tmp_path):
    path = quality(tmp_path, [("s1", "A", "failed"), ("s2", "B", "empty")])
    with pytest.raises(
        InputError, match=r"none of the 2 slides can be predicted \('s1', 's2'\)\. See 'reason' in .*qc"
    ):
        usable_slides(path)


def test_models_without_gene_groups_predict_none():
    prediction = Prediction(np.zeros(1), np.ones((1, 1)), {})
    found = groups_table(["A"], [Member(prediction, np.zeros(3))], [{}])
    assert list(found.columns) == list(GROUP_EXPRESSION.columns)
    assert found.empty


ENCODER = {"name": "made_up", "hash": "h1", "mpp": 0.5, "tile_um": 128.0}


def bags_of(**changes):
    return SlideBags([], [], [], ("f0", "f1"), ENCODER | changes, {})


def test_slides_must_be_encoded_as_the_model_was_trained():
    expected = ENCODER | {"features": ["f0", "f1"]}
    check_encoder(bags_of(), expected)
    check_encoder(bags_of(mpp=np.nan), expected | {"mpp": np.nan})  # unknown in both
    with pytest.raises(InputError, match="takes no slides; it cannot predict from slides alone"):
        check_encoder(bags_of(), None)
    with pytest.raises(InputError, match=r"have encoder mpp 0.25 \('made_up'\), the model was trained on 0.5"):
        check_encoder(bags_of(mpp=0.25), expected)
    with pytest.raises(InputError, match="tile_um 128.0 .*trained on nan"):
        check_encoder(bags_of(), expected | {"tile_um": np.nan})
    for features in (["f1", "f0"], ["f0"]):
        with pytest.raises(InputError, match=f"have 2 features, the model was trained on {len(features)} of other"):
            check_encoder(bags_of(), expected | {"features": features})


def test_no_attention_without_slides():
    assert mean_attention(bags_of(), [], []).empty


# --- one fold


@dataclass(frozen=True)
class Constant:
    """A model that gives everybody one risk, and more of what it is told to."""

    risk: float = 0.0
    more: dict = field(default_factory=dict)
    history: tuple = ()

    def predict(self, patients, horizons_days):
        n = len(patients)
        more = {name: np.full((n, *shape), 1.5) for name, shape in self.more.items()}
        return Prediction(np.full(n, self.risk), np.full((n, len(horizons_days)), 0.5), more)


def one_fold(model, needs, *, missing=()):
    people = make_patients(12, missing=missing)
    roles = pd.DataFrame({"patient": people.ids, "repeat": 0, "fold": 3})
    roles["role"] = ["train"] * 6 + ["validation"] * 3 + ["test"] * 3
    needed = frozenset({needs})
    module = SimpleNamespace(
        fit=lambda *parts, settings, context: model, TRAIN_NEEDS=needed, PREDICT_NEEDS=needed, NEEDS=needed
    )
    context = Context(1, ("m", "0", "3"))
    return crossfit.fit_fold(people, roles, module, settings=None, context=context, horizons_days=[100, 200])


def test_a_fold_holds_what_its_model_says(monkeypatch):
    monkeypatch.setattr(crossfit, "needs_of", lambda module, settings: SimpleNamespace(**vars(NEEDS_SLIDE)))
    model = Constant(0.25, more={"risk_gene": (), "reconstruction": (4,)})
    found = one_fold(model, "slide", missing=[(0, "slide"), (10, "slide")])
    assert found.risk["patient"].tolist() == ["P009", "P011"]
    assert found.risk["risk_gene"].tolist() == [1.5, 1.5], "what is more than one value per patient is no column"
    assert "reconstruction" not in found.risk
    assert found.risk[["survival_100", "survival_200"]].eq(0.5).all(axis=None)
    assert len(found.train_risk) == 8
    reason = "no slide data, which the model needs"
    assert found.left_out == [("train", 6, ["P000"], reason), ("test", 3, ["P010"], reason)]


NEEDS_SLIDE = SimpleNamespace(train=frozenset({"slide"}), predict=frozenset({"slide"}))


@pytest.mark.parametrize(("rows", "role"), [(range(6), "train"), (range(6, 9), "validation"), (range(9, 12), "test")])
def test_a_part_without_anybody_who_can_be_used(monkeypatch, rows, role):
    monkeypatch.setattr(crossfit, "needs_of", lambda module, settings: NEEDS_SLIDE)
    with pytest.raises(InputError, match=rf"no {role} patient has all that the model needs \('slide'\)\. Take it out"):
        one_fold(Constant(), "slide", missing=[(row, "slide") for row in rows])


@pytest.mark.parametrize("risk", [np.nan, np.inf])
def test_risks_that_are_no_numbers_are_refused(monkeypatch, risk):
    monkeypatch.setattr(crossfit, "needs_of", lambda module, settings: NEEDS_SLIDE)
    with pytest.raises(InputError, match="m/0/3: a predicted risk is not a finite number"):
        one_fold(Constant(risk), "slide")


def test_unknown_kinds_of_data_are_refused():
    people = make_patients(3, missing=[(1, "slide"), (1, "expression"), (2, "slide")])
    assert people.has("slide|expression").tolist() == [True, False, True]
    assert replace(people, expression=None).has("expression").tolist() == [False] * 3
    with pytest.raises(InputError, match="'blood' is no kind of patient data; known: slide, expression, clinical"):
        people.has("blood")

"""What every method promises: it learns, predicts everybody, says what is missing, comes back from a bundle."""

import numpy as np
import pytest
from unit.survival.people import make_patients, training

from histoweave.errors import InputError
from histoweave.survival import (
    abmil_wsi,
    cox_clinical,
    coxnet_both,
    coxnet_rna,
    coxnet_slide,
    ghanet,
    late_fusion,
    mcat,
    meanpool_wsi,
    registry,
    rsf_rna,
    snn_rna,
    survpath,
    transmil_wsi,
)
from histoweave.survival.concordance import concordance
from histoweave.survival.gene_groups import GateSettings
from histoweave.survival.interface import Context
from histoweave.survival.linear import CoxnetSettings

NET = CoxnetSettings(l1_ratio=0.5, penalties=12, least_penalty=0.05, inner_folds=3)
GROUPS = {"one": ["G0", "G1", "G2", "G3"], "two": ["G3", "G4", "G5", "G6", "G7"]}
GHANET = ghanet.GhanetSettings(
    bins=4, hidden=16, heads=2, feed_forward=16, dropout=0.1, top_share=0.2, hyper_attention=True,
    reconstruction_weight=0.3, permute_genomics=False, clip=5.0, expression_clip=5.0,
    gate=GateSettings("none", 1, 0.05), training=training(epochs=20),
)  # fmt: skip
CASES = {
    "cox_clinical": (cox_clinical.CoxClinicalSettings(0.0001), 0.55),
    "coxnet_rna": (coxnet_rna.CoxnetRnaSettings(0, False, 10.0, NET), 0.58),
    "coxnet_slide": (coxnet_slide.CoxnetSlideSettings(10.0, NET), 0.62),
    "coxnet_both": (coxnet_both.CoxnetBothSettings("late", 0, False, 10.0, NET), 0.68),
    "abmil_wsi": (abmil_wsi.AbmilSettings(16, 8, 0.1, 5.0, "efron", training()), 0.62),
    "ghanet": (GHANET, 0.6),
    "meanpool_wsi": (meanpool_wsi.MeanpoolSettings(16, 0.1, 5.0, "efron", training()), 0.62),
    "snn_rna": (snn_rna.SnnSettings(0, 16, 0.1, 5.0, "efron", training()), 0.58),
    "mcat": (mcat.McatSettings(16, 2, 0.1, 5.0, 5.0, "efron", training(learning_rate=0.003)), 0.58),
    "rsf_rna": (rsf_rna.RsfSettings(0, 10.0, 60, 8, "all"), 0.58),
    "survpath": (survpath.SurvpathSettings(16, 8, 0.1, 5.0, 5.0, "efron", training(learning_rate=0.003)), 0.58),
    "transmil_wsi": (
        transmil_wsi.TransmilSettings(8, 2, 4, 0.1, 5.0, "efron", training(epochs=4, learning_rate=0.006)),
        0.58,
    ),
    "late_fusion": (
        late_fusion.LateFusionSettings(
            abmil_wsi.AbmilSettings(16, 8, 0.1, 5.0, "efron", training()),
            coxnet_rna.CoxnetRnaSettings(0, False, 10.0, NET),
        ),
        0.68,
    ),
}
SLIDES_ONLY = {"coxnet_slide", "abmil_wsi", "meanpool_wsi", "transmil_wsi", "ghanet"}
BOTH = {"coxnet_both", "mcat", "survpath"}
NEURAL = {"abmil_wsi", "meanpool_wsi", "transmil_wsi", "snn_rna", "mcat", "survpath", "ghanet"}
AVERAGED = {"ghanet", "rsf_rna"}  # their risk orders the mean of the curve, not each horizon


@pytest.fixture(scope="module", params=sorted(CASES))
def case(request):
    people = make_patients(180, seed=3)
    module = registry.method_module(request.param)
    context = Context(1, (request.param, "0", "0"), gene_groups=GROUPS)
    settings, least = CASES[request.param]
    fitted = module.fit(people.subset(range(100)), people.subset(range(100, 130)), settings=settings, context=context)
    return request.param, module, settings, context, people, fitted, least


def test_learns_what_is_there(case):
    _, _, _, _, people, fitted, least = case
    test = people.subset(range(130, 180))
    assert concordance(test.time_days, test.event, fitted.predict(test, [365]).risk) > least


def test_curves_agree_with_risks(case):
    *_, people, fitted, _ = case
    made = fitted.predict(people, [100, 400, 900])
    assert made.survival.shape == (180, 3)
    assert (np.diff(made.survival, axis=1) <= 1e-12).all()
    order = np.argsort(made.risk)
    if case[0] not in AVERAGED:
        assert (np.diff(made.survival[order, 1]) <= 1e-6).all()
    assert np.corrcoef(made.risk, made.survival[:, 1])[0, 1] < -0.5


def test_prediction_does_not_depend_on_who_else_is_predicted(case):
    *_, people, fitted, _ = case
    alone = fitted.predict(people.subset([5]), [365])
    together = fitted.predict(people, [365])
    np.testing.assert_allclose(alone.risk[0], together.risk[5], rtol=1e-5, atol=1e-6)


def test_comes_back_from_its_state(case):
    _, module, _, _, people, fitted, _ = case
    tensors, meta = fitted.state()
    again = module.restore(tensors, meta).predict(people, [365])
    np.testing.assert_allclose(again.risk, fitted.predict(people, [365]).risk, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(again.survival, fitted.predict(people, [365]).survival, rtol=1e-6)


def test_same_seed_same_result(case):
    name, module, settings, context, people, fitted, _ = case
    if name in NEURAL:
        settings = type(settings)(**{**vars(settings), "training": training(epochs=2)})
        fits = [
            module.fit(people.subset(range(60)), people.subset(range(60, 80)), settings=settings, context=context)
            for _ in range(2)
        ]
    else:
        parts = people.subset(range(100)), people.subset(range(100, 130))
        fits = [fitted, module.fit(*parts, settings=settings, context=context)]
    np.testing.assert_array_equal(*(fit.predict(people, [365]).risk for fit in fits))


def test_patients_without_what_is_needed_are_named(case):
    name, *_, fitted, _ = case
    if name in ("cox_clinical", "late_fusion"):
        return
    what = "slide" if name in SLIDES_ONLY | BOTH else "expression"
    lacking = make_patients(10, missing=[(4, what)])
    with pytest.raises(InputError, match=f"{name}: 1 of 10 patients have no {what} data: 'P004'"):
        fitted.predict(lacking, [365])


def test_slides_without_tiles_are_as_no_slide(case):
    name, *_, fitted, _ = case
    if name not in SLIDES_ONLY | BOTH:
        return
    people = make_patients(10)
    people.bags[7] = people.bags[7][:0]
    with pytest.raises(InputError, match=f"{name}: 1 of 10 patients have no slide data: 'P007'"):
        fitted.predict(people, [365])


def test_no_event_in_training(case):
    name, module, settings, context, people, _, _ = case
    people = people.subset(range(40))
    people.event[:] = 0
    with pytest.raises(InputError, match="event"):
        module.fit(people.subset(range(30)), people.subset(range(30, 40)), settings=settings, context=context)


def test_slides_alone_suffice_for_slide_models(case):
    name, *_, people, fitted, _ = case
    if name in SLIDES_ONLY:
        from dataclasses import replace

        blind = replace(people, expression=None, genes=())
        np.testing.assert_array_equal(fitted.predict(blind, [365]).risk, fitted.predict(people, [365]).risk)


def test_late_fusion_takes_what_a_patient_has():
    people = make_patients(120, seed=3, missing=[(2, "slide"), (4, "expression"), (6, "slide"), (6, "expression")])
    settings, _ = CASES["late_fusion"]
    whole = people.subset([i for i in range(120) if i != 6])
    parts = whole.subset(range(80)), whole.subset(range(80, 119))
    fitted = late_fusion.fit(*parts, settings=settings, context=Context(1, ("late", "0", "0")))
    slide_only = fitted.predict(people.subset([4]), [365]).risk[0]
    alone = (fitted.members[0].predict(people.subset([4]), [365]).risk[0] - fitted.centre[0]) / fitted.spread[0]
    assert slide_only == pytest.approx(alone, rel=1e-5)
    with pytest.raises(InputError, match=r"1 of 1 patients have no slide\|expression data: 'P006'"):
        fitted.predict(people.subset([6]), [365])


def test_unknown_method():
    with pytest.raises(InputError, match="survival method 'magic' is unknown"):
        registry.method_module("magic")


def test_every_method_is_tested_here():
    assert set(registry.METHODS) - set(CASES) == {"path_gptomic"}, "path_gptomic has a file of its own"


@pytest.mark.parametrize("what", ["slide", "expression"])
def test_late_fusion_needs_patients_of_both_kinds(what):
    people = make_patients(40, seed=3, missing=[(row, what) for row in range(30)])
    settings, _ = CASES["late_fusion"]
    parts = people.subset(range(25)), people.subset(range(25, 40))
    with pytest.raises(InputError, match=f"late_fusion: no training patient has {what} data"):
        late_fusion.fit(*parts, settings=settings, context=Context(1, ("late", "0", "0")))


def test_models_without_tiles_have_no_attention(case):
    name, *_, people, fitted, _ = case
    if name == "snn_rna":
        with pytest.raises(InputError, match="snn_rna has no attention over tiles"):
            fitted.attention(people)


def test_weights_of_another_network_are_refused(case):
    name, module, *_, fitted, _ = case
    if name not in NEURAL:
        return
    tensors, meta = fitted.state()
    first = next(key for key in tensors if key.startswith("network."))
    with pytest.raises(InputError, match=rf"the bundle's weights do not fit {name} .*Train the model again"):
        module.restore({key: value for key, value in tensors.items() if key != first}, meta)

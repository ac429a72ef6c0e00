"""Which rows the figures show of sites and cohorts that the models have not seen."""

from matplotlib.figure import Figure

from histoweave.plots.calibration import calibration
from histoweave.plots.choices import CannotDrawError, Tables, few_horizons, need
from histoweave.plots.forest import forest
from histoweave.plots.kaplan_meier import kaplan_meier


def sites(tables: Tables, main: str) -> Figure:
    """c-index at each site of the main model, or of the first one, trained without the site."""
    rows = need(tables, "sites", metric="c_index", kind=["site", "mean of sites", "another site"])
    model = main if (rows["model"] == main).any() else rows["model"].iloc[0]
    rows = rows[rows["model"] == model]
    label = rows["site"].where(rows["kind"] == "site", rows["kind"])
    group = rows["kind"].where(rows["kind"] == "site", "over sites")
    return forest(
        rows.assign(label=label, group=group),
        quantity=f"c-index of {model}, trained without the site",
        reference=0.5,
        log_scale=False,
    )


def external(tables: Tables) -> Figure:
    """c-index of every model on every external cohort."""
    rows = need(tables, "external", metric="c_index")
    rows = rows.assign(label=rows["model"] + ", " + rows["cohort"], group=rows["cohort"])
    return forest(rows, quantity="Harrell's c-index on external cohorts", reference=0.5, log_scale=False)


def external_calibration(tables: Tables) -> Figure:
    """Calibration of every model on every external cohort."""
    rows = need(tables, "external_calibration").dropna(subset=["predicted", "observed"])
    if not len(rows):
        msg = "Not drawn: no model's calibration could be estimated; the table gives the reasons."
        raise CannotDrawError(msg)
    return calibration(few_horizons(rows.assign(model=rows["model"] + ", " + rows["cohort"])))


def external_groups(tables: Tables, cohort: str, main: str) -> Figure:
    """Kaplan-Meier curves of the groups of the main model, or of the first one, cut at the training median."""
    curves = need(tables, "external_curves", cohort=cohort)
    models = [name for name in curves["model"].unique() if name != "kaplan_meier"]
    model = main if main in models else models[0]
    test = need(tables, "external", cohort=cohort, model=model, metric="log_rank_p")["estimate"].iloc[0]
    note = f"{model}; log-rank p {'< 0.001' if test < 0.001 else f'= {test:.3f}'}" if test == test else model
    return kaplan_meier(
        curves[curves["model"] == model], need(tables, "external_at_risk", cohort=cohort, model=model), note=note
    )

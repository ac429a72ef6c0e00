"""The section on the gene graph: its map, its modules, how good it is beside its controls, and what it was used for."""

from collections.abc import Callable

import pandas as pd

from histoweave.report.blocks import Section, Table, Text, cell, interval_cell, table_of
from histoweave.report.run import Run

OURS, NAME_ONLY, SPECTRAL = "musegnn", "random_per_gene", "joint_spectral"
SIX = {"asw": "ASW", "auc": "AUC", "ilisi": "iLISI", "gc": "GC", "cgr": "CGR", "no": "NO"}
MORE = {
    "overall": "overall",
    "auc_no_diagonal": "AUC without diagonal",
    "held_out_auc": "held-out AUC",
    "held_out_ap": "held-out precision",
}
COMPARED = {"held_out_auc": "held-out AUC", "held_out_ap": "held-out precision", **SIX}


def genes_section(run: Run) -> Section:
    """Map of genes, modules, training, quality beside controls, and the uses that the config asks for."""
    blocks = [*run.named("gene_map"), *_modules(run), *run.named("gene_training")]
    blocks += [Text(NAME_ONLY_TEXT), *_name_only(run), *_tie(run), *run.named("gene_quality"), *_measures(run)]
    blocks += [*_gains(run)]
    for key, use in USES.items():
        if run.config["genegraph"][key[0]][key[1]]:
            blocks += use(run)
    return Section("genes", "Gene graph", blocks)


def _modules(run: Run) -> list:
    if not run.has("modules"):
        return [run.absent("modules")]
    sizes = run.table("modules").groupby("module")["gene"].agg(["size", lambda genes: ", ".join(sorted(genes)[:8])])
    sizes.columns = ["genes", "some"]
    sizes = sizes.sort_values("genes", ascending=False).reset_index()
    headings = {"module": "module", "genes": "genes", "some": "first eight by name"}
    return [table_of(sizes, headings, name="modules", caption="Gene modules")]


NAME_ONLY_TEXT = (
    "Read the measures beside their controls: 'random_per_gene' gives every gene name one random vector in all"
    " datasets, which knows nothing of expression. Such an embedding of names alone can top four of the six published"
    " measures (ASW, iLISI, CGR and, by the data, GC or NO), since they ask for datasets to mix or for the same gene to"
    " lie together. The AUC and precision of edges that were held out of training cannot be had that way."
)


def _name_only(run: Run) -> list[Text]:
    """Which of the six measures the name-only embedding wins in this run."""
    if not run.has("graph_metrics"):
        return []
    wide = run.table("graph_metrics").pivot_table(index="method", columns="metric", values="value")
    if not {OURS, NAME_ONLY} <= set(wide.index):
        return []
    six = wide[[name for name in SIX if name in wide]]
    tops = [SIX[name] for name in six if six.loc[NAME_ONLY, name] >= six[name].max() - 1e-9]
    reaches = [SIX[name] for name in six if six.loc[NAME_ONLY, name] >= six.loc[OURS, name] - 1e-9]
    told = f"In this run 'random_per_gene' is the best of all methods in {_said(tops, len(six.columns))}"
    return [Text(f"{told}, and at least as good as '{OURS}' in {_said(reaches, len(six.columns))}.")]


def _said(names: list[str], of: int) -> str:
    return f"{len(names)} of {of} ({', '.join(names)})" if names else f"none of {of}"


def _tie(run: Run) -> list[Text]:
    """What our own settings do to the measures of mixing."""
    settings = run.config["genegraph"]["musegnn"]
    if settings["decoder"] == "mlp" or not (settings["tie"] or settings["length"]):
        return []
    text = (
        f"'{OURS}' is our variant: decoder '{settings['decoder']}', tie {settings['tie']:g}, length"
        f" {settings['length']:g}. Tie makes datasets with the same layers share a gene's vector, and length lets"
        " well-connected genes have long vectors; both are ours and raise measures of mixing and of clusters, which say"
        " nothing about edges. The published form stands beside it as 'musegnn_published' where the config asks for it."
    )
    return [Text(text)]


def _measures(run: Run) -> list:
    """A row per method, a column per measure."""
    if not run.has("graph_metrics"):
        return [run.absent("graph_metrics")]
    frame = run.table("graph_metrics")
    known = {**MORE, **SIX}
    metrics = [*[name for name in known if name in set(frame["metric"])], *sorted(set(frame["metric"]) - set(known))]
    rows = []
    for method, part in frame.groupby("method", sort=False):
        by = part.set_index("metric")
        rows.append([cell(method), *[_value(by, metric) for metric in metrics]])
    seeds = int(frame["seeds"].max())
    over = f"means over {seeds} seeds with 95 % intervals" if seeds > 1 else "one seed"
    columns = ["method", *[known.get(metric, metric) for metric in metrics]]
    return [Table("graph-metrics", f"Quality of the gene embedding beside its controls ({over})", columns, rows)]


def _value(by: pd.DataFrame, metric: str) -> object:
    if metric not in by.index:
        return cell(float("nan"))
    row = by.loc[metric]
    if pd.isna(row["lower"]):
        return cell(float(row["value"]))
    return interval_cell(row["value"], row["lower"], row["upper"])


def _gains(run: Run) -> list:
    """Paired differences to each other method; with intervals only over several seeds."""
    if not run.has("graph_comparisons"):
        return []
    frame = run.table("graph_comparisons")
    if frame["seeds"].max() < 2:
        return [Text("One seed gives no interval of the differences; genegraph.metrics.seeds sets more.")]
    rows = [
        [cell(method), *[_gain(part.set_index("metric"), metric) for metric in COMPARED]]
        for method, part in frame.groupby("method", sort=False)
    ]
    caption = f"What '{OURS}' has over each other method, paired by seed, with 95 % intervals"
    return [Table("graph-gains", caption, ["over", *COMPARED.values()], rows)]


def _gain(by: pd.DataFrame, metric: str) -> object:
    if metric not in by.index:
        return cell(float("nan"))
    row = by.loc[metric]
    return interval_cell(row["difference"], row["lower"], row["upper"])


def _listed(
    run: Run, name: str, headings: dict[str, str], *, caption: str, most: int, keep: Callable | None = None
) -> list:
    """The first rows of a table, or that it is not there."""
    if not run.has(name):
        return [run.absent(name)]
    frame = run.table(name)
    frame = frame[keep(frame)] if keep else frame
    if not len(frame):
        return [Text(f"{caption}: none was found.")]
    more = f" (first {most} of {len(frame)})" if len(frame) > most else ""
    return [table_of(frame.head(most), headings, name=name, caption=caption + more, file=run.files[name])]


def _gene_sets(run: Run) -> list:
    fdr = run.config["genegraph"]["gene_sets"]["fdr"]
    headings = {"module": "module", "term": "gene set", "overlap": "genes in both", "module_genes": "of the module"}
    headings |= {"term_genes": "of the set", "fold": "fold", "p_value": "p", "q_value": "q"}
    caption = f"Gene sets over-represented in modules (hypergeometric, q < {fdr:g})"
    found = _listed(run, "enrichment", headings, caption=caption, most=20, keep=lambda frame: frame["found"])
    return [*run.named("gene_sets"), *found, *run.named("gene_probes")]


def _changes(run: Run) -> list:
    headings = {"gene": "gene", "moved": "moved", "p_moved": "p", "q_moved": "q", "lost_neighbours": "lost neighbours"}
    headings |= {"p_lost_neighbours": "p", "q_lost_neighbours": "q"}
    chosen = run.config["genegraph"]["differential"]
    caption = f"Genes that change most between {', '.join(chosen['first'])} and {', '.join(chosen['second'])}"
    return [*run.named("gene_changes"), *_listed(run, "differential", headings, caption=caption, most=20)]


def _function(run: Run) -> list:
    headings = {"classifier": "classifier", "label": "label", "n_genes": "genes", "auroc": "AUROC"}
    headings |= {"average_precision": "average precision"}
    caption = "Labels of genes predicted from their vectors, out of fold"
    return [*run.named("gene_function"), *_listed(run, "gene_function", headings, caption=caption, most=20)]


def _species(run: Run) -> list:
    headings = {"species_a": "species", "species_b": "and", "measure": "measure", "value": "orthologues"}
    headings |= {"random": "dealt out at random"}
    caption = "Do orthologues lie together?"
    return [*run.named("gene_orthologues"), *_listed(run, "orthology", headings, caption=caption, most=20)]


# (section, key) of genegraph that names the input -> what the report shows
USES: dict[tuple[str, str], Callable[[Run], list]] = {
    ("gene_sets", "gmt"): _gene_sets,
    ("differential", "first"): _changes,
    ("gene_function", "labels"): _function,
    ("orthology", "table"): _species,
}

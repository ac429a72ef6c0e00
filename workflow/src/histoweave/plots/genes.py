"""Figures of the gene graphs: how training went, and what the gene vectors were used for."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from histoweave.plots.style import COLOURS, GREY, PALE, colour, dashes, describe, figure_of, listed, wrapped

_VALIDATION = "validation_auc"
_MARKS = "os^Dv"


@figure_of
def gene_training(curve: pd.DataFrame) -> Figure:
    """Parts of the loss, and the AUC of the validation edges, by epoch; a line marks the epoch that was kept.

    curve : ``epoch``, ``part``, ``value``; the part ``validation_auc`` only where it was looked at
    """
    parts = list(dict.fromkeys(curve["part"]))
    kept, why = kept_epoch(curve)
    figure = Figure(figsize=(7.2, 2.3), layout="constrained")
    for number, (axes, part) in enumerate(zip(figure.subplots(1, len(parts), squeeze=False)[0], parts, strict=True)):
        rows = curve[curve["part"] == part]
        axes.plot(rows["epoch"], rows["value"], color=colour(number), marker="." if part == _VALIDATION else None)
        axes.axvline(kept, color=GREY, linewidth=1, linestyle=dashes(1))
        axes.set_title(wrapped(_part_name(part), 22), fontsize=9)
        axes.tick_params(labelsize=7.5)
    figure.supxlabel("epoch", fontsize=9)
    last = curve.groupby("part", sort=False)["value"].last()
    said = "; ".join(f"{_part_name(part)} ends at {value:.3g}" for part, value in last.items())
    return describe(figure, f"Training of the gene embedding: {why}, epoch {kept} of {curve['epoch'].max()}. {said}.")


def kept_epoch(curve: pd.DataFrame) -> tuple[int, str]:
    """Epoch whose weights were kept, and in words why."""
    looks = curve[curve["part"] == _VALIDATION]
    if len(looks):
        return int(looks.loc[looks["value"].idxmax(), "epoch"]), "the epoch that tells validation edges best is kept"
    losses = curve[curve["part"] == "reconstruction"]
    return int(losses.loc[losses["value"].idxmin(), "epoch"]), "the epoch of the lowest reconstruction loss is kept"


def _part_name(part: str) -> str:
    return "AUC of validation edges" if part == _VALIDATION else f"{part.replace('_', ' ')} loss"


@figure_of
def enriched_terms(rows: pd.DataFrame, *, most: int) -> Figure:
    """Gene sets (down) in modules (across) as discs: area is the share of the set, colour the q value.

    rows : ``module``, ``term``, ``rich_factor``, ``q_value``, ``found``; most : terms shown, those of lowest q
    """
    shown = rows[rows["q_value"] < 0.5] if rows["found"].any() else rows
    terms = list(dict.fromkeys(shown.sort_values(["q_value", "term"], kind="stable")["term"]))[:most]
    shown = shown[shown["term"].isin(terms)]
    modules = sorted(set(shown["module"]))
    figure = Figure(figsize=(7.2, 1.2 + 0.26 * len(terms)), layout="constrained")
    axes = figure.subplots()
    strength = -np.log10(np.maximum(shown["q_value"], 1e-300))
    discs = axes.scatter(
        shown["module"].map(modules.index),
        shown["term"].map(terms.index),
        s=12 + 260 * shown["rich_factor"],
        c=strength,
        cmap="cividis_r",
        vmin=0,
        edgecolors=np.where(shown["found"], "black", "none"),
        linewidths=1,
    )
    axes.set_xticks(range(len(modules)), modules, rotation=90, fontsize=7.5)
    axes.set_yticks(range(len(terms)), [wrapped(str(term).replace("_", " "), 44) for term in terms], fontsize=7)
    axes.set_xlim(-0.7, len(modules) - 0.3)
    axes.set_ylim(len(terms) - 0.4, -0.6)
    axes.grid(visible=True, color=PALE)
    figure.colorbar(discs, ax=axes, label="-log10 q", shrink=0.7)
    for share in (0.1, 0.5):
        axes.scatter([], [], s=12 + 260 * share, color=GREY, label=f"{100 * share:.0f} % of the set")
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=2, fontsize=7.5)
    best = shown[shown["found"]].sort_values("q_value", kind="stable").drop_duplicates("term")
    said = listed([f"{row.term} in {row.module} (q {row.q_value:.1g})" for row in best.itertuples()], most=8)
    return describe(figure, f"Gene sets over-represented in modules; a black rim marks those found. Best: {said}.")


@figure_of
def set_probes(rows: pd.DataFrame) -> Figure:
    """AUROC of the probe of every gene set, in rising order, for each kind of vectors; and of the pairs of genes.

    rows : ``method``, ``term``, ``auroc``; the term ``(pairs)`` is the AUROC of the cosine of two genes of a set
    """
    figure = Figure(figsize=(6.0, 3.0), layout="constrained")
    axes = figure.subplots()
    said = []
    for number, (method, part) in enumerate(rows.groupby("method", sort=False)):
        values = np.sort(part.loc[part["term"] != "(pairs)", "auroc"].dropna().to_numpy())
        pairs = part.loc[part["term"] == "(pairs)", "auroc"]
        told = f"{method}: median {np.median(values):.2f}" if len(values) else str(method)
        told += f", pairs {pairs.iloc[0]:.2f}" if len(pairs) else ""
        shade = colour(0) if number == 0 else GREY
        axes.plot(np.arange(1, len(values) + 1), values, _MARKS[number], color=shade, markersize=4, label=told)
        said.append(f"{told} over {len(values)} sets")
    axes.axhline(0.5, color=GREY, linewidth=1, linestyle=dashes(1))
    axes.set_xlabel("gene sets, in rising order")
    axes.set_ylabel("AUROC, out of fold")
    axes.legend(loc="upper left", fontsize=8)
    return describe(figure, f"What a linear classifier reads of each gene set from the vectors. {'; '.join(said)}.")


@figure_of
def changed_genes(rows: pd.DataFrame, *, named: int) -> Figure:
    """Genes by the neighbours that they lost and by how far they moved between two conditions.

    rows : ``gene``, ``lost_neighbours``, ``moved``, ``q_lost_neighbours``, ``q_moved``; named : genes named, those that
    moved most
    """
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    least = rows[["q_lost_neighbours", "q_moved"]].min(axis=1)
    tested = least.notna().any()
    hit = (least < 0.05).to_numpy()
    axes.scatter(rows["lost_neighbours"][~hit], rows["moved"][~hit], s=8, color=GREY, alpha=0.5, linewidths=0)
    axes.scatter(rows["lost_neighbours"][hit], rows["moved"][hit], s=14, color=COLOURS[1], marker="^", linewidths=0)
    top = rows.sort_values(["moved", "gene"], ascending=[False, True], kind="stable").head(named)
    _name_points(axes, top)
    axes.set_xlabel("share of neighbours lost or gained")
    axes.set_ylabel("change of the cosines to other genes")
    axes.margins(x=0.12, y=0.08)
    note = f"{hit.sum()} of {len(rows)} genes at q < 0.05" if tested else "one dataset per condition: no p value"
    axes.set_title(note, fontsize=9)
    said = f"Genes that change most: {listed(list(top['gene']))}"
    return describe(figure, f"Change of {len(rows)} genes between two conditions; {note}. {said}.")


def _name_points(axes: object, top: pd.DataFrame) -> None:
    """Names beside the points, in two columns at the right and spread so that they do not overlap."""
    low, high = axes.get_ylim()
    gap = (high - low) / 22
    placed: list[float] = []
    for row in top.itertuples():
        y = row.moved if not placed else min(row.moved, placed[-1] - gap)
        placed.append(y)
        axes.annotate(
            row.gene,
            (row.lost_neighbours, row.moved),
            (1.02, y),
            textcoords=axes.get_yaxis_transform(),
            fontsize=7.5,
            va="center",
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.4, "shrinkA": 0, "shrinkB": 2},
        )


@figure_of
def function_scores(rows: pd.DataFrame) -> Figure:
    """AUROC of each label by classifier, beside labels dealt out at random.

    rows : ``classifier``, ``label``, ``n_genes``, ``auroc``
    """
    labels, classifiers = (list(dict.fromkeys(rows[name])) for name in ("label", "classifier"))
    figure = Figure(figsize=(6.0, 1.0 + 0.42 * len(labels)), layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate(classifiers):
        part = rows[rows["classifier"] == name]
        shade = GREY if name == "shuffled" else colour(number)
        places = part["label"].map(labels.index) + 0.16 * (number - (len(classifiers) - 1) / 2)
        axes.plot(part["auroc"], places, _MARKS[number], color=shade, markersize=6, label=name)
    sizes = rows.drop_duplicates("label").set_index("label")["n_genes"]
    ticks = [wrapped(f"{label} ({sizes[label]} genes)", 32) for label in labels]
    axes.set_yticks(range(len(labels)), ticks, fontsize=8)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.axvline(0.5, color=GREY, linewidth=1, linestyle=dashes(1))
    axes.set_xlabel("AUROC, out of fold (nested cross-validation)")
    figure.legend(loc="outside upper center", ncols=len(classifiers), fontsize=8)
    said = "; ".join(f"{row.label}, {row.classifier}: {row.auroc:.2f}" for row in rows.itertuples())
    return describe(figure, f"How well labels of genes are predicted from their vectors. {said}.")


@figure_of
def orthologues(rows: pd.DataFrame) -> Figure:
    """Agreement of orthologues beside genes dealt out at random, a panel per measure.

    rows : ``species_a``, ``species_b``, ``measure``, ``value``, ``random``
    """
    rows = rows.assign(pair=rows["species_a"] + " and " + rows["species_b"])
    pairs, measures = (list(dict.fromkeys(rows[name])) for name in ("pair", "measure"))
    figure = Figure(figsize=(7.2, 1.3 + 0.4 * len(pairs)), layout="constrained")
    for axes, measure in zip(figure.subplots(1, len(measures), sharey=True, squeeze=False)[0], measures, strict=True):
        part = rows[rows["measure"] == measure]
        places = part["pair"].map(pairs.index)
        axes.hlines(places, part["random"], part["value"], color=PALE, linewidth=3, zorder=1)
        axes.plot(part["random"], places, "D", color=GREY, markersize=5, label="dealt out at random")
        axes.plot(part["value"], places, "o", color=colour(0), markersize=6, label="orthologues")
        axes.set_title(wrapped(ORTHOLOGY_MEASURES.get(measure, measure), 26), fontsize=8.5)
        axes.set_yticks(range(len(pairs)), [wrapped(pair, 20) for pair in pairs], fontsize=8)
        axes.set_ylim(len(pairs) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.tick_params(axis="x", labelsize=7.5)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    said = "; ".join(
        f"{row.pair}, {row.measure}: {row.value:.2f}, at random {row.random:.2f}" for row in rows.itertuples()
    )
    return describe(figure, f"Do orthologues lie together? {said}.")


ORTHOLOGY_MEASURES = {
    "cluster_share": "share of a cluster's pairs that are orthologues",
    "rank": "share of genes farther away than the orthologue",
    "top": "genes with an orthologue among the nearest ten",
}

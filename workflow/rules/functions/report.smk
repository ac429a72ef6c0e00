# Names and functions of the report stage.
from snakemake.io import strip_wildcard_constraints

REPORT = f"{RESULTS}/report"
PSEUDONYMS = [f"{RESULTS}/pseudonyms.parquet"] if config["report"]["pseudonyms"] else []
MODEL_NAMES = list(config["survival"].get("models", {})) if PATIENTS else []
# Uses of the gene vectors -> their figures; only those whose input the config names are made.
GENE_FIGURES = [
    name
    for use, names in {
        "enrichment": ["gene_sets", "gene_probes"],
        "differential": ["gene_changes"],
        "gene_function": ["gene_function"],
        "orthology": ["gene_orthologues"],
    }.items()
    if DATASETS and GENEGRAPH_EXTRA[use]
    for name in names
]
# Figures of sites and cohorts that the models have not seen, where the config asks for such.
OTHER_COHORTS = sorted({row["cohort"] for row in VALIDATED}) if PATIENTS else []
ELSEWHERE = [
    *(["sites"] if PATIENTS and HELD_OUT["one_site_out"] else []),
    *(["external", "external_calibration"] if OTHER_COHORTS else []),
    *(f"external_kaplan_meier__{cohort}" for cohort in OTHER_COHORTS),
]
FIGURES = {
    "participants": "Participants",
    "follow_up": "Participants",
    "splits": "Participants",
    "discrimination": "Performance",
    "comparisons": "Performance",
    "calibration": "Performance",
    "d_calibration": "Performance",
    "decision": "Performance",
    "hazard_ratios": "Performance",
    "added_value": "Performance",
    "subgroups": "Performance",
    "attributions": "Performance",
    "reconstruction": "Performance",
    "cell_types": "Performance",
    "training": "Performance",
    "balance": "Performance",
    "gene_map": "Gene graph",
    "gene_training": "Gene graph",
    "gene_quality": "Gene graph",
    **{name: "Gene graph" for name in GENE_FIGURES},
    **{name: "Other hospitals" for name in ELSEWHERE},
    **{f"kaplan_meier__{model}": "Performance" for model in MODEL_NAMES},
    **{f"heatmap__{case}": "Slides" for case in ("highest", "median", "lowest")},
}
# Apart, so that a changed caption does not cut the slides anew.
REPORT_TEXTS, VIEWER_TEXTS = (
    sorted(str(path) for pattern in patterns for path in HERE.glob(pattern))
    for patterns in (
        ["workflow/report/*.*", "workflow/report/captions/*.*", "envs/*.*"],
        ["workflow/report/viewer/*.*"],
    )
)
# What each stage ends in; the report waits for all that the inputs allow.
FINAL = [
    path
    for stage, given in {
        "slides": SLIDES,
        "expression": DATASETS,
        "genegraph": DATASETS,
        "survival": PATIENTS,
        "evaluation": PATIENTS,
    }.items()
    if given
    for path in getattr(rules, stage).input
]
REPORTED = [*FINAL, f"{RESULTS}/ledger.parquet"]


def figure(name, category):
    "A figure's file, marked for `snakemake --report`."
    caption = f"../report/captions/{name.split('__')[0]}.rst"
    label = name.replace("__", ": ").replace("_", " ")
    file = f"{REPORT}/figures/{name}.svg"
    return report(file, caption=caption, category=category, labels={"figure": label})


def ledger_parts():
    "Ledger parts, below ledger/, that some rule of this run may write; parts of removed items are not among them."
    known = {"dataset": list(DATASETS), "batch": BATCHES, "model": MODEL_NAMES}
    start = f"{RESULTS}/ledger/"
    outputs = [
        strip_wildcard_constraints(str(path))
        for rule in workflow.rules
        for path in rule.output
    ]
    parts = [path.removeprefix(start) for path in outputs if path.startswith(start)]
    held_out = [part for part in parts if "{who}" in part]
    made = {
        name for part in set(parts) - set(held_out) for name in expand(part, **known)
    }
    for who, models in HELD_OUT.items():
        made |= {
            name for part in held_out for name in expand(part, who=who, model=models)
        }
    wanted = {"score_sites": HELD_OUT["one_site_out"], "validate_models": VALIDATED}
    unwanted = {f"evaluation/{rule}.parquet" for rule in wanted if not wanted[rule]}
    return sorted(made - unwanted)

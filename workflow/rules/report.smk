# REPORT: one page on the whole run.
# IN    the final tables of all stages
# OUT   ledger.parquet; report/figures/*.svg, report/figures.parquet; report/report.html (self-contained);
#       by setting report/viewer/ (index.html and pieces of slides)
# STEPS join_ledgers -> draw_figures -> write_report; make_viewer
from snakemake.io import strip_wildcard_constraints

REPORT = f"{RESULTS}/report"
MODEL_NAMES = list(config["survival"].get("models", {})) if PATIENTS else []
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
    "training": "Performance",
    "gene_map": "Gene graph",
    "gene_quality": "Gene graph",
    **{f"kaplan_meier__{model}": "Performance" for model in MODEL_NAMES},
    **{f"heatmap__{case}": "Slides" for case in ("highest", "median", "lowest")},
}
REPORT_TEXTS = sorted(
    str(path)
    for folder in ("workflow/report", "envs")
    for path in (HERE / folder).rglob("*.*")
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
    return sorted({made for part in parts for made in expand(part, **known)})


rule report:
    "The report and the joined ledger; by setting, the slide viewer."
    input:
        [f"{REPORT}/viewer"] if config["report"]["viewer"]["enabled"] else [],
        f"{REPORT}/report.html",
        f"{RESULTS}/ledger.parquet",


rule join_ledgers:
    "All ledger parts in one table; every count of items in and out is checked."
    input:
        FINAL,
    output:
        table=f"{RESULTS}/ledger.parquet",
    log:
        f"{RESULTS}/logs/report/join_ledgers.log",
    benchmark:
        f"{RESULTS}/benchmarks/report/join_ledgers.tsv"
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=grow(1000),
        runtime=minutes(10),
    params:
        settings="{}",
        results=RESULTS,
        parts=ledger_parts(),
        code=code_of("report/join_ledgers"),
    shell:
        "{STEP}/report/join_ledgers.py"
        " --results {params.results:q}"
        " --parts {params.parts:q}"
        " --seed {config[seed]}"
        " --out {output.table:q}"
        " > {log:q} 2>&1"


rule draw_figures:
    "Every figure of the report; one that cannot be drawn holds the reason."
    input:
        FINAL,
        f"{RESULTS}/ledger.parquet",
    output:
        [figure(name, category) for name, category in FIGURES.items()],
        table=f"{REPORT}/figures.parquet",
    log:
        f"{RESULTS}/logs/report/draw_figures.log",
    benchmark:
        f"{RESULTS}/benchmarks/report/draw_figures.tsv"
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=grow(2000),
        runtime=minutes(15),
    params:
        settings=settings("report.figures"),
        results=RESULTS,
        folder=f"{REPORT}/figures",
        models=MODEL_NAMES,
        code=code_of("report/draw_figures"),
    shell:
        "{STEP}/report/draw_figures.py"
        " --results {params.results:q}"
        " --models {params.models:q}"
        " --settings {params.settings:q}"
        " --seed {config[seed]}"
        " --out {params.folder:q}"
        " --table {output.table:q}"
        " > {log:q} 2>&1"


rule write_report:
    "One HTML page, no network needed."
    input:
        FINAL,
        f"{RESULTS}/ledger.parquet",
        f"{REPORT}/figures.parquet",
        REPORT_TEXTS,
    output:
        page=report(f"{REPORT}/report.html", caption="../report/captions/report.rst"),
        bibtex=f"{REPORT}/references.bib",
    log:
        f"{RESULTS}/logs/report/write_report.log",
    benchmark:
        f"{RESULTS}/benchmarks/report/write_report.tsv"
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=grow(1000),
        runtime=minutes(10),
    params:
        settings=settings(""),
        results=RESULTS,
        project=str(HERE),
        datasets=config["inputs"]["datasets"] or [],
        viewer="viewer/index.html" if config["report"]["viewer"]["enabled"] else [],
        code=code_of("report/write_report"),
    shell:
        "{STEP}/report/write_report.py"
        " --results {params.results:q}"
        " --project {params.project:q}"
        " --datasets {params.datasets:q}"
        " --title {config[report][title]:q}"
        " --viewer {params.viewer:q}"
        " --settings {params.settings:q}"
        " --seed {config[seed]}"
        " --out {output.page:q}"
        " --bibtex {output.bibtex:q}"
        " > {log:q} 2>&1"


rule make_viewer:
    "Pages to zoom into the slides of the heatmap cases; opens from disk."
    input:
        FINAL,
        REPORT_TEXTS,
    output:
        folder=directory(f"{REPORT}/viewer"),
    log:
        f"{RESULTS}/logs/report/make_viewer.log",
    benchmark:
        f"{RESULTS}/benchmarks/report/make_viewer.tsv"
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=grow(4000),
        runtime=minutes(30),
    params:
        settings=settings("report.viewer"),
        results=RESULTS,
        models=MODEL_NAMES,
        slides=config["inputs"]["slides"] or [],
        templates=str(HERE / "workflow/report"),
        code=code_of("report/make_viewer"),
    shell:
        "{STEP}/report/make_viewer.py"
        " --results {params.results:q}"
        " --models {params.models:q}"
        " --slides {params.slides:q}"
        " --templates {params.templates:q}"
        " --title {config[report][title]:q}"
        " --settings {params.settings:q}"
        " --seed {config[seed]}"
        " --out {output.folder:q}"
        " > {log:q} 2>&1"

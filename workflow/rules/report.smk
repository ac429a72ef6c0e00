# REPORT: one page on the whole run.
# IN    the final tables of all stages
# OUT   ledger.parquet; report/figures/*.svg, report/figures.parquet; report/report.html (self-contained);
#       by setting report/viewer/ (index.html and pieces of slides) and pseudonyms.parquet
# STEPS join_ledgers -> (assign_pseudonyms) -> draw_figures -> write_report; make_viewer
include: "functions/report.smk"


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
        seed=config["seed"],
        settings="{}",
        results=lambda wildcards: RESULTS,
        parts=ledger_parts(),
        code=code_of("report/join_ledgers"),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/report/join_ledgers.py"
        " --results {params.results:q}"
        " --parts {params.parts:q}"
        " --seed {params.seed:q}"
        " --out {output.table:q}"
        " > {log:q} 2>&1"


rule assign_pseudonyms:
    "What page, figures and viewer call each patient and slide, by setting."
    input:
        REPORTED,
    output:
        table=f"{RESULTS}/pseudonyms.parquet",
    log:
        f"{RESULTS}/logs/report/assign_pseudonyms.log",
    benchmark:
        f"{RESULTS}/benchmarks/report/assign_pseudonyms.tsv"
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=grow(1000),
        runtime=minutes(10),
    params:
        seed=config["seed"],
        results=lambda wildcards: RESULTS,
        code=code_of("report/assign_pseudonyms"),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/report/assign_pseudonyms.py"
        " --results {params.results:q}"
        " --seed {params.seed:q}"
        " --out {output.table:q}"
        " > {log:q} 2>&1"


rule draw_figures:
    "Every figure of the report; one that cannot be drawn holds the reason."
    input:
        REPORTED,
        pseudonyms=PSEUDONYMS,
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
        seed=config["seed"],
        settings=settings("report.figures"),
        results=lambda wildcards: RESULTS,
        folder=lambda wildcards: f"{REPORT}/figures",
        models=MODEL_NAMES,
        code=code_of("report/draw_figures"),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/report/draw_figures.py"
        " --results {params.results:q}"
        " --models {params.models:q}"
        " --pseudonyms {input.pseudonyms:q}"
        " --settings {params.settings:q}"
        " --seed {params.seed:q}"
        " --out {params.folder:q}"
        " --table {output.table:q}"
        " > {log:q} 2>&1"


rule write_report:
    "One HTML page, no network needed."
    input:
        REPORTED,
        f"{REPORT}/figures.parquet",
        REPORT_TEXTS,
        pseudonyms=PSEUDONYMS,
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
        seed=config["seed"],
        title=config["report"]["title"],
        settings=settings(""),
        results=lambda wildcards: RESULTS,
        project=str(HERE),
        datasets=config["inputs"]["datasets"] or [],
        viewer="viewer/index.html" if config["report"]["viewer"]["enabled"] else [],
        code=code_of("report/write_report"),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/report/write_report.py"
        " --results {params.results:q}"
        " --project {params.project:q}"
        " --datasets {params.datasets:q}"
        " --title {params.title:q} --viewer {params.viewer:q}"
        " --pseudonyms {input.pseudonyms:q}"
        " --settings {params.settings:q}"
        " --seed {params.seed:q}"
        " --out {output.page:q} --bibtex {output.bibtex:q}"
        " > {log:q} 2>&1"


rule make_viewer:
    "Pages to zoom into the slides of the heatmap cases; opens from disk."
    input:
        FINAL,
        VIEWER_TEXTS,
        pseudonyms=PSEUDONYMS,
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
        seed=config["seed"],
        title=config["report"]["title"],
        settings=settings("report.viewer"),
        results=lambda wildcards: RESULTS,
        models=MODEL_NAMES,
        slides=config["inputs"]["slides"] or [],
        templates=lambda wildcards: str(HERE / "workflow/report"),
        code=code_of("report/make_viewer"),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/report/make_viewer.py"
        " --results {params.results:q}"
        " --models {params.models:q}"
        " --slides {params.slides:q}"
        " --templates {params.templates:q}"
        " --title {params.title:q}"
        " --pseudonyms {input.pseudonyms:q}"
        " --settings {params.settings:q}"
        " --seed {params.seed:q}"
        " --out {output.folder:q}"
        " > {log:q} 2>&1"

# IN    section `simulate` of the config (included only where there is one, which is the demo)
# OUT   slides, bulk RNA, single-cell and spatial datasets of the demo cohort, and the planted truth beside them
# STEPS simulate_expression; simulate_slides_<batch>, one job per batch of slides
COHORT = config["simulate"]["folder"]


rule simulate_expression:
    "Bulk RNA, single cells and spots of the demo cohort, and the planted truth."
    output:
        bulk=f"{COHORT}/expression.h5ad",
        datasets=[row["path"] for row in DATASETS.values()],
        truth=expand(
            f"{COHORT}/truth/{{part}}.parquet",
            part=["patients", "genes", "spots", "slides", "mixtures"],
        ),
    log:
        f"{RESULTS}/logs/simulate/simulate_expression.log",
    benchmark:
        f"{RESULTS}/benchmarks/simulate/simulate_expression.tsv"
    conda:
        "../../envs/simulate.yaml"
    threads: 1
    resources:
        mem_mb=grow(1000),
        runtime=minutes(10),
    params:
        cohort=lambda wildcards: COHORT,
        settings=settings("simulate"),
        code=code_of("simulate/simulate_expression"),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/simulate/simulate_expression.py"
        " --settings {params.settings:q}"
        " --out-dir {params.cohort:q}"
        " > {log:q} 2>&1"


for batch in BATCHES:

    rule:
        name:
            f"simulate_slides_{batch}"
        output:
            [row["path"] for slide, row in SLIDES.items() if batch_of(slide) == batch],
        log:
            f"{RESULTS}/logs/simulate/simulate_slides_{batch}.log",
        benchmark:
            f"{RESULTS}/benchmarks/simulate/simulate_slides_{batch}.tsv"
        conda:
            "../../envs/simulate.yaml"
        threads: 1
        resources:
            mem_mb=grow(1000),
            runtime=minutes(10),
        params:
            cohort=lambda wildcards: COHORT,
            settings=settings("simulate"),
            code=code_of("simulate/simulate_slides"),
            slides=[slide for slide in SLIDES if batch_of(slide) == batch],
        shell:
            "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/simulate/simulate_slides.py"
            " --slides {params.slides:q}"
            " --settings {params.settings:q}"
            " --out-dir {params.cohort:q}/slides"
            " > {log:q} 2>&1"

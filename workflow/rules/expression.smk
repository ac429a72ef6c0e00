# IN    counts per dataset (h5ad of inputs.datasets): single-cell RNA, gene activity, or spots with coordinates
# OUT   expression/{dataset}/counts.h5ad, residuals.h5ad, coexpression.parquet; spatial_genes.parquet of spatial ones
# STEPS qc_counts -> rank_spatial_genes (spatial) -> compute_residuals -> estimate_coexpression
include: "functions/expression.smk"


rule expression:
    input:
        expand(
            "{results}/expression/{dataset}/{file}",
            results=RESULTS,
            dataset=DATASETS,
            file=["residuals.h5ad", "coexpression.parquet"],
        ),
        expand(
            "{results}/expression/{dataset}/spatial_genes.parquet",
            results=RESULTS,
            dataset=SPATIAL,
        ),


rule qc_counts:
    "Cells and genes that can be analysed; the others go to the ledger with the reason."
    input:
        data=lambda wildcards: DATASETS[wildcards.dataset]["path"],
        annotation=annotation_of,
    output:
        counts=f"{RESULTS}/expression/{{dataset}}/counts.h5ad",
        ledger=f"{RESULTS}/ledger/expression/qc_counts.{{dataset}}.parquet",
    log:
        f"{RESULTS}/logs/expression/qc_counts/{{dataset}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/expression/qc_counts/{{dataset}}.tsv"
    conda:
        "../../envs/expression.yaml"
    threads: 1
    resources:
        mem_mb=grow(4000),
        runtime=minutes(30),
    params:
        seed=config["seed"],
        settings=settings("expression.qc", "expression.peaks", "expression.memory_gb"),
        code=code_of("expression/qc_counts"),
        about=about_dataset,
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/expression/qc_counts.py"
        " --data {input.data:q}"
        " --dataset {wildcards.dataset:q}"
        " {params.about:q}"
        " --settings {params.settings:q}"
        " --seed {params.seed:q}"
        " --out {output.counts:q}"
        " --ledger {output.ledger:q}"
        " > {log:q} 2>&1"


rule rank_spatial_genes:
    "Spatial datasets only: genes ranked by how much their expression follows the tissue's geometry."
    input:
        counts=f"{RESULTS}/expression/{{dataset}}/counts.h5ad",
    output:
        table=f"{RESULTS}/expression/{{dataset}}/spatial_genes.parquet",
    log:
        f"{RESULTS}/logs/expression/rank_spatial_genes/{{dataset}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/expression/rank_spatial_genes/{{dataset}}.tsv"
    conda:
        "../../envs/expression.yaml"
    threads: 1
    resources:
        mem_mb=grow(4000),
        runtime=minutes(30),
    params:
        seed=config["seed"],
        settings=settings("expression.sparkx", "expression.memory_gb"),
        code=code_of("expression/rank_spatial_genes"),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/expression/rank_spatial_genes.py"
        " --counts {input.counts:q}"
        " --settings {params.settings:q}"
        " --seed {params.seed:q}"
        " --out {output.table:q}"
        " > {log:q} 2>&1"


rule compute_residuals:
    "Genes chosen by variance (spatial: by rank), and their residuals free of sequencing depth."
    input:
        counts=f"{RESULTS}/expression/{{dataset}}/counts.h5ad",
        spatial_genes=spatial_genes_of,
    output:
        residuals=f"{RESULTS}/expression/{{dataset}}/residuals.h5ad",
        ledger=f"{RESULTS}/ledger/expression/compute_residuals.{{dataset}}.parquet",
    log:
        f"{RESULTS}/logs/expression/compute_residuals/{{dataset}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/expression/compute_residuals/{{dataset}}.tsv"
    conda:
        f"../../envs/{RESIDUALS_ENV}.yaml"
    threads: 1
    resources:
        mem_mb=grow(8000),
        runtime=minutes(60),
    params:
        seed=config["seed"],
        settings=settings(
            "expression.sctransform", "expression.hvg", "expression.memory_gb"
        ),
        code=code_of("expression/compute_residuals"),
        spatial=spatial_option,
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/expression/compute_residuals.py"
        " --counts {input.counts:q}"
        " {params.spatial:q}"
        " --settings {params.settings:q}"
        " --seed {params.seed:q}"
        " --out {output.residuals:q}"
        " --ledger {output.ledger:q}"
        " > {log:q} 2>&1"


rule estimate_coexpression:
    "Correlation of every pair of the chosen genes, with a test of independence."
    input:
        counts=f"{RESULTS}/expression/{{dataset}}/counts.h5ad",
        residuals=f"{RESULTS}/expression/{{dataset}}/residuals.h5ad",
    output:
        table=f"{RESULTS}/expression/{{dataset}}/coexpression.parquet",
        genes=f"{RESULTS}/expression/{{dataset}}/coexpression_genes.parquet",
        ledger=f"{RESULTS}/ledger/expression/estimate_coexpression.{{dataset}}.parquet",
    log:
        f"{RESULTS}/logs/expression/estimate_coexpression/{{dataset}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/expression/estimate_coexpression/{{dataset}}.tsv"
    conda:
        "../../envs/expression.yaml"
    threads: 1
    resources:
        mem_mb=grow(8000),
        runtime=minutes(60),
    params:
        seed=config["seed"],
        settings=settings(
            "expression.cscore", "expression.edges", "expression.memory_gb"
        ),
        code=code_of("expression/estimate_coexpression"),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/expression/estimate_coexpression.py"
        " --counts {input.counts:q}"
        " --residuals {input.residuals:q}"
        " --settings {params.settings:q}"
        " --seed {params.seed:q}"
        " --out {output.table:q}"
        " --genes {output.genes:q}"
        " --ledger {output.ledger:q}"
        " > {log:q} 2>&1"

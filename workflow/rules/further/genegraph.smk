# GENE GRAPHS, beyond the embedding; each step runs where the config names its input.
# IN    genegraph/embedding.h5ad, gene_embedding.parquet, modules.parquet, graphs; gene sets, gene labels, orthologues
# OUT   genegraph/enrichment.parquet, probes.parquet, differential.parquet, gene_function*.parquet, orthology.parquet
# STEPS test_gene_sets; compare_conditions; predict_function; compare_species


rule test_gene_sets:
    "Pathways in modules, and what the vectors know of them."
    input:
        genes=f"{RESULTS}/genegraph/gene_embedding.parquet",
        modules=f"{RESULTS}/genegraph/modules.parquet",
        gmt=config["genegraph"]["gene_sets"]["gmt"] or [],
    output:
        enrichment=f"{RESULTS}/genegraph/enrichment.parquet",
        probes=f"{RESULTS}/genegraph/probes.parquet",
        ledger=f"{RESULTS}/ledger/genegraph/test_gene_sets.parquet",
    log:
        f"{RESULTS}/logs/genegraph/test_gene_sets.log",
    benchmark:
        f"{RESULTS}/benchmarks/genegraph/test_gene_sets.tsv"
    conda:
        "../../../envs/genegraph.yaml"
    threads: 1
    resources:
        mem_mb=grow(4000),
        runtime=minutes(30),
    params:
        seed=config["seed"],
        settings=settings("genegraph.gene_sets"),
        code=code_of("genegraph/test_gene_sets"),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/genegraph/test_gene_sets.py"
        " --gene-embedding {input.genes:q}"
        " --modules {input.modules:q}"
        " --gmt {input.gmt:q}"
        " --enrichment {output.enrichment:q}"
        " --probes {output.probes:q}"
        " --ledger {output.ledger:q}"
        " --settings {params.settings:q}"
        " --seed {params.seed:q}"
        " > {log:q} 2>&1"


rule compare_conditions:
    "Genes that change their partners between two conditions."
    input:
        graphs=expand(f"{RESULTS}/genegraph/graphs/{{dataset}}.h5ad", dataset=DATASETS),
        embedding=f"{RESULTS}/genegraph/embedding.h5ad",
    output:
        table=f"{RESULTS}/genegraph/differential.parquet",
    log:
        f"{RESULTS}/logs/genegraph/compare_conditions.log",
    benchmark:
        f"{RESULTS}/benchmarks/genegraph/compare_conditions.tsv"
    conda:
        "../../../envs/genegraph.yaml"
    threads: 1
    resources:
        mem_mb=grow(4000),
        runtime=minutes(30),
    params:
        seed=config["seed"],
        settings=settings("genegraph.differential"),
        code=code_of("genegraph/compare_conditions"),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/genegraph/compare_conditions.py"
        " --graphs {input.graphs:q}"
        " --embedding {input.embedding:q}"
        " --out {output.table:q}"
        " --settings {params.settings:q}"
        " --seed {params.seed:q}"
        " > {log:q} 2>&1"


rule predict_function:
    "What a gene is, from its vector alone."
    input:
        genes=f"{RESULTS}/genegraph/gene_embedding.parquet",
        labels=config["genegraph"]["gene_function"]["labels"] or [],
    output:
        scores=f"{RESULTS}/genegraph/gene_function_scores.parquet",
        predictions=f"{RESULTS}/genegraph/gene_function.parquet",
        ledger=f"{RESULTS}/ledger/genegraph/predict_function.parquet",
    log:
        f"{RESULTS}/logs/genegraph/predict_function.log",
    benchmark:
        f"{RESULTS}/benchmarks/genegraph/predict_function.tsv"
    conda:
        "../../../envs/genegraph.yaml"
    threads: 1
    resources:
        mem_mb=grow(4000),
        runtime=minutes(30),
    params:
        seed=config["seed"],
        settings=settings("genegraph.gene_function"),
        code=code_of("genegraph/predict_function"),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/genegraph/predict_function.py"
        " --gene-embedding {input.genes:q}"
        " --labels {input.labels:q}"
        " --scores {output.scores:q}"
        " --predictions {output.predictions:q}"
        " --ledger {output.ledger:q}"
        " --settings {params.settings:q}"
        " --seed {params.seed:q}"
        " > {log:q} 2>&1"


rule compare_species:
    "Orthologues of several species: do they lie together?"
    input:
        embedding=f"{RESULTS}/genegraph/embedding.h5ad",
        orthologues=config["genegraph"]["orthology"]["table"] or [],
    output:
        table=f"{RESULTS}/genegraph/orthology.parquet",
    log:
        f"{RESULTS}/logs/genegraph/compare_species.log",
    benchmark:
        f"{RESULTS}/benchmarks/genegraph/compare_species.tsv"
    conda:
        "../../../envs/genegraph.yaml"
    threads: 1
    resources:
        mem_mb=grow(4000),
        runtime=minutes(30),
    params:
        seed=config["seed"],
        settings=settings("genegraph.orthology"),
        code=code_of("genegraph/compare_species"),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/genegraph/compare_species.py"
        " --embedding {input.embedding:q}"
        " --orthologues {input.orthologues:q}"
        " --out {output.table:q}"
        " --settings {params.settings:q}"
        " --seed {params.seed:q}"
        " > {log:q} 2>&1"

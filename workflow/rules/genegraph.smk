# IN   expression/{dataset}/residuals.h5ad, coexpression.parquet
# OUT  genegraph/graphs/{dataset}.h5ad, embedding.h5ad, gene_embedding.parquet, modules.parquet, metrics.parquet
# 1. one graph of genes per dataset  2. one embedding of all graphs  3. a vector and a module per gene  4. metrics
#    (by setting over several seeds: further/genegraph_repeats.smk)
# 5. where the config names their input (further/genegraph.smk): gene sets, two conditions, gene labels, orthologues


# What runs only when the config names its input.
GENEGRAPH_EXTRA = {
    "enrichment": config["genegraph"]["gene_sets"]["gmt"],
    "differential": config["genegraph"]["differential"]["first"],
    "gene_function": config["genegraph"]["gene_function"]["labels"],
    "orthology": config["genegraph"]["orthology"]["table"],
}


rule genegraph:
    "Everything that the gene graphs give."
    input:
        f"{RESULTS}/genegraph/gene_embedding.parquet",
        f"{RESULTS}/genegraph/metrics.parquet",
        [
            f"{RESULTS}/genegraph/{name}.parquet"
            for name, given in GENEGRAPH_EXTRA.items()
            if given
        ],


rule build_graph:
    "Genes of a dataset, joined where they are expressed together."
    input:
        residuals=f"{RESULTS}/expression/{{dataset}}/residuals.h5ad",
        coexpression=f"{RESULTS}/expression/{{dataset}}/coexpression.parquet",
    output:
        graph=f"{RESULTS}/genegraph/graphs/{{dataset}}.h5ad",
        ledger=f"{RESULTS}/ledger/genegraph/build_graph.{{dataset}}.parquet",
    log:
        f"{RESULTS}/logs/genegraph/build_graph/{{dataset}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/genegraph/build_graph/{{dataset}}.tsv"
    conda:
        "../../envs/genegraph.yaml"
    threads: 1
    resources:
        mem_mb=grow(4000),
        runtime=minutes(20),
    params:
        seed=config["seed"],
        settings=settings("genegraph.graph"),
        code=code_of("genegraph/build_graph"),
        modality=lambda wildcards: DATASETS[wildcards.dataset]["modality"],
        tissue=lambda wildcards: DATASETS[wildcards.dataset]["tissue"],
        species=lambda wildcards: DATASETS[wildcards.dataset].get("species")
        or "unknown",
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/genegraph/build_graph.py"
        " --residuals {input.residuals:q}"
        " --coexpression {input.coexpression:q}"
        " --dataset {wildcards.dataset:q}"
        " --modality {params.modality:q}"
        " --tissue {params.tissue:q}"
        " --species {params.species:q}"
        " --settings {params.settings:q}"
        " --seed {params.seed:q}"
        " --out {output.graph:q}"
        " --ledger {output.ledger:q}"
        " > {log:q} 2>&1"


rule train_embedding:
    "MuSe-GNN: one space for the genes of all datasets."
    input:
        graphs=expand(f"{RESULTS}/genegraph/graphs/{{dataset}}.h5ad", dataset=DATASETS),
    output:
        embedding=f"{RESULTS}/genegraph/embedding.h5ad",
        weights=f"{RESULTS}/genegraph/model.safetensors",
        meta=f"{RESULTS}/genegraph/model.json",
        curve=f"{RESULTS}/genegraph/training.parquet",
    log:
        f"{RESULTS}/logs/genegraph/train_embedding.log",
    benchmark:
        f"{RESULTS}/benchmarks/genegraph/train_embedding.tsv"
    conda:
        "../../envs/genegraph.yaml"
    threads: 1
    resources:
        mem_mb=grow(8000),
        runtime=minutes(240),
    params:
        seed=config["seed"],
        settings=settings("genegraph.held_out", "genegraph.musegnn", "genegraph.train"),
        code=code_of("genegraph/train_embedding"),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/genegraph/train_embedding.py"
        " --graphs {input.graphs:q}"
        " --settings {params.settings:q}"
        " --seed {params.seed:q}"
        " --out {output.embedding:q}"
        " --weights {output.weights:q}"
        " --curve {output.curve:q}"
        " > {log:q} 2>&1"


rule find_modules:
    "A vector per gene, and groups of genes that lie together."
    input:
        embedding=f"{RESULTS}/genegraph/embedding.h5ad",
    output:
        genes=f"{RESULTS}/genegraph/gene_embedding.parquet",
        vectors=f"{RESULTS}/genegraph/gene_vectors.h5ad",
        tissues=f"{RESULTS}/genegraph/tissue_embedding.parquet",
        modules=f"{RESULTS}/genegraph/modules.parquet",
        neighbours=f"{RESULTS}/genegraph/neighbours.parquet",
    log:
        f"{RESULTS}/logs/genegraph/find_modules.log",
    benchmark:
        f"{RESULTS}/benchmarks/genegraph/find_modules.tsv"
    conda:
        "../../envs/genegraph.yaml"
    threads: 1
    resources:
        mem_mb=grow(4000),
        runtime=minutes(30),
    params:
        seed=config["seed"],
        settings=settings("genegraph.modules"),
        code=code_of("genegraph/find_modules"),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/genegraph/find_modules.py"
        " --embedding {input.embedding:q}"
        " --settings {params.settings:q}"
        " --seed {params.seed:q}"
        " --gene-embedding {output.genes:q}"
        " --gene-vectors {output.vectors:q}"
        " --tissue-embedding {output.tissues:q}"
        " --modules {output.modules:q}"
        " --neighbours {output.neighbours:q}"
        " > {log:q} 2>&1"


rule measure_embedding:
    "The embedding beside controls: what does it know that a trick does not?"
    input:
        graphs=expand(f"{RESULTS}/genegraph/graphs/{{dataset}}.h5ad", dataset=DATASETS),
        embedding=f"{RESULTS}/genegraph/embedding.h5ad",
        others=[
            f"{RESULTS}/genegraph/repeats/{number}/metrics_by_seed.parquet"
            for number in range(2, config["genegraph"]["metrics"]["seeds"] + 1)
        ],
    output:
        table=f"{RESULTS}/genegraph/metrics.parquet",
        by_seed=f"{RESULTS}/genegraph/metrics_by_seed.parquet",
        comparisons=f"{RESULTS}/genegraph/comparisons.parquet",
    log:
        f"{RESULTS}/logs/genegraph/measure_embedding.log",
    benchmark:
        f"{RESULTS}/benchmarks/genegraph/measure_embedding.tsv"
    conda:
        "../../envs/genegraph.yaml"
    threads: 1
    resources:
        mem_mb=grow(8000),
        runtime=minutes(240),
    params:
        seed=config["seed"],
        settings=settings(
            "genegraph.baselines", "genegraph.held_out", "genegraph.metrics"
        ),
        code=code_of("genegraph/measure_embedding"),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/genegraph/measure_embedding.py"
        " --graphs {input.graphs:q}"
        " --embedding {input.embedding:q}"
        " --others {input.others:q}"
        " --settings {params.settings:q}"
        " --seed {params.seed:q}"
        " --out {output.table:q}"
        " --by-seed {output.by_seed:q}"
        " --comparisons {output.comparisons:q}"
        " > {log:q} 2>&1"


include: "further/genegraph.smk"
include: "further/genegraph_repeats.smk"

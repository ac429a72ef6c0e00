# IN   genegraph/graphs/{dataset}.h5ad
# OUT  genegraph/repeats/{repeat}/metrics_by_seed.parquet, for repeats 2 to genegraph.metrics.seeds
# The embedding again under other seeds: other edges left out, other weights; measure_embedding joins the metrics.


use rule train_embedding as train_repeat with:
    output:
        embedding=f"{RESULTS}/genegraph/repeats/{{repeat}}/embedding.h5ad",
        weights=f"{RESULTS}/genegraph/repeats/{{repeat}}/model.safetensors",
        meta=f"{RESULTS}/genegraph/repeats/{{repeat}}/model.json",
        curve=f"{RESULTS}/genegraph/repeats/{{repeat}}/training.parquet",
    log:
        f"{RESULTS}/logs/genegraph/train_repeat/{{repeat}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/genegraph/train_repeat/{{repeat}}.tsv"
    conda:
        "../../../envs/genegraph.yaml"
    params:
        seed=lambda wildcards: config["seed"] + int(wildcards.repeat) - 1,


use rule measure_embedding as measure_repeat with:
    input:
        graphs=expand(f"{RESULTS}/genegraph/graphs/{{dataset}}.h5ad", dataset=DATASETS),
        embedding=f"{RESULTS}/genegraph/repeats/{{repeat}}/embedding.h5ad",
        others=[],
    output:
        table=f"{RESULTS}/genegraph/repeats/{{repeat}}/metrics.parquet",
        by_seed=f"{RESULTS}/genegraph/repeats/{{repeat}}/metrics_by_seed.parquet",
        comparisons=f"{RESULTS}/genegraph/repeats/{{repeat}}/comparisons.parquet",
    log:
        f"{RESULTS}/logs/genegraph/measure_repeat/{{repeat}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/genegraph/measure_repeat/{{repeat}}.tsv"
    conda:
        "../../../envs/genegraph.yaml"
    params:
        seed=lambda wildcards: config["seed"] + int(wildcards.repeat) - 1,

# SURVIVAL: risk per patient, fold and model.
# IN    patients table, slides/qc.parquet + slides/features/, bulk expression, genegraph/gene_embedding.parquet, modules
# OUT   survival/cohort.parquet, folds.parquet, {model}/risk.parquet, {model}/training.parquet, {model}/bundle/
# STEPS assemble_cohort -> who is analysed; split_folds -> roles; train_model -> each model fitted on every fold
SURVIVAL = f"{RESULTS}/survival"
INPUTS = config["inputs"]
MODELS = config["survival"]["models"]
PREDICT = f"{RESULTS}/predict"
CHOSEN = config["survival"]["explain"]["models"]
EXPLAINED = sorted(
    name
    for name, model in MODELS.items()
    if model["method"] not in ("rsf_rna", "late_fusion")
    and (CHOSEN is None or name in CHOSEN)
)
SCRNA = sorted(name for name, row in DATASETS.items() if row["modality"] == "scrna")
# What a method takes from the stages before, besides slides, expression and covariates.
TAKES = {
    "path_gptomic": {"gene_embedding", "cells"},
    "ghanet": {"modules"},
    "mcat": {"modules"},
}


def merged(base, change):
    "The section `base` with the model's own settings put over it, nested."
    out = dict(base)
    for key, value in change.items():
        inner = isinstance(value, dict) and isinstance(base.get(key), dict)
        out[key] = merged(base[key], value) if inner else value
    return out


def model_settings(wildcards):
    "JSON text of the settings of a model: its method's section and what the model sets."
    model = MODELS[wildcards.model]
    section = section_of(config, f"survival.{model['method']}")
    return json.dumps(merged(section, model["set"]), sort_keys=True)


def model_inputs(wildcards):
    "What the stages before give to a model."
    takes = TAKES.get(MODELS[wildcards.model]["method"], set())
    chosen = {"qc": f"{RESULTS}/slides/qc.parquet"} if SLIDES else {}
    if INPUTS["expression"]:
        chosen["expression"] = f"{SURVIVAL}/expression.h5ad"
    if INPUTS["alterations"]:
        chosen["alterations"] = f"{SURVIVAL}/alterations.h5ad"
    for name in ("gene_embedding", "modules"):
        made = f"{RESULTS}/genegraph/{name}.parquet" if DATASETS else None
        given = config["survival"][name] or made
        if name in takes and given:
            chosen[name] = given
    if "cells" in takes and SCRNA:
        chosen["cells"] = expand(f"{RESULTS}/expression/{{d}}/counts.h5ad", d=SCRNA)
    return chosen


def option(flag, value):
    "A flag with its value or values as a list; empty without a value."
    values = [value] if isinstance(value, str) else list(value or [])
    return [flag, *values] if values else []


def model_files(wildcards):
    "The model's inputs as options of the script."
    chosen = model_inputs(wildcards)
    if chosen.pop("qc", None):
        chosen["features"] = f"{RESULTS}/slides/features"
    parts = [
        option(f"--{name.replace('_', '-')}", path) for name, path in chosen.items()
    ]
    return [word for part in parts for word in part]


def train_options(wildcards):
    "The model's inputs, its method, and a checkpoint folder that other code never goes on with."
    method = MODELS[wildcards.model]["method"]
    code = code_of("survival/train_model", f"histoweave.survival.{method}")
    folder = f"{SURVIVAL}/checkpoints/{wildcards.model}-{code}"
    return [*model_files(wildcards), "--method", method, "--checkpoints", folder]


rule survival:
    "Every model's out-of-fold risks, and why those with a network or coefficients give them."
    input:
        expand(f"{SURVIVAL}/{{model}}/risk.parquet", model=sorted(MODELS)),
        expand(f"{SURVIVAL}/{{model}}/attention.parquet", model=EXPLAINED),


rule predict:
    "Risks, curves and heatmaps of new slides from the bundle that survival.predict.bundle names."
    input:
        f"{PREDICT}/risk.parquet",


rule assemble_cohort:
    "Who is analysed: follow-up, a usable slide, expression; whether numbers are on the scale they are said to be on."
    input:
        patients=INPUTS["patients"] or [],
        slides=f"{RESULTS}/slides/qc.parquet" if SLIDES else [],
        expression=INPUTS["expression"]["path"] if INPUTS["expression"] else [],
        alterations=INPUTS["alterations"] or [],
    output:
        cohort=f"{SURVIVAL}/cohort.parquet",
        expression=f"{SURVIVAL}/expression.h5ad" if INPUTS["expression"] else [],
        alterations=f"{SURVIVAL}/alterations.h5ad" if INPUTS["alterations"] else [],
        ledger=f"{RESULTS}/ledger/survival/assemble_cohort.parquet",
    log:
        f"{RESULTS}/logs/survival/assemble_cohort.log",
    benchmark:
        f"{RESULTS}/benchmarks/survival/assemble_cohort.tsv"
    conda:
        "../../envs/survival.yaml"
    threads: 1
    resources:
        mem_mb=grow(4000),
        runtime=minutes(20),
    params:
        settings=settings("survival.cohort"),
        inputs=settings("inputs"),
        files=lambda wildcards, input, output: [
            *option("--slides", input.slides),
            *option("--expression", output.expression),
            *option("--alterations", output.alterations),
        ],
        code=code_of("survival/assemble_cohort"),
    shell:
        "{STEP}/survival/assemble_cohort.py --patients {input.patients:q} {params.files:q}"
        " --inputs {params.inputs:q} --settings {params.settings:q} --seed {config[seed]}"
        " --out {output.cohort:q} --ledger {output.ledger:q} > {log:q} 2>&1"


rule split_folds:
    "Outer folds for testing, an inner validation part for tuning."
    input:
        cohort=rules.assemble_cohort.output.cohort,
        given=config["survival"]["folds"]["given"] or [],
    output:
        folds=f"{SURVIVAL}/folds.parquet",
    log:
        f"{RESULTS}/logs/survival/split_folds.log",
    benchmark:
        f"{RESULTS}/benchmarks/survival/split_folds.tsv"
    conda:
        "../../envs/survival.yaml"
    threads: 1
    resources:
        mem_mb=grow(1000),
        runtime=minutes(10),
    params:
        settings=settings("survival.folds"),
        code=code_of("survival/split_folds"),
    shell:
        "{STEP}/survival/split_folds.py"
        " --cohort {input.cohort:q}"
        " --settings {params.settings:q}"
        " --seed {config[seed]}"
        " --out {output.folds:q}"
        " > {log:q} 2>&1"


rule train_model:
    "One model on every fold: out-of-fold risks, training curves, and a bundle that predicts new slides."
    input:
        unpack(model_inputs),
        cohort=rules.assemble_cohort.output.cohort,
        folds=rules.split_folds.output.folds,
        families=str(HERE / "resources/gene_groups/functional.gmt"),
    output:
        risk=f"{SURVIVAL}/{{model}}/risk.parquet",
        training=f"{SURVIVAL}/{{model}}/training.parquet",
        bundle=directory(f"{SURVIVAL}/{{model}}/bundle"),
        ledger=f"{RESULTS}/ledger/survival/train_model.{{model}}.parquet",
    log:
        f"{RESULTS}/logs/survival/train_model/{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/survival/train_model/{{model}}.tsv"
    conda:
        "../../envs/survival.yaml"
    threads: 1
    resources:
        mem_mb=grow(8000),
        runtime=minutes(240),
    params:
        settings=model_settings,
        groups=settings("survival.gene_groups"),
        horizons=config["survival"]["horizons_days"],
        covariates=sorted(INPUTS["covariates"]),
        device=config["survival"]["device"],
        files=train_options,
        code=lambda w: code_of(
            "survival/train_model", f"histoweave.survival.{MODELS[w.model]['method']}"
        ),
    shell:
        "{STEP}/survival/train_model.py --cohort {input.cohort:q} --folds {input.folds:q} {params.files:q}"
        " --families {input.families:q} --covariates {params.covariates:q} --groups {params.groups:q}"
        " --model {wildcards.model:q} --horizons {params.horizons:q}"
        " --settings {params.settings:q} --seed {config[seed]} --device {params.device:q}"
        " --risk {output.risk:q} --training {output.training:q} --bundle {output.bundle:q}"
        " --ledger {output.ledger:q} > {log:q} 2>&1"


rule explain_model:
    "Attention over the slides of chosen patients; integrated gradients per input, with their checks."
    input:
        unpack(model_inputs),
        cohort=rules.assemble_cohort.output.cohort,
        risk=rules.train_model.output.risk,
        bundle=rules.train_model.output.bundle,
    output:
        attention=f"{SURVIVAL}/{{model}}/attention.parquet",
        attributions=f"{SURVIVAL}/{{model}}/attributions.parquet",
        checks=f"{SURVIVAL}/{{model}}/attribution_checks.parquet",
    log:
        f"{RESULTS}/logs/survival/explain_model/{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/survival/explain_model/{{model}}.tsv"
    conda:
        "../../envs/survival.yaml"
    threads: 1
    resources:
        mem_mb=grow(8000),
        runtime=minutes(60),
    params:
        settings=settings("survival.explain"),
        covariates=sorted(INPUTS["covariates"]),
        files=model_files,
        code=lambda w: code_of(
            "survival/explain_model",
            f"histoweave.survival.{MODELS[w.model]['method']}",
        ),
    shell:
        "{STEP}/survival/explain_model.py --cohort {input.cohort:q} {params.files:q}"
        " --covariates {params.covariates:q} --bundle {input.bundle:q} --risk {input.risk:q}"
        " --settings {params.settings:q} --seed {config[seed]}"
        " --attention {output.attention:q} --attributions {output.attributions:q}"
        " --checks {output.checks:q} > {log:q} 2>&1"


rule predict_slides:
    "New slides through a trained bundle: without genomics and without the training data."
    input:
        qc=f"{RESULTS}/slides/qc.parquet",
        bundle=config["survival"]["predict"]["bundle"] or [],
    output:
        risk=f"{PREDICT}/risk.parquet",
        groups=f"{PREDICT}/group_expression.parquet",
        attention=f"{PREDICT}/attention.parquet",
        heatmaps=directory(f"{PREDICT}/heatmaps"),
        ledger=f"{PREDICT}/ledger.parquet",
    log:
        f"{RESULTS}/logs/survival/predict_slides.log",
    benchmark:
        f"{RESULTS}/benchmarks/survival/predict_slides.tsv"
    conda:
        "../../envs/survival.yaml"
    threads: 1
    resources:
        mem_mb=grow(8000),
        runtime=minutes(120),
    params:
        settings=settings("survival.predict"),
        features=f"{RESULTS}/slides/features",
        code=code_of("survival/predict_slides"),
    shell:
        "{STEP}/survival/predict_slides.py"
        " --bundle {input.bundle:q}"
        " --qc {input.qc:q}"
        " --features {params.features:q}"
        " --seed {config[seed]}"
        " --out {output.risk:q}"
        " --groups {output.groups:q}"
        " --attention {output.attention:q}"
        " --heatmaps {output.heatmaps:q}"
        " --ledger {output.ledger:q}"
        " > {log:q} 2>&1"

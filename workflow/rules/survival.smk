# SURVIVAL: risk per patient, fold and model.
# IN    patients table, slides/qc.parquet + slides/features/, bulk expression, genegraph/gene_embedding.parquet, modules
# OUT   survival/cohort.parquet, folds.parquet, {model}/risk.parquet, training.parquet, reconstruction.parquet, bundle/
# STEPS assemble_cohort -> who is analysed; split_folds -> roles; train_model -> each model fitted on every fold;
#       explanations and predictions: further/survival.smk
include: "functions/survival.smk"


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
        external=EVERYBODY if EXTERNAL else [],
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
        seed=config["seed"],
        settings=settings("survival.cohort"),
        inputs=settings("inputs"),
        files=lambda wildcards, input, output: [
            *option("--slides", input.slides),
            *option("--with-external", output.external),
            *option("--expression", output.expression),
            *option("--alterations", output.alterations),
        ],
        code=code_of("survival/assemble_cohort"),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/survival/assemble_cohort.py --patients {input.patients:q} {params.files:q}"
        " --inputs {params.inputs:q} --settings {params.settings:q} --seed {params.seed:q}"
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
        seed=config["seed"],
        settings=settings("survival.folds"),
        code=code_of("survival/split_folds"),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/survival/split_folds.py"
        " --cohort {input.cohort:q}"
        " --settings {params.settings:q}"
        " --seed {params.seed:q}"
        " --out {output.folds:q}"
        " > {log:q} 2>&1"


rule train_model:
    "One model on every fold: out-of-fold risks, training curves, and a bundle that predicts new slides."
    input:
        unpack(training_inputs),
        cohort=rules.assemble_cohort.output.cohort,
        folds=rules.split_folds.output.folds,
        families=str(HERE / "resources/gene_groups/functional.gmt"),
    output:
        risk=f"{SURVIVAL}/{{model}}/risk.parquet",
        training=f"{SURVIVAL}/{{model}}/training.parquet",
        reconstruction=f"{SURVIVAL}/{{model}}/reconstruction.parquet",
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
        seed=config["seed"],
        settings=model_settings,
        groups=settings("survival.gene_groups"),
        horizons=config["survival"]["horizons_days"],
        covariates=sorted(INPUTS["covariates"]),
        device=config["survival"]["device"],
        files=train_options,
        code=lambda w: code_of("survival/train_model", module_of(w)),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/survival/train_model.py --cohort {input.cohort:q} --folds {input.folds:q} {params.files:q}"
        " --families {input.families:q} --covariates {params.covariates:q} --groups {params.groups:q}"
        " --model {wildcards.model:q} --horizons {params.horizons:q}"
        " --settings {params.settings:q} --seed {params.seed:q} --device {params.device:q}"
        " --risk {output.risk:q} --training {output.training:q}"
        " --reconstruction {output.reconstruction:q} --bundle {output.bundle:q}"
        " --ledger {output.ledger:q} > {log:q} 2>&1"


include: "further/survival.smk"

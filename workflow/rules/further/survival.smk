# SURVIVAL, beyond the folds: patients held out by setting, why a model gives its risks, and risks of new slides.
# IN    survival/{model}/bundle/, risk.parquet; slides/qc.parquet + slides/features/
# OUT   survival/{who}/{model}/risk.parquet; survival/{model}/attention.parquet, attributions.parquet,
#       attribution_null.parquet, attribution_checks.parquet; predict/risk.parquet, heatmaps/
# STEPS train_folds (where asked for) -> train_model; hold_out_patients -> train_held_out (each site in turn, external
#       cohorts); explain_model; predict_slides


rule hold_out_patients:
    "Whom to hold out beside the folds: each site in turn, or the external cohorts."
    input:
        cohort=lambda w: (
            EVERYBODY if w.who == "external" else f"{SURVIVAL}/cohort.parquet"
        ),
    output:
        folds=f"{SURVIVAL}/{{who}}/folds.parquet",
    log:
        f"{RESULTS}/logs/survival/hold_out_patients/{{who}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/survival/hold_out_patients/{{who}}.tsv"
    conda:
        "../../../envs/survival.yaml"
    threads: 1
    resources:
        mem_mb=grow(1000),
        runtime=minutes(10),
    params:
        seed=config["seed"],
        settings=settings("survival.folds", "survival.one_site_out"),
        code=code_of("survival/hold_out_patients"),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/survival/hold_out_patients.py"
        " --cohort {input.cohort:q} --who {wildcards.who:q}"
        " --settings {params.settings:q} --seed {params.seed:q}"
        " --out {output.folds:q} > {log:q} 2>&1"


rule train_folds:
    "Some of a model's folds, where survival.jobs_per_model spreads them over jobs."
    input:
        unpack(model_inputs),
        cohort=rules.assemble_cohort.output.cohort,
        folds=rules.split_folds.output.folds,
        families=str(HERE / "resources/gene_groups/functional.gmt"),
    output:
        folder=temp(directory(f"{SURVIVAL}/{{model}}/folds/{{part}}")),
    log:
        f"{RESULTS}/logs/survival/train_folds/{{model}}.{{part}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/survival/train_folds/{{model}}.{{part}}.tsv"
    conda:
        "../../../envs/survival.yaml"
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
        jobs=config["survival"]["jobs_per_model"],
        files=train_options,
        code=lambda w: code_of("survival/train_folds", module_of(w)),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/survival/train_folds.py --cohort {input.cohort:q} --folds {input.folds:q} {params.files:q}"
        " --families {input.families:q} --covariates {params.covariates:q} --groups {params.groups:q}"
        " --model {wildcards.model:q} --horizons {params.horizons:q} --device {params.device:q}"
        " --settings {params.settings:q} --seed {params.seed:q}"
        " --part {wildcards.part:q} --jobs {params.jobs:q} --out {output.folder:q} > {log:q} 2>&1"


use rule train_model as train_held_out with:
    input:
        unpack(model_inputs),
        cohort=rules.hold_out_patients.input.cohort,
        folds=rules.hold_out_patients.output.folds,
        families=str(HERE / "resources/gene_groups/functional.gmt"),
    output:
        risk=f"{SURVIVAL}/{{who}}/{{model}}/risk.parquet",
        training=f"{SURVIVAL}/{{who}}/{{model}}/training.parquet",
        reconstruction=f"{SURVIVAL}/{{who}}/{{model}}/reconstruction.parquet",
        bundle=directory(f"{SURVIVAL}/{{who}}/{{model}}/bundle"),
        ledger=f"{RESULTS}/ledger/survival/train_held_out.{{who}}.{{model}}.parquet",
    log:
        f"{RESULTS}/logs/survival/train_held_out/{{who}}.{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/survival/train_held_out/{{who}}.{{model}}.tsv"
    conda:
        "../../../envs/survival.yaml"


rule explain_model:
    "Attention over the slides of chosen patients; integrated gradients per input, with their checks and null."
    input:
        unpack(explained_inputs),
        cohort=rules.assemble_cohort.output.cohort,
        folds=rules.split_folds.output.folds,
        families=str(HERE / "resources/gene_groups/functional.gmt"),
        risk=rules.train_model.output.risk,
        bundle=rules.train_model.output.bundle,
    output:
        attention=f"{SURVIVAL}/{{model}}/attention.parquet",
        attributions=f"{SURVIVAL}/{{model}}/attributions.parquet",
        null=f"{SURVIVAL}/{{model}}/attribution_null.parquet",
        checks=f"{SURVIVAL}/{{model}}/attribution_checks.parquet",
    log:
        f"{RESULTS}/logs/survival/explain_model/{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/survival/explain_model/{{model}}.tsv"
    conda:
        "../../../envs/survival.yaml"
    threads: 1
    resources:
        mem_mb=grow(8000),
        runtime=minutes(60 * (1 + config["survival"]["explain"]["null_fits"])),
    params:
        seed=config["seed"],
        settings=settings("survival.explain"),
        model_settings=model_settings,
        groups=settings("survival.gene_groups"),
        device=config["survival"]["device"],
        covariates=sorted(INPUTS["covariates"]),
        files=lambda w: model_files(w, explained_inputs),
        code=lambda w: code_of("survival/explain_model", module_of(w)),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/survival/explain_model.py --cohort {input.cohort:q} {params.files:q}"
        " --covariates {params.covariates:q} --bundle {input.bundle:q} --risk {input.risk:q}"
        " --folds {input.folds:q} --families {input.families:q} --groups {params.groups:q}"
        " --model-settings {params.model_settings:q} --device {params.device:q} --settings {params.settings:q} --seed {params.seed:q}"
        " --attention {output.attention:q} --attributions {output.attributions:q}"
        " --null {output.null:q} --checks {output.checks:q} > {log:q} 2>&1"


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
        "../../../envs/survival.yaml"
    threads: 1
    resources:
        mem_mb=grow(8000),
        runtime=minutes(120),
    params:
        seed=config["seed"],
        settings=settings("survival.predict"),
        features=f"{RESULTS}/slides/features",
        code=code_of("survival/predict_slides"),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/survival/predict_slides.py"
        " --bundle {input.bundle:q}"
        " --qc {input.qc:q}"
        " --features {params.features:q}"
        " --seed {params.seed:q}"
        " --out {output.risk:q}"
        " --groups {output.groups:q}"
        " --attention {output.attention:q}"
        " --heatmaps {output.heatmaps:q}"
        " --ledger {output.ledger:q}"
        " > {log:q} 2>&1"

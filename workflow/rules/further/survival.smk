# SURVIVAL, beyond training: why a model gives its risks, and risks of new slides.
# IN    survival/{model}/bundle/, risk.parquet; slides/qc.parquet + slides/features/
# OUT   survival/{model}/attention.parquet, attributions.parquet; predict/risk.parquet, heatmaps/
# STEPS explain_model; predict_slides


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
        "../../../envs/survival.yaml"
    threads: 1
    resources:
        mem_mb=grow(8000),
        runtime=minutes(60),
    params:
        seed=config["seed"],
        settings=settings("survival.explain"),
        covariates=sorted(INPUTS["covariates"]),
        files=model_files,
        code=lambda w: code_of(
            "survival/explain_model",
            f"histoweave.survival.{MODELS[w.model]['method']}",
        ),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/survival/explain_model.py --cohort {input.cohort:q} {params.files:q}"
        " --covariates {params.covariates:q} --bundle {input.bundle:q} --risk {input.risk:q}"
        " --settings {params.settings:q} --seed {params.seed:q}"
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

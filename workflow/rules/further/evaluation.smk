# EVALUATION, beyond the metrics: what the risks add, what may be wrong with them, and other cohorts.
# IN    survival/cohort.parquet, folds.parquet, {model}/risk.parquet; slides/features, expression; predictions elsewhere
# OUT   evaluation/hazard_ratios.parquet, added_value.parquet, subgroups.parquet, audits.parquet, external*.parquet
# STEPS estimate_hazards; audit_models; score_sites, validate_models (where the config asks for them)


rule estimate_hazards:
    "Hazard ratios, added value over the clinical covariates, performance in subgroups."
    input:
        **OUTCOMES,
    output:
        hazard_ratios=f"{EVALUATION}/hazard_ratios.parquet",
        added_value=f"{EVALUATION}/added_value.parquet",
        subgroups=f"{EVALUATION}/subgroups.parquet",
    log:
        f"{RESULTS}/logs/evaluation/estimate_hazards.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluation/estimate_hazards.tsv"
    conda:
        "../../../envs/evaluation.yaml"
    threads: 1
    resources:
        mem_mb=grow(2000),
        runtime=minutes(30),
    params:
        seed=config["seed"],
        settings=settings(
            "evaluation.bootstrap", "evaluation.hazards", "evaluation.subgroups"
        ),
        code=code_of("evaluation/estimate_hazards"),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/evaluation/estimate_hazards.py --cohort {input.cohort:q} --folds {input.folds:q} --risks {input.risks:q}"
        " --settings {params.settings:q} --seed {params.seed:q} --threads {threads}"
        " --hazard-ratios {output.hazard_ratios:q}"
        " --added-value {output.added_value:q}"
        " --subgroups {output.subgroups:q}"
        " > {log:q} 2>&1"


rule audit_models:
    "Roles, sites, events, follow-up, missing patients, seeds; whether features or risks tell the site."
    input:
        **OUTCOMES,
        expression=(
            f"{RESULTS}/survival/expression.h5ad"
            if config["inputs"]["expression"]
            else []
        ),
        slides=f"{RESULTS}/slides/qc.parquet" if SLIDES else [],
    output:
        out=f"{EVALUATION}/audits.parquet",
    log:
        f"{RESULTS}/logs/evaluation/audit_models.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluation/audit_models.tsv"
    conda:
        "../../../envs/evaluation.yaml"
    threads: 1
    resources:
        mem_mb=grow(8000),
        runtime=minutes(120),
    params:
        seed=config["seed"],
        settings=settings("evaluation.bootstrap", "evaluation.audits"),
        features=f"{RESULTS}/slides/features" if SLIDES else [],
        code=code_of("evaluation/audit_models"),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/evaluation/audit_models.py --cohort {input.cohort:q} --folds {input.folds:q} --risks {input.risks:q}"
        " --settings {params.settings:q} --seed {params.seed:q} --threads {threads}"
        " --features {params.features:q} --expression {input.expression:q}"
        " --out {output.out:q}"
        " > {log:q} 2>&1"


rule score_sites:
    "Models trained anew without each site, on the site that they have not seen."
    input:
        cohort=f"{RESULTS}/survival/cohort.parquet",
        folds=f"{RESULTS}/survival/one_site_out/folds.parquet",
        risks=held_out_risks("one_site_out"),
    output:
        out=f"{EVALUATION}/sites.parquet",
        ledger=f"{RESULTS}/ledger/evaluation/score_sites.parquet",
    log:
        f"{RESULTS}/logs/evaluation/score_sites.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluation/score_sites.tsv"
    conda:
        "../../../envs/evaluation.yaml"
    threads: 1
    resources:
        mem_mb=grow(2000),
        runtime=minutes(30),
    params:
        seed=config["seed"],
        settings=settings(*ASSESSED),
        code=code_of("evaluation/score_sites"),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/evaluation/score_sites.py --cohort {input.cohort:q} --folds {input.folds:q} --risks {input.risks:q}"
        " --settings {params.settings:q} --seed {params.seed:q}"
        " --out {output.out:q} --ledger {output.ledger:q}"
        " > {log:q} 2>&1"


rule validate_models:
    "External cohorts: the same metrics, with everything frozen from training."
    input:
        cohort=f"{RESULTS}/survival/cohort.parquet",
        predictions=[row["prediction"] for row in VALIDATED],
        patients=[row["patients"] for row in VALIDATED],
    output:
        metrics=f"{EVALUATION}/external.parquet",
        calibration=f"{EVALUATION}/external_calibration.parquet",
        comparisons=f"{EVALUATION}/external_comparisons.parquet",
        curves=f"{EVALUATION}/external_curves.parquet",
        at_risk=f"{EVALUATION}/external_at_risk.parquet",
        ledger=f"{RESULTS}/ledger/evaluation/validate_models.parquet",
    log:
        f"{RESULTS}/logs/evaluation/validate_models.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluation/validate_models.tsv"
    conda:
        "../../../envs/evaluation.yaml"
    threads: 1
    resources:
        mem_mb=grow(2000),
        runtime=minutes(30),
    params:
        seed=config["seed"],
        settings=settings(*ASSESSED, "evaluation.compare", "evaluation.curves"),
        cohorts=[row["cohort"] for row in VALIDATED],
        models=[row["model"] for row in VALIDATED],
        code=code_of("evaluation/validate_models"),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/evaluation/validate_models.py --cohort {input.cohort:q}"
        " --names {params.cohorts:q} --models {params.models:q}"
        " --predictions {input.predictions:q} --patients {input.patients:q}"
        " --settings {params.settings:q} --seed {params.seed:q}"
        " --metrics {output.metrics:q} --calibration {output.calibration:q} --ledger {output.ledger:q}"
        " --comparisons {output.comparisons:q} --curves {output.curves:q} --at-risk {output.at_risk:q}"
        " > {log:q} 2>&1"

# EVALUATION: how well the risks of the test folds predict.
# IN    survival/cohort.parquet, survival/folds.parquet, survival/{model}/risk.parquet; for probes slides/features, expression
# OUT   evaluation/*.parquet (described in histoweave/formats/evaluation.py)
# STEPS score_models -> metrics with intervals; compare_models -> paired differences; estimate_curves -> Kaplan-Meier
#       curves; check_calibration -> calibration, decision curves; what goes beyond: further/evaluation.smk
EVALUATION = f"{RESULTS}/evaluation"
OUTCOMES = {
    "cohort": f"{RESULTS}/survival/cohort.parquet",
    "folds": f"{RESULTS}/survival/folds.parquet",
    "risks": expand(
        f"{RESULTS}/survival/{{model}}/risk.parquet",
        model=sorted(config["survival"]["models"]),
    ),
}
ASSESSED = ["evaluation.metrics", "evaluation.bootstrap", "evaluation.calibration"]
# Predictions for external cohorts: of this run's models for its external patients, and those made elsewhere.
VALIDATED = [
    {
        "cohort": cohort,
        "model": model,
        "prediction": risks,
        "patients": EVERYBODY,
    }
    for cohort in EXTERNAL
    for model, risks in zip(HELD_OUT["external"], held_out_risks("external"))
] + [{"cohort": name, **row} for name, row in config["evaluation"]["cohorts"].items()]


rule evaluation:
    "All tables of the evaluation."
    input:
        expand(
            f"{EVALUATION}/{{table}}.parquet",
            table=[
                "metrics",
                "comparisons",
                "kaplan_meier",
                "calibration",
                "hazard_ratios",
                "audits",
            ]
            + (["external"] if VALIDATED else [])
            + (["sites"] if HELD_OUT["one_site_out"] else []),
        ),


rule score_models:
    "Every model's performance on the test folds, with bootstrap intervals."
    input:
        **OUTCOMES,
    output:
        metrics=f"{EVALUATION}/metrics.parquet",
        fold_metrics=f"{EVALUATION}/fold_metrics.parquet",
        draws=f"{EVALUATION}/draws.parquet",
        ledger=f"{RESULTS}/ledger/evaluation/score_models.parquet",
    log:
        f"{RESULTS}/logs/evaluation/score_models.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluation/score_models.tsv"
    conda:
        "../../envs/evaluation.yaml"
    threads: 2
    resources:
        mem_mb=grow(2000),
        runtime=minutes(30),
    params:
        seed=config["seed"],
        settings=settings(*ASSESSED),
        code=code_of("evaluation/score_models"),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/evaluation/score_models.py --cohort {input.cohort:q} --folds {input.folds:q} --risks {input.risks:q}"
        " --settings {params.settings:q} --seed {params.seed:q} --threads {threads}"
        " --metrics {output.metrics:q}"
        " --fold-metrics {output.fold_metrics:q}"
        " --draws {output.draws:q}"
        " --ledger {output.ledger:q}"
        " > {log:q} 2>&1"


rule compare_models:
    "Paired differences between models on the same patients, folds and draws."
    input:
        **OUTCOMES,
    output:
        out=f"{EVALUATION}/comparisons.parquet",
    log:
        f"{RESULTS}/logs/evaluation/compare_models.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluation/compare_models.tsv"
    conda:
        "../../envs/evaluation.yaml"
    threads: 1
    resources:
        mem_mb=grow(2000),
        runtime=minutes(30),
    params:
        seed=config["seed"],
        settings=settings(
            "evaluation.metrics", "evaluation.bootstrap", "evaluation.compare"
        ),
        code=code_of("evaluation/compare_models"),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/evaluation/compare_models.py --cohort {input.cohort:q} --folds {input.folds:q} --risks {input.risks:q}"
        " --settings {params.settings:q} --seed {params.seed:q} --threads {threads}"
        " --out {output.out:q}"
        " > {log:q} 2>&1"


rule estimate_curves:
    "Kaplan-Meier curves of the groups cut at the training median, numbers at risk, log-rank tests."
    input:
        **OUTCOMES,
    output:
        kaplan_meier=f"{EVALUATION}/kaplan_meier.parquet",
        at_risk=f"{EVALUATION}/at_risk.parquet",
        logrank=f"{EVALUATION}/logrank.parquet",
    log:
        f"{RESULTS}/logs/evaluation/estimate_curves.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluation/estimate_curves.tsv"
    conda:
        "../../envs/evaluation.yaml"
    threads: 1
    resources:
        mem_mb=grow(1000),
        runtime=minutes(15),
    params:
        seed=config["seed"],
        settings=settings("evaluation.curves", "evaluation.bootstrap"),
        code=code_of("evaluation/estimate_curves"),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/evaluation/estimate_curves.py --cohort {input.cohort:q} --folds {input.folds:q} --risks {input.risks:q}"
        " --settings {params.settings:q} --seed {params.seed:q} --threads {threads}"
        " --kaplan-meier {output.kaplan_meier:q}"
        " --at-risk {output.at_risk:q}"
        " --logrank {output.logrank:q}"
        " > {log:q} 2>&1"


rule check_calibration:
    "Calibration curves, D-calibration and decision curves."
    input:
        **OUTCOMES,
    output:
        calibration=f"{EVALUATION}/calibration.parquet",
        d_calibration=f"{EVALUATION}/d_calibration.parquet",
        decision=f"{EVALUATION}/decision.parquet",
    log:
        f"{RESULTS}/logs/evaluation/check_calibration.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluation/check_calibration.tsv"
    conda:
        "../../envs/evaluation.yaml"
    threads: 1
    resources:
        mem_mb=grow(1000),
        runtime=minutes(15),
    params:
        seed=config["seed"],
        settings=settings(
            "evaluation.metrics",
            "evaluation.bootstrap",
            "evaluation.calibration",
            "evaluation.decision",
        ),
        code=code_of("evaluation/check_calibration"),
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/evaluation/check_calibration.py --cohort {input.cohort:q} --folds {input.folds:q} --risks {input.risks:q}"
        " --settings {params.settings:q} --seed {params.seed:q} --threads {threads}"
        " --calibration {output.calibration:q}"
        " --d-calibration {output.d_calibration:q}"
        " --decision {output.decision:q}"
        " > {log:q} 2>&1"


include: "further/evaluation.smk"

# EVALUATION: how well the risks of the test folds predict.
# IN    survival/cohort.parquet, survival/folds.parquet, survival/{model}/risk.parquet
# OUT   evaluation/*.parquet (described in histoweave/formats/evaluation.py)
# STEPS score_models -> metrics with intervals; compare_models -> paired differences;
#       estimate_curves -> Kaplan-Meier curves, numbers at risk, log-rank tests
EVALUATION = f"{RESULTS}/evaluation"
RISKS = expand(
    f"{RESULTS}/survival/{{model}}/risk.parquet",
    model=sorted(config["survival"].get("models", {})),
)


rule evaluation:
    "All tables of the evaluation."
    input:
        f"{EVALUATION}/metrics.parquet",
        f"{EVALUATION}/comparisons.parquet",
        f"{EVALUATION}/kaplan_meier.parquet",


rule score_models:
    "Every model's performance on the test folds, with bootstrap intervals."
    input:
        cohort=f"{RESULTS}/survival/cohort.parquet",
        folds=f"{RESULTS}/survival/folds.parquet",
        risks=RISKS,
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
        settings=settings("evaluation.metrics", "evaluation.bootstrap"),
        code=code_of("evaluation/score_models"),
    shell:
        "{STEP}/evaluation/score_models.py"
        " --cohort {input.cohort:q}"
        " --folds {input.folds:q}"
        " --risks {input.risks:q}"
        " --settings {params.settings:q}"
        " --seed {config[seed]}"
        " --threads {threads}"
        " --metrics {output.metrics:q}"
        " --fold-metrics {output.fold_metrics:q}"
        " --draws {output.draws:q}"
        " --ledger {output.ledger:q}"
        " > {log:q} 2>&1"


rule compare_models:
    "Paired differences between models on the same patients, folds and draws."
    input:
        cohort=f"{RESULTS}/survival/cohort.parquet",
        folds=f"{RESULTS}/survival/folds.parquet",
        risks=RISKS,
    output:
        table=f"{EVALUATION}/comparisons.parquet",
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
        settings=settings(
            "evaluation.metrics", "evaluation.bootstrap", "evaluation.compare"
        ),
        code=code_of("evaluation/compare_models"),
    shell:
        "{STEP}/evaluation/compare_models.py"
        " --cohort {input.cohort:q}"
        " --folds {input.folds:q}"
        " --risks {input.risks:q}"
        " --settings {params.settings:q}"
        " --seed {config[seed]}"
        " --out {output.table:q}"
        " > {log:q} 2>&1"


rule estimate_curves:
    "Kaplan-Meier curves of the groups cut at the training median, numbers at risk, log-rank tests."
    input:
        cohort=f"{RESULTS}/survival/cohort.parquet",
        folds=f"{RESULTS}/survival/folds.parquet",
        risks=RISKS,
    output:
        curves=f"{EVALUATION}/kaplan_meier.parquet",
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
        mem_mb=grow(2000),
        runtime=minutes(15),
    params:
        settings=settings("evaluation.curves", "evaluation.bootstrap"),
        code=code_of("evaluation/estimate_curves"),
    shell:
        "{STEP}/evaluation/estimate_curves.py"
        " --cohort {input.cohort:q}"
        " --folds {input.folds:q}"
        " --risks {input.risks:q}"
        " --settings {params.settings:q}"
        " --seed {config[seed]}"
        " --kaplan-meier {output.curves:q}"
        " --at-risk {output.at_risk:q}"
        " --logrank {output.logrank:q}"
        " > {log:q} 2>&1"

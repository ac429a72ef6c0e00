# HistoWeave: histology and gene graphs, woven into survival prediction. This file is the picture of the data flow.
from snakemake.utils import min_version

min_version("9.20")

# Without a config of your own the demo cohort runs; `--configfile config/config.yaml` runs yours.
if not workflow.overwrite_configfiles:

    configfile: "config/demo.yaml"


include: "workflow/rules/common.smk"  # config and tables checked, helpers


if config["simulate"]:

    include: "workflow/rules/simulate.smk"  # seed                   -> the demo cohort's slides, counts and truth


include: "workflow/rules/slides.smk"  # slide                  -> tissue -> tiles -> features per slide
include: "workflow/rules/expression.smk"  # counts (+ coordinates) -> spatial genes, residuals, co-expression
include: "workflow/rules/genegraph.smk"  # graphs                 -> gene embedding, metrics, modules
include: "workflow/rules/survival.smk"  # features + bulk + embedding + follow-up -> risk per patient, fold and model
include: "workflow/rules/evaluation.smk"  # risks + follow-up      -> metrics with intervals, comparisons
include: "workflow/rules/report.smk"  # tables                 -> one report
include: "workflow/rules/doctor.smk"  # config, files, machine -> what would fail, before anything runs


rule all:
    "Everything that the config gives inputs for."
    default_target: True
    input:
        rules.slides.input if SLIDES else [],
        rules.expression.input if DATASETS else [],
        rules.genegraph.input if DATASETS else [],
        rules.survival.input if PATIENTS else [],
        rules.evaluation.input if PATIENTS else [],
        rules.report.input,

# Names and functions of the survival stage.
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
# Patients who are held out of training beside the folds, and the models that are trained for that.
EVERYBODY = f"{SURVIVAL}/external/cohort.parquet"
EXTERNAL = [name for name, role in INPUTS["cohorts"].items() if role == "external"]
HELD_OUT = {
    "one_site_out": config["survival"]["one_site_out"]["models"],
    "external": sorted(MODELS) if EXTERNAL else [],
}
SCRNA = sorted(name for name, row in DATASETS.items() if row["modality"] == "scrna")
# What a method takes from the stages before, besides slides, expression and covariates.
TAKES = {
    "path_gptomic": {"gene_embedding", "cells"},
    "ghanet": {"modules"},
    "mcat": {"modules"},
    "survpath": {"modules"},
}


def held_out_risks(who):
    "Risks of all models that are trained without those who are held out."
    return [f"{SURVIVAL}/{who}/{model}/risk.parquet" for model in HELD_OUT[who]]


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


def model_inputs(wildcards, more=frozenset()):
    "What the stages before give to a model, and of what not every model takes, those named in `more`."
    takes = TAKES.get(MODELS[wildcards.model]["method"], set()) | more
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


def explained_inputs(wildcards):
    "The model's inputs, and the modules where they are the gene groups whose attributions are summed."
    by_module = config["survival"]["gene_groups"]["source"] == "modules"
    return model_inputs(wildcards, {"modules"} if by_module else set())


def model_files(wildcards, inputs=model_inputs):
    "The model's inputs as options of the script."
    chosen = inputs(wildcards)
    if chosen.pop("qc", None):
        chosen["features"] = f"{RESULTS}/slides/features"
    parts = [
        option(f"--{name.replace('_', '-')}", path) for name, path in chosen.items()
    ]
    return [word for part in parts for word in part]


def module_of(wildcards):
    "Module of the library that holds the model's method."
    return f"histoweave.survival.{MODELS[wildcards.model]['method']}"


def training_inputs(wildcards):
    "The model's inputs, and folds that jobs of their own fit where the config wants more than one per model."
    jobs = config["survival"]["jobs_per_model"]
    parts = range(jobs) if jobs > 1 else []
    fitted = [f"{SURVIVAL}/{wildcards.model}/folds/{part}" for part in parts]
    return {**model_inputs(wildcards), "fitted": fitted}


def train_options(wildcards):
    "The model's inputs, its method, and a checkpoint folder that other code never goes on with."
    method = MODELS[wildcards.model]["method"]
    # The model and, of those trained without some patients or on some folds, which.
    code = code_of("survival/train_model", module_of(wildcards))
    name = "-".join([*wildcards, code])
    folder = f"{SURVIVAL}/checkpoints/{name}"
    inputs = model_inputs if len(wildcards) > 1 else training_inputs
    files = model_files(wildcards, inputs)
    return [*files, "--method", method, "--checkpoints", folder]

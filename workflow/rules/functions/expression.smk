# Names and functions of the expression stage.
RESIDUALS_ENV = (
    "expression_r"
    if config["expression"]["sctransform"]["engine"] == "r"
    else "expression"
)
SPATIAL = [name for name, row in DATASETS.items() if row["modality"] == "spatial"]


def annotation_of(wildcards):
    "The table of genes that peaks are summed to; scATAC datasets only."
    path = config["expression"]["peaks"]["annotation"]
    return path if path and DATASETS[wildcards.dataset]["modality"] == "scatac" else []


def about_dataset(wildcards, input):
    "Options that say what datasets.tsv says of a dataset."
    row = DATASETS[wildcards.dataset]
    names = ["modality", "tissue", "species", "cell_type_column"]
    given = {name: row[name] for name in names if row.get(name)}
    if input.annotation:
        given["annotation"] = input.annotation
    return [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]


def spatial_genes_of(wildcards):
    "The ranking that a spatial dataset takes its genes from; nothing for the others."
    if wildcards.dataset not in SPATIAL:
        return []
    return f"{RESULTS}/expression/{wildcards.dataset}/spatial_genes.parquet"


def spatial_option(wildcards, input):
    "The ranking as an option of the script."
    return ["--spatial-genes", input.spatial_genes] if input.spatial_genes else []

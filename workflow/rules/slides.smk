# IN    slides.tsv: slide files, or feature files made elsewhere
# OUT   slides/features/{slide}.h5ad, slides/qc.parquet; beside them tissue outlines, tile tables, thumbnails, qc pages
# STEPS tile_slides (tissue, grid, quality), encode_tiles (features), both per batch; summarise_slides (one table)
include: "functions/slides.smk"


rule slides:
    "Features of every slide, and one row per slide on how it went."
    input:
        qc=f"{RESULTS}/slides/qc.parquet",


rule tile_slides:
    "Tissue without ink, cut into tiles of a fixed length in um; quality scores; outline and thumbnail."
    input:
        slides=batch_files("path"),
    output:
        manifest=f"{RESULTS}/slides/batches/{{batch}}/tile_slides.parquet",
    log:
        f"{RESULTS}/logs/slides/tile_slides/{{batch}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/slides/tile_slides/{{batch}}.tsv"
    conda:
        "../../envs/slides.yaml"
    threads: 4
    resources:
        mem_mb=grow(4000),
        runtime=minutes(120),
    params:
        seed=config["seed"],
        thumbnail_px=config["slides"]["thumbnail_px"],
        settings=settings(
            "slides.resolution", "slides.tissue", "slides.tiles", "slides.quality"
        ),
        code=code_of("slides/tile_slides"),
        rows=batch_json,
        folder=lambda wildcards: f"{RESULTS}/slides",
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/slides/tile_slides.py"
        " --rows {params.rows:q}"
        " --folder {params.folder:q}"
        " --thumbnail-px {params.thumbnail_px:q}"
        " --settings {params.settings:q}"
        " --seed {params.seed:q}"
        " --threads {threads}"
        " --code {params.code:q}"
        " --out {output.manifest:q}"
        " > {log:q} 2>&1"


rule encode_tiles:
    "One vector per tile; feature files made elsewhere are converted."
    input:
        tiling=rules.tile_slides.output.manifest,
        slides=batch_files("path"),
        features=batch_files("features"),
        registry=HERE / "resources/encoders.yaml",
    output:
        manifest=f"{RESULTS}/slides/batches/{{batch}}/encode_tiles.parquet",
    log:
        f"{RESULTS}/logs/slides/encode_tiles/{{batch}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/slides/encode_tiles/{{batch}}.tsv"
    conda:
        "../../envs/slides.yaml"
    threads: 4
    resources:
        mem_mb=grow(4000),
        runtime=minutes(240),
    params:
        export=config["slides"]["export"],
        seed=config["seed"],
        settings=settings("slides.tiles", "slides.encoder"),
        code=code_of("slides/encode_tiles"),
        rows=batch_json,
        folder=lambda wildcards: f"{RESULTS}/slides",
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/slides/encode_tiles.py"
        " --rows {params.rows:q}"
        " --tiling {input.tiling:q}"
        " --registry {input.registry:q}"
        " --export {params.export:q}"
        " --folder {params.folder:q}"
        " --settings {params.settings:q}"
        " --seed {params.seed:q}"
        " --threads {threads}"
        " --code {params.code:q}"
        " --out {output.manifest:q}"
        " > {log:q} 2>&1"


rule summarise_slides:
    "One row per slide with status and reason; slides left out go to the ledger."
    input:
        manifests=expand(
            f"{RESULTS}/slides/batches/{{batch}}/encode_tiles.parquet", batch=BATCHES
        ),
    output:
        qc=f"{RESULTS}/slides/qc.parquet",
        sheet=f"{RESULTS}/slides/contact_sheet.png",
        ledger=f"{RESULTS}/ledger/slides/summarise_slides.parquet",
    log:
        f"{RESULTS}/logs/slides/summarise_slides.log",
    benchmark:
        f"{RESULTS}/benchmarks/slides/summarise_slides.tsv"
    conda:
        "../../envs/slides.yaml"
    threads: 1
    resources:
        mem_mb=grow(1000),
        runtime=minutes(10),
    params:
        seed=config["seed"],
        settings=settings("slides"),
        code=code_of("slides/summarise_slides"),
        folder=lambda wildcards: f"{RESULTS}/slides",
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/slides/summarise_slides.py"
        " --manifests {input.manifests:q}"
        " --folder {params.folder:q}"
        " --sheet {output.sheet:q}"
        " --seed {params.seed:q}"
        " --ledger {output.ledger:q}"
        " --out {output.qc:q}"
        " > {log:q} 2>&1"

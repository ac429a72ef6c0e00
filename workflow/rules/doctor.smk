# IN    the config, its tables and the machine
# OUT   a table of what would fail, printed; nothing is kept, so that each call looks anew
# STEPS doctor


rule doctor:
    "Look at config, tables, files, environments and machine before the first job; fails if a run would."
    output:
        temp(touch(f"{RESULTS}/.doctor")),
    log:
        f"{RESULTS}/logs/doctor/doctor.log",
    benchmark:
        f"{RESULTS}/benchmarks/doctor/doctor.tsv"
    conda:
        "../../envs/doctor.yaml"
    threads: 1
    resources:
        mem_mb=grow(1000),
        runtime=minutes(10),
    params:
        settings=settings(""),
        code=code_of("doctor/doctor"),
        environments="conda" if CONDA else "here",
    shell:
        "PYTHONNOUSERSITE=1 PYTHONPATH=workflow/src python -P workflow/scripts/doctor/doctor.py"
        " --config {params.settings:q}"
        " --environments {params.environments:q}"
        " 2>&1 | tee {log:q}"

# Names and functions of the slides stage.
def batch_rows(batch):
    "Rows of slides.tsv of one batch."
    keys = ("slide", "patient", "site", "path", "features", "mpp")
    rows = [row for slide, row in SLIDES.items() if batch_of(slide) == batch]
    return [{key: row[key] for key in keys if row.get(key) is not None} for row in rows]


def batch_files(column):
    "Input function: the batch's files of a column of slides.tsv."
    return lambda wildcards: [
        row[column] for row in batch_rows(wildcards.batch) if column in row
    ]


def batch_json(wildcards):
    "Rows of the batch as JSON text."
    return json.dumps(batch_rows(wildcards.batch))

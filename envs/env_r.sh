#!/usr/bin/env bash
# R's sctransform for `expression.sctransform.engine: r`: Debian's packages where this user may install them,
# otherwise a line that says what to install; then rpy2 for the Python given as first argument.
# rpy2-rinterface 3.6.5 is the newest that works with Debian's R 4.2.2: later ones need symbols of R 4.5.
set -euo pipefail
python=${1:-.venv/bin/python}
packages="r-base-core r-base-dev r-cran-sctransform r-bioc-glmgampoi"

if ! command -v Rscript >/dev/null || ! Rscript -e 'for (p in c("sctransform", "glmGamPoi")) stopifnot(requireNamespace(p, quietly = TRUE))' >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        # shellcheck disable=SC2086 # one word per package
        DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $packages
    else
        echo "R with sctransform and glmGamPoi is missing. Install it, then run this again:" >&2
        echo "  Debian, Ubuntu:  sudo apt-get install $packages" >&2
        echo "  conda:           conda install -c conda-forge -c bioconda r-sctransform bioconductor-glmgampoi" >&2
        exit 2
    fi
fi
"$python" -m pip install --quiet --disable-pip-version-check \
    rpy2==3.6.6 rpy2-rinterface==3.6.5 rpy2-robjects==3.6.6
"$python" -c 'from rpy2 import robjects; print("sctransform", robjects.r("as.character(packageVersion(\"sctransform\"))")[0], "is ready")'

#!/usr/bin/env bash
# Records the demo on this machine: generated motions, two actors on a local Ray, results in output/demo.
# PYTHON, VENV and TORCH as in scripts/environment.sh.
set -euo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
    exit
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/environment.sh
"${VENV:-.venv}/bin/parc-ray" demo --overwrite

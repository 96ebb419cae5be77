#!/usr/bin/env bash
# Records the demo on this machine: generated motions, two actors on a local Ray, results in output/demo.
# PYTHON, VENV and TORCH as in scripts/environment.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/environment.sh
"${VENV:-.venv}/bin/parc-ray" demo --overwrite

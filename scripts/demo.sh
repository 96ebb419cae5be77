#!/usr/bin/env bash
# Records the demo on this machine: generated motions, two actors on a local Ray, results in output/demo.
# PYTHON, VENV and TORCH as in scripts/environment.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/environment.sh
parc_ray=${VENV:-.venv}/bin/parc-ray
rm -rf output/demo_motions
"$parc_ray" dataset generate output/demo_motions
"$parc_ray" record --config configs/demo/phys_record.yaml --overwrite

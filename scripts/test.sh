#!/usr/bin/env bash
# Runs all tests, or those that pytest's arguments choose: scripts/test.sh [--fast] [--newest] [PYTEST ARGUMENTS]
#   --fast    leaves out the slow ones: whole runs on Ray, and whatever else takes seconds
#   --newest  with the newest versions of all packages, in an environment of its own, .venv-newest
# PYTHON, VENV and TORCH as in scripts/environment.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Tests of whole runs mostly wait: three processes keep two cores busy.
options=(--numprocesses 3)
while [[ ${1:-} == --fast || ${1:-} == --newest ]]; do
    if [[ $1 == --fast ]]; then
        options=(--numprocesses 2 -m "not slow and not isaacgym")
    else
        export NEWEST=1 VENV=${VENV:-.venv-newest}
    fi
    shift
done
bash scripts/environment.sh dev
exec "${VENV:-.venv}/bin/python" -m pytest "${options[@]}" "$@"

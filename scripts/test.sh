#!/usr/bin/env bash
# Runs all tests, or those that pytest's arguments choose: scripts/test.sh [--newest] [PYTEST ARGUMENTS]
#   --newest  with the newest versions of all packages, in an environment of its own, .venv-newest
# PYTHON, VENV and TORCH as in scripts/environment.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ ${1:-} == --newest ]]; then
    shift
    export NEWEST=1 VENV=${VENV:-.venv-newest}
fi
bash scripts/environment.sh dev
# Tests of whole runs take half of the time and are made one after the other; the rest goes on beside them.
exec "${VENV:-.venv}/bin/python" -m pytest --numprocesses 2 "$@"

#!/usr/bin/env bash
# Runs all tests, or those that pytest's arguments choose: scripts/test.sh [PYTEST ARGUMENTS]
# PYTHON, VENV and TORCH as in scripts/environment.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/environment.sh dev
# Tests of whole runs take half of the time and are made one after the other; the rest goes on beside them.
exec "${VENV:-.venv}/bin/python" -m pytest --numprocesses 2 "$@"

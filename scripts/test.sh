#!/usr/bin/env bash
# Runs all tests, or those that pytest's arguments choose: scripts/test.sh [PYTEST ARGUMENTS]
# PYTHON, VENV and TORCH as in scripts/environment.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/environment.sh dev
exec "${VENV:-.venv}/bin/python" -m pytest "$@"

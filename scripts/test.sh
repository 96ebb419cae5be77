#!/usr/bin/env bash
# Runs all tests, or those that pytest's arguments choose: scripts/test.sh [--fast] [--newest] [PYTEST ARGUMENTS]
#   --fast    leaves out the slow ones: whole runs on Ray, and everything else that takes seconds
#   --newest  with the newest versions of all packages, in an environment of its own, .venv-newest
# Tests have an environment of their own, .venv-test: it has packages, such as PhysX, that change what `auto` chooses.
# Tests of Isaac Gym's double run on Python 3.8 only:
#   VENV=.venv38 PYTHON=python3.8 scripts/test.sh
# With --versions, pytest leaves out slow tests that no version of Python or of a library changes.
# PYTHON, VENV and TORCH as in scripts/environment.sh.
set -euo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
    exit
fi
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
export VENV=${VENV:-.venv-test}
bash scripts/environment.sh dev
exec "$VENV/bin/python" -m pytest "${options[@]}" "$@"

#!/usr/bin/env bash
# Writes scripts/locks, the exact versions that parc_ray is tested with: scripts/lock.sh [--upgrade]
# A version that is locked stays as long as pyproject.toml allows it; --upgrade takes the newest ones instead.
# After an upgrade run all tests on both Pythons (.ci/run).
set -euo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
    exit
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
"${PYTHON:-python3}" -m venv "$tools"
"$tools/bin/python" -m pip install --quiet uv

# CUDA's packages follow from the build of PyTorch that is installed, and pip has no use for Windows' ones here.
lock() {
    local file=$1 temporary=$tools/${1##*/}
    shift
    cp "$file" "$temporary"
    UV_CUSTOM_COMPILE_COMMAND=scripts/lock.sh "$tools/bin/uv" pip compile --quiet --annotation-style line --extra dev \
        --output-file "$temporary" "$@"
    grep -vE "^(nvidia-|cuda-|triton==)|sys_platform == 'win32'" "$temporary" > "$file"
    echo "$file: $(grep -c == "$file") versions"
}

lock scripts/locks/current.txt --universal --python-version 3.10 "$@" pyproject.toml scripts/physx.txt
lock scripts/locks/python3.8.txt --python-version 3.8 --python-platform linux "$@" pyproject.toml

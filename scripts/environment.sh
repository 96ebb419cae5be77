#!/usr/bin/env bash
# Makes a virtual environment with parc_ray in it: scripts/environment.sh [EXTRAS], for instance "dev", which has PhysX, too.
# Quick if it is there already. Packages have the versions of scripts/locks, with which all tests pass. What can be chosen,
# as environment variables:
#   PYTHON  the interpreter                  default python3
#   VENV    the environment's folder         default .venv
#   TORCH   what pip installs as PyTorch     default the locked version; another one brings what it needs itself
#   NEWEST  not empty: the newest versions that pyproject.toml allows, whatever is locked or installed
# pip's own variables (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS, ...) choose where packages come from.
set -euo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
    exit
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."

extras=${1:-}
venv=${VENV:-.venv}
base=${PYTHON:-python3}
python=$venv/bin/python
newest=${NEWEST:+--upgrade --upgrade-strategy eager}

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }
version=$(version_of "$base")
case $version in
    3.8) lock=scripts/locks/python3.8.txt ;;
    3.9) lock=/dev/null ;;
    *) lock=scripts/locks/current.txt ;;
esac
[[ -n $newest ]] && lock=/dev/null

# What the environment was made of. With extras installed, everything is there that no extras ask for.
key="$version ${TORCH:-} $PWD $(cat pyproject.toml scripts/physx.txt "$lock" | cksum)"
stamp=$venv/parc_ray${extras:+-$extras}.stamp
if [[ -x $python && -z $newest && $(cat "$stamp" 2> /dev/null) == "$key" ]]; then
    exit 0
fi

if [[ ! -e $venv ]]; then
    echo "making $venv with Python $version" >&2
    "$base" -m venv "$venv"
elif [[ ! -x $python || $(version_of "$python") != "$version" ]]; then
    echo "error: $venv is not an environment of Python $version; remove it, or set VENV to another folder" >&2
    exit 2
fi
echo "installing parc_ray${extras:+[$extras]}${TORCH:+ and $TORCH} into $venv" >&2
# Only wheels: on Python 3.8 pip would otherwise compile sources that are newer than the last wheel, for many minutes.
# shellcheck disable=SC2086  # three words, or none
install() { "$python" -m pip install --quiet --only-binary=:all: --constraint "$venv/lock.txt" $newest "$@"; }
sed -E "${TORCH:+/^torch==|# via torch\$/d}" "$lock" > "$venv/lock.txt"
install --editable ".${extras:+[$extras]}" "${TORCH:-torch}"
if [[ $extras == dev && $version != 3.[89] ]]; then
    install --no-deps --requirement scripts/physx.txt
fi
echo "$key" > "$venv/parc_ray.stamp"
echo "$key" > "$stamp"

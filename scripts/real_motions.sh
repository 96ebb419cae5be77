#!/usr/bin/env bash
# Records real motions on this machine: motion capture that the PyPI package pybullet comes with and, if a clone of
# PARC (github.com/mshoe/PARC) is named, PARC's own: scripts/real_motions.sh [PARC]. Results are in output/real_motions.
# PYTHON, VENV and TORCH as in scripts/environment.sh.
set -euo pipefail
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0"
    exit
fi
parc=${1:+$(cd "$1" && pwd)}
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/environment.sh render
bin=${VENV:-.venv}/bin
output=output/real_motions
clips=$output/package/pybullet_data/data/motions/humanoid3d

# The package is a C++ extension, which nothing here needs: only its data are unpacked, whatever the Python here is.
if [[ ! -e ${clips}_walk.txt ]]; then
    "$bin/python" -m pip download --quiet --no-deps --only-binary=:all: --dest "$output/package" \
        --implementation cp --python-version 3.9 --abi cp39 --platform manylinux2014_x86_64 pybullet==3.2.6
    "$bin/python" -m zipfile --extract "$output"/package/pybullet-*.whl "$output/package"
fi

rm -rf "$output/motions" "$output/run"
import() { "$bin/parc-ray" dataset import --output "$output/motions/$1" "${@:2}"; }
import clips "${clips}"_*.txt
import slow "${clips}_walk.txt" --speed 0.7
import jog "${clips}_run.txt" --speed 0.6
import loops "${clips}_walk.txt" "${clips}_run.txt" --loop 3
if [[ -n $parc ]]; then
    mkdir "$output/motions/parc"
    cp "$parc"/data/motion_terrains/*.pkl "$output/motions/parc"
fi

"$bin/parc-ray" record --config configs/real_motions/phys_record.yaml
for recording in "$output"/run/recorded_motions/*/{humanoid3d_{run,spinkick,backflip},TEASER_TERRAIN}.pkl; do
    if [[ -e $recording ]]; then
        picture=$output/$(basename "$recording" .pkl).png
        "$bin/parc-ray" render "$recording" --output "$picture" --poses 6 --size 170 230 --overwrite
    fi
done

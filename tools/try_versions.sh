#!/usr/bin/env bash
# Makes environments of other versions, tests the package in each and prints what came of it.
#
# Usage: tools/try_versions.sh [--quick | --whole | --make] [--skip-missing] [NAME ...]
#
# NAME is default or compiled (those of make_env.sh) or a file of tools/versions without its
# ending: oldest, newest, onedl. Without names all but compiled are tried. --quick (the default)
# runs the tests of the package's parts, --whole those of `make test`, --make none. Each file is a list of pip
# constraints; its first line names the Python and the family of packages that provides mmdet.
# Environments lie outside the checkout, next to those of make_env.sh, and are made once.
#
# The exit code is 0 if every environment was made and every test passed. A Python that this
# machine lacks is a failure; with --skip-missing it is only said, here and in the table.
#
# Variables: WKD_DET_HOME (where environments live), WORKERS (processes of pytest, default: cores,
# at most 4), and those of make_env.sh and pip.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
home=${WKD_DET_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/wkd_det}
cores=$(getconf _NPROCESSORS_ONLN)
workers=${WORKERS:-$((cores < 4 ? cores : 4))}
quick=(
    tests/losses tests/ops tests/costs tests/runtime tests/standin tests/distillation
    tests/detection tests/classification tests/hooks
    tests/test_functional.py tests/test_connectors.py
)

say() { printf '[versions] %s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# The first line of a list: Python's version and the family of packages.
heading() { IFS=' ,' read -r _ _ version family <"$root/tools/versions/$1.txt"; }

find_python() {
    local candidate
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python python3; do
        if "$candidate" -c "import sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" \
            2>/dev/null; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    return 1
}

# Prints the interpreter of an environment, which is made if it is missing or unfinished.
environment() {
    case $1 in
        default) "$root/tools/make_env.sh"; return ;;
        compiled) MMCV=compiled "$root/tools/make_env.sh"; return ;;
    esac
    local pins=$root/tools/versions/$1.txt version family python key env
    heading "$1"
    python=$(find_python "$version") || die "Python $version is needed for '$1' and was not found"
    key=$({
        "$python" -c 'import platform, sys; print(sys.version, platform.machine())'
        cat "$pins" "$root/setup.py"
    } | sha256sum | cut -c1-12)
    env=$home/$1-$key
    mkdir -p "$home"
    exec 8>"$env.lock"
    flock 8
    if [ ! -f "$env/complete" ]; then
        rm -rf "$env"
        say "$1: making $env with $python"
        "$python" -m venv "$env"
        # Set like this, these constraints replace those that the machine sets for others.
        export PIP_CONSTRAINT=$pins
        "$env/bin/python" -m pip --disable-pip-version-check install --quiet --upgrade \
            pip setuptools >&2 || die "$1: pip could not be renewed"
        "$env/bin/python" -m pip --disable-pip-version-check install --quiet --prefer-binary \
            --editable "$root[$family,mini,plots,timm,tests]" >&2 ||
            die "$1: pip failed; the same command starts over with what was downloaded"
        (cd / && "$env/bin/python" -W ignore -c 'import mmcv.ops, mmdet, wkd_det') ||
            die "$1: the finished environment does not import mmcv.ops, mmdet and wkd_det"
        printf '%s' "$root" >"$env/checkout"
        touch "$env/complete"
    fi
    if [ "$(cat "$env/checkout")" != "$root" ]; then
        say "$1: installing wkd_det from $root in editable mode"
        "$env/bin/python" -m pip --disable-pip-version-check install --quiet --no-deps \
            --editable "$root" >&2 || die "$1: pip failed"
        printf '%s' "$root" >"$env/checkout"
    fi
    exec 8>&-
    printf '%s\n' "$env/bin/python"
}

# Versions that a row of the README's table names.
versions() {
    "$1" -W ignore - <<'PYTHON'
import importlib.util
import platform
from importlib.metadata import version

import mmcv
import mmdet
import mmengine
import wkd_det

spec = importlib.util.find_spec('mmcv._ext')
kind = 'stand-in' if 'standin' in spec.origin else 'compiled'
parts = [
    platform.python_version(), version('torch'), version('numpy'),
    f'{mmcv.__version__} ({kind})', mmengine.__version__, mmdet.__version__,
]
print(' | '.join(part.partition('+')[0] for part in parts))
PYTHON
}

try_one() {
    local name=$1 python log began code=0 row version family
    if [ "$missing" = skip ] && [ -f "$root/tools/versions/$name.txt" ]; then
        heading "$name"
        find_python "$version" >/dev/null || {
            say "$name: NOT TESTED, there is no Python $version on this machine"
            rows+=("| $name | not tested: no Python $version | | | | | | |")
            return
        }
    fi
    began=$(date +%s)
    python=$(environment "$name") || {
        rows+=("| $name | not made | | | | | | |")
        return 1
    }
    row=$(versions "$python")
    say "$name: $row ($(($(date +%s) - began)) s), $python"
    if [ "$action" = make ]; then
        rows+=("| $name | $row | not run |")
        return
    fi
    log=$(mktemp -t "versions-$name.XXXXXX")
    say "$name: testing, log: $log"
    # One thread per worker: more would only wait for each other.
    (cd "$root" && PYTHONPATH=$root OMP_NUM_THREADS=1 "$python" -m pytest -q -m 'not slow' \
        -n "$workers" --dist loadfile "${tests[@]}" 2>&1 | tee "$log" >&2) || code=$?
    rows+=("| $name | $row | $(grep -E '[0-9]+ (passed|failed|error)' "$log" | tail -n 1 |
        sed -E 's/^=+ //; s/ =+$//; s/, [0-9]+ (deselected|warnings?)//g') |")
    return "$code"
}

action=test missing=fail tests=("${quick[@]}") names=() rows=() failed=0
for argument in "$@"; do
    case $argument in
        --quick) tests=("${quick[@]}") ;;
        --whole) tests=() ;;
        --make) action=make ;;
        --skip-missing) missing=skip ;;
        -h | --help) sed -n '2,/^set /{/^set /d; s/^# \{0,1\}//; p}' "$0"; exit ;;
        -*) die "unknown option '$argument'; see --help" ;;
        *) names+=("$argument") ;;
    esac
done
[ "${#names[@]}" -gt 0 ] || names=(default oldest newest onedl)
for name in "${names[@]}"; do
    [[ $name =~ ^(default|compiled)$ || -f $root/tools/versions/$name.txt ]] || die \
        "unknown environment '$name'; there are default, compiled and those of tools/versions:" \
        "$(cd "$root/tools/versions" && echo *.txt | sed 's/\.txt//g')"
done
for name in "${names[@]}"; do
    try_one "$name" || failed=1
done
printf '\n| environment | Python | torch | numpy | mmcv | mmengine | mmdet | tests |\n'
printf '|---|---|---|---|---|---|---|---|\n'
printf '%s\n' "${rows[@]}"
exit "$failed"

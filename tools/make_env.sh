#!/usr/bin/env bash
# Builds the tested environment and prints the path of its Python interpreter.
#
# The environment holds exactly what constraints.txt pins and lies outside the checkout, in
# a folder named by the hash of that file, of the Python version and of the machine, so that
# another checkout with the same pins finds it finished. The package itself is installed in
# editable mode from this checkout. Everything but the path goes to standard error.
#
# Variables: PYTHON (base interpreter), WKD_DET_HOME (where environments live),
# MAX_JOBS (compile jobs for mmcv).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
home=${WKD_DET_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/wkd_det}

say() { printf '[env] %s\n' "$*" >&2; }
die() { printf '[env] error: %s\n' "$*" >&2; exit 1; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3.11 python3}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    die "Python 3.11 is needed for the pinned versions and '${PYTHON:-python3.11}' is not it;" \
        "install it (with venv) or set PYTHON=/path/to/python3.11"
}

check_compiler() {
    command -v "${CXX:-c++}" >/dev/null ||
        die "no C++ compiler ('${CXX:-c++}') was found and mmcv must be compiled;" \
            "install one (Debian: apt-get install g++) or set CXX"
    local include
    include=$("$1" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    [ -f "$include/Python.h" ] ||
        die "Python.h is missing in $include and mmcv must be compiled;" \
            "install the headers of this Python (Debian: apt-get install python3-dev)"
}

pinned() { sed -n "s/^$1==//p" "$root/constraints.txt"; }

# Compiles mmcv once for each (mmcv, torch, Python, machine); the folder's name carries them
# all, so a wheel never meets another torch. The rename at the end makes it all or nothing.
build_mmcv() {
    local python=$1 wheels=$2 work
    if ls "$wheels"/mmcv-*.whl >/dev/null 2>&1; then
        say "mmcv: reusing $(ls "$wheels"/mmcv-*.whl)"
        return
    fi
    check_compiler "$python"
    work=$(mktemp -d "$home/mmcv-build.XXXXXX")
    say "mmcv: compiling $(pinned mmcv) for torch $(pinned torch) (10 to 17 minutes on 2 cores;" \
        "log: $work/build.log)"
    if ! PATH="$(dirname "$python"):$PATH" MMCV_WITH_OPS=1 CFLAGS="${CFLAGS:--O2 -g0}" \
        MAX_JOBS="${MAX_JOBS:-$(getconf _NPROCESSORS_ONLN)}" \
        "$python" -m pip wheel --verbose --no-deps --no-build-isolation --no-cache-dir \
        --no-binary mmcv --wheel-dir "$work/wheel" "mmcv==$(pinned mmcv)" 2>&1 |
        tee "$work/build.log" |
        awk 'match($0, /[a-z_0-9]+\.(cpp|cu) -o/) {
                 printf "[env] mmcv: file %d, %s\n", ++n, substr($0, RSTART, RLENGTH - 3); fflush()
             }' >&2; then
        tail -n 30 "$work/build.log" >&2
        die "mmcv did not compile; the last lines stand above, the whole log is $work/build.log"
    fi
    rm -rf "$wheels"
    mv "$work/wheel" "$wheels"
    rm -rf "$work"
}

build() {
    local python=$1 env=$2 wheels=$3
    rm -rf "$env"
    say "creating $env with $python"
    "$python" -m venv "$env"
    local pip=("$env/bin/python" -m pip --disable-pip-version-check)
    "${pip[@]}" install --quiet "pip==$(pinned pip)" "setuptools==$(pinned setuptools)" \
        "wheel==$(pinned wheel)" >&2
    say 'torch and everything else that is prebuilt'
    grep -vE '^(#|mmcv==)' "$root/constraints.txt" >"$env/prebuilt.txt"
    "${pip[@]}" install --prefer-binary -r "$env/prebuilt.txt" >&2
    build_mmcv "$env/bin/python" "$wheels"
    "${pip[@]}" install --no-deps --no-index "$wheels"/mmcv-*.whl >&2
    "$env/bin/python" -c 'import mmcv.ops, mmdet, torchvision' ||
        die 'the finished environment does not import mmcv.ops, mmdet and torchvision'
    touch "$env/complete"
}

# One editable install serves one checkout: point it here when it points elsewhere.
install_package() {
    local env=$1
    [ -f "$env/checkout" ] && [ "$(cat "$env/checkout")" = "$root" ] && return
    say "installing wkd_det from $root in editable mode"
    "$env/bin/python" -m pip --disable-pip-version-check install --quiet --no-deps \
        --no-build-isolation --editable "$root" >&2
    printf '%s' "$root" >"$env/checkout"
}

main() {
    local python key env wheels
    python=$(find_python)
    key=$({
        "$python" -c 'import platform, sys; print(sys.version, *platform.libc_ver(), platform.system(), platform.machine())'
        cat "$root/constraints.txt"
    } | sha256sum | cut -c1-16)
    env=$home/env-$key
    wheels=$home/mmcv-$(pinned mmcv)-torch-$(pinned torch)-cp311-$(uname -s)-$(uname -m)
    mkdir -p "$home"
    exec 9>"$home/env-$key.lock"
    flock 9 # a second call waits for the first instead of building at the same time
    if [ ! -f "$env/complete" ]; then build "$python" "$env" "$wheels"; fi
    install_package "$env"
    printf '%s\n' "$env/bin/python"
}

main

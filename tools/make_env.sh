#!/usr/bin/env bash
# Builds the tested environment and prints the path of its Python interpreter.
#
# The environment holds exactly what constraints.txt pins and lies outside the checkout, in
# a folder named by the hash of that file, of the Python version and of the machine, so that
# another checkout with the same pins finds it finished. The package itself is installed in
# editable mode from this checkout. Everything but the path goes to standard error.
#
# An interrupted set-up is started over at the next call: what was downloaded and compiled is
# kept, and an environment without the file `complete` is not used.
#
# Variables: MMCV (lite, the default: no compiler; compiled: constraints-compiled.txt),
# PYTHON (base interpreter), WKD_DET_HOME (where environments live), MAX_JOBS (compile jobs
# for mmcv), and those of pip.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
home=${WKD_DET_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/wkd_det}

say() { printf '[env] %s\n' "$*" >&2; }
die() { printf '[env] error: %s\n' "$*" >&2; exit 1; }

case ${MMCV:-lite} in
    lite) pins=$root/constraints.txt oldest=10 newest=13 ;;
    compiled) pins=$root/constraints-compiled.txt oldest=11 newest=11 ;;
    *) die "MMCV must be lite or compiled, got '$MMCV'" ;;
esac

# Whether an interpreter has a pinned version and can make environments.
is_suitable() {
    "$1" -c "import ensurepip, sys, venv
sys.exit(not (3, $oldest) <= sys.version_info[:2] <= (3, $newest))" 2>/dev/null
}

find_python() {
    local candidate minor candidates=python3
    for ((minor = newest; minor >= oldest; minor--)); do candidates+=" python3.$minor"; done
    for candidate in ${PYTHON:-$candidates}; do
        if is_suitable "$candidate"; then
            "$candidate" -c 'import sys; print(sys.executable)'
            return
        fi
    done
    local versions="3.$oldest to 3.$newest"
    [ "$oldest" != "$newest" ] || versions=3.$oldest
    die "Python $versions with venv is needed for the pinned versions and none of" \
        "'${PYTHON:-$candidates}' is it; install it (Debian: apt-get install python3-venv)" \
        "or set PYTHON=/path/to/python3"
}

check_compiler() {
    command -v "${CXX:-c++}" >/dev/null ||
        die "no C++ compiler ('${CXX:-c++}') was found and mmcv must be compiled;" \
            "install one (Debian: apt-get install g++), set CXX, or do without: MMCV=lite"
    local include
    include=$("$1" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    [ -f "$include/Python.h" ] ||
        die "Python.h is missing in $include and mmcv must be compiled; install the headers of" \
            "this Python (Debian: apt-get install python3-dev), or do without: MMCV=lite"
}

pinned() { sed -n "s/^$1==//p" "$pins"; }

# Waits for another call that holds the lock, also for what a killed one left behind.
lock() {
    local descriptor
    exec {descriptor}>"$1"
    flock --nonblock "$descriptor" || {
        say "another set-up is at work on ${1%.lock}; waiting for its end"
        flock "$descriptor"
    }
}

# Whatever is started with this dies with a killed set-up, where the machine can do that.
bound=()
if setpriv --pdeathsig KILL true 2>/dev/null; then bound=(setpriv --pdeathsig KILL); fi

# pip's output as one line per step, and every ten seconds how far the unpacking is.
install() {
    local env=$1 ticker
    shift
    { # a killed set-up leaves nothing that holds its lock for longer than a tick
        trap 'kill $! 2>/dev/null; exit' TERM
        while sleep 10 & wait $! && kill -0 $$ 2>/dev/null; do
            say "$(find "$env" -maxdepth 5 -name '*.dist-info' | wc -l) packages are in place," \
                "$(($(date +%s) - started)) s so far"
        done
    } &
    ticker=$!
    local code=0
    ${bound[@]+"${bound[@]}"} "$env/bin/python" -m pip --disable-pip-version-check install \
        --prefer-binary --progress-bar off "$@" 2>&1 | tee -a "$env/pip.log" | awk '
            /^Collecting /   { found++ }
            / Downloading /  { sub(/^ */, ""); printf "[env] package %d: %s\n", found, $0; fflush() }
            /^Building /     { printf "[env] %s\n", $0; fflush() }
            /^Installing collected/ {
                printf "[env] unpacking %d packages\n", found
                fflush()
            }' >&2 || code=$?
    kill "$ticker"
    wait "$ticker" 2>/dev/null || true
    if [ "$code" != 0 ]; then
        tail -n 20 "$env/pip.log" >&2
        die "pip failed; its last lines stand above, all of it in $env/pip.log. The same command" \
            'goes on with what was downloaded'
    fi
}

# Compiles mmcv once for each (mmcv, torch, Python, machine); the folder's name carries them
# all, so a wheel never meets another torch. Objects of an interrupted compilation are kept in
# the build folder and used again; the rename at the end makes the wheel all or nothing.
build_mmcv() {
    local python=$1 wheels=$2 work=$2.build
    lock "$wheels.lock"
    if ls "$wheels"/mmcv-*.whl >/dev/null 2>&1; then
        say "mmcv: reusing $(ls "$wheels"/mmcv-*.whl)"
        return
    fi
    check_compiler "$python"
    if [ ! -f "$work/source/setup.py" ]; then
        rm -rf "$work"
        mkdir -p "$work/unpacked"
        say "mmcv: downloading the source of $(pinned mmcv)"
        "$python" -m pip --disable-pip-version-check download --quiet --no-deps --no-binary mmcv \
            --no-build-isolation --dest "$work" "mmcv==$(pinned mmcv)" >&2
        tar -xzf "$work"/mmcv-*.tar.gz --strip-components=1 -C "$work/unpacked"
        mv "$work/unpacked" "$work/source"
    fi
    say "mmcv: compiling $(pinned mmcv) for torch $(pinned torch) (10 to 17 minutes on 2 cores;" \
        "log: $work/build.log)"
    if ! PATH="$(dirname "$python"):$PATH" MMCV_WITH_OPS=1 CFLAGS="${CFLAGS:--O2 -g0}" \
        MAX_JOBS="${MAX_JOBS:-$(getconf _NPROCESSORS_ONLN)}" \
        "$python" -m pip wheel --verbose --no-deps --no-build-isolation --no-cache-dir \
        --wheel-dir "$work/wheel" "$work/source" 2>&1 |
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
    [ ! -d "$env" ] || say "$env was not finished and is made again"
    rm -rf "$env"
    say "creating $env with $python"
    "$python" -m venv "$env"
    install "$env" "pip==$(pinned pip)" "setuptools==$(pinned setuptools)" \
        "wheel==$(pinned wheel)"
    say 'downloading torch and everything else'
    grep -vE '^(#|mmcv==)' "$pins" >"$env/prebuilt.txt"
    install "$env" -r "$env/prebuilt.txt"
    if [ "${MMCV:-lite}" = compiled ]; then
        build_mmcv "$env/bin/python" "$wheels"
        install "$env" --no-deps --no-index "$wheels"/mmcv-*.whl
    fi
}

# One editable install serves one checkout: point it here when it points elsewhere.
install_package() {
    local env=$1
    [ -f "$env/checkout" ] && [ "$(cat "$env/checkout")" = "$root" ] && return
    say "installing wkd_det from $root in editable mode"
    rm -f "$env/checkout"
    "$env/bin/python" -m pip --disable-pip-version-check install --quiet --no-deps \
        --no-build-isolation --editable "$root" >&2
    printf '%s' "$root" >"$env/checkout"
}

# All that is used must import before the environment counts as finished.
finish() {
    say 'importing mmcv.ops, mmdet and torchvision from it'
    (cd / && "$1/bin/python" -W ignore -c 'import mmcv.ops, mmdet, torchvision') ||
        die 'the finished environment does not import mmcv.ops, mmdet and torchvision'
    touch "$1/complete"
    say "finished in $(($(date +%s) - started)) s"
}

main() {
    local python key env wheels
    started=$(date +%s)
    python=$(find_python)
    key=$({
        "$python" -c 'import platform, sys; print(sys.version, *platform.libc_ver(), platform.system(), platform.machine())'
        cat "$pins"
    } | sha256sum | cut -c1-16)
    env=$home/env-$key
    wheels=$home/mmcv-$(pinned mmcv)-torch-$(pinned torch)-cp311-$(uname -s)-$(uname -m)
    mkdir -p "$home"
    lock "$home/env-$key.lock"
    if [ -f "$env/complete" ]; then
        install_package "$env"
    else
        build "$python" "$env" "$wheels"
        install_package "$env"
        finish "$env"
    fi
    printf '%s\n' "$env/bin/python"
}

main; exit # in one line: bash reads no further, whatever happens to this file meanwhile

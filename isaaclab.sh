#!/usr/bin/env bash
# Finds (or makes, once) a Python environment with Isaac Lab and hands every argument to Isaac Lab's own CLI.
# Run it with no arguments for help.
set -euo pipefail

root=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
venv=$root/.venv
stamp=$venv/.installed # written last: what is in .venv is complete exactly when this file is right
log=$venv/install.log
: "${HOME:=/}" # batch systems may leave it unset

say() { printf 'isaaclab.sh: %s\n' "$*" >&2; }
die() {
    say "$@"
    exit 1
}

usage() {
    cat <<EOF
Usage: ./isaaclab.sh COMMAND [ARGUMENTS]

  -p scripts/train.py --task SAPG-Allegro-Reorient     train SAPG (add --help for the options)
  -p scripts/play.py --task SAPG-Allegro-Reorient      show the trained policy
  -p scripts/evaluate.py --task SAPG-Allegro-Reorient  measure it
  -p -m pytest                                         run the tests
  -p FILE | -m MODULE | -c CODE                        run Python in the project's environment
  list_envs | train | zero_agent | random_agent | ...  Isaac Lab's own commands; all of them: -p -m isaaclab --help
  -i                                                   only make the environment, then stop

The environment is, in this order: the Isaac Lab checkout named by ISAACLAB_PATH; the active virtual or conda
environment, if it has Isaac Lab; the project's own .venv, which the first start makes with Python 3.12.
EOF
}

# ---- running ---------------------------------------------------------------------------------------------------------

# ROS and others put packages of their own on PYTHONPATH, before ours and with plugins that pytest loads. Folders of modules
# stay: they may hold somebody's tasks.
drop_foreign_packages() {
    local entry kept="" entries
    IFS=: read -ra entries <<<"${PYTHONPATH:-}"
    for entry in "${entries[@]}"; do
        case ${entry%/} in
        */site-packages | */dist-packages) say "note: leaving $entry out of PYTHONPATH" ;;
        *) kept+=${kept:+:}$entry ;;
        esac
    done
    if [[ -n $kept ]]; then export PYTHONPATH=$kept; else unset PYTHONPATH; fi
}

# run PYTHON LINKED ARGUMENTS...: LINKED is 1 where Isaac Lab starts Python through an Isaac Sim linked to its checkout.
run() {
    local python=$1 linked=$2
    shift 2
    unset PYTHONHOME
    [[ $linked == 1 ]] || drop_foreign_packages
    # "-p" runs Python itself. Isaac Lab's CLI would run it as a child, which a SIGTERM to the CLI never reaches and
    # which a CTRL-C kills after a quarter of a second: too soon to write a checkpoint. Only where the CLI does more
    # (a linked Isaac Sim, libraries to preload on ARM) is "-p" left to it.
    if [[ $1 == -p || $1 == --python ]] && [[ $linked == 0 && $HOSTTYPE == x86_64 ]]; then
        shift
        exec "$python" "$@"
    fi
    exec "$python" -P -m isaaclab "$@"
}

# Prints "LINKED ORIGIN" for an environment that has Isaac Lab; ORIGIN is the file sapg_isaaclab comes from, or nothing.
probe_environment() {
    "$1/bin/python" -P - 2>/dev/null <<'EOF'
import importlib.util, pathlib, sys

lab, ours = (importlib.util.find_spec(name) for name in ("isaaclab", "sapg_isaaclab"))
if lab is None or lab.origin is None:
    sys.exit(1)
package = pathlib.Path(lab.origin).resolve().parent
linked = any((folder / "_isaac_sim").exists() for folder in (package, *package.parents[2:3]))
print(int(linked), ours.origin if ours and ours.origin else "")
EOF
}

run_in_active_environment() {
    local environment found linked origin
    for environment in "${VIRTUAL_ENV:-}" "${CONDA_PREFIX:-}"; do
        [[ -n $environment && -x $environment/bin/python ]] || continue
        [[ ! $environment -ef $venv ]] || return 0
        found=$(probe_environment "$environment") || continue
        read -r linked origin <<<"$found"
        [[ -n $origin ]] || die "$environment has Isaac Lab but not this project; add it with:" \
            "$environment/bin/python -m pip install -e '$root'"
        [[ $origin == "$root"/* ]] || say "note: sapg_isaaclab comes from ${origin%/*}, not from this checkout"
        # Isaac Lab's CLI looks at VIRTUAL_ENV first.
        [[ $environment == "${VIRTUAL_ENV:-}" ]] || unset VIRTUAL_ENV
        run "$environment/bin/python" "$linked" "$@"
    done
}

# ---- installing ------------------------------------------------------------------------------------------------------

# What .venv was made from. The tool settings at the end of pyproject.toml install nothing.
fingerprint() {
    printf '%s\n' "$root"
    sed '/^\[tool\.ruff/,$d' "$root/pyproject.toml"
}

ready() { [[ -x $venv/bin/python && -f $stamp && $(<"$stamp") == "$(fingerprint)" ]]; }

# Running a candidate is the only test that counts: a version manager's python3.12 may be a stub that only fails.
is_python312() {
    "$1" -c 'import ctypes, ssl, sys; sys.exit(sys.version_info[:2] != (3, 12))' </dev/null >/dev/null 2>&1
}

candidates() {
    type -aP python3.12 python3 python || true
    ! command -v uv >/dev/null || uv python find --no-project 3.12 2>/dev/null || true
    printf '%s\n' "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12*/bin/python3.12 \
        "${UV_PYTHON_INSTALL_DIR:-$HOME/.local/share/uv/python}"/cpython-3.12*/bin/python3.12 \
        "${CONDA_PREFIX:-$HOME/miniconda3}"/bin/python3.12 \
        "$HOME"/{miniconda,miniforge,anaconda}3/{,envs/*/}bin/python3.12
}

# Sets python to a Python 3.12 that can make virtual environments.
find_python() {
    local candidate without_venv=""
    while read -r candidate; do
        if [[ ! -x $candidate ]] || ! is_python312 "$candidate"; then continue; fi
        python=$candidate
        "$candidate" -c 'import ensurepip, venv' </dev/null >/dev/null 2>&1 && return
        without_venv=$candidate
    done < <(candidates)
    if [[ -n $without_venv ]]; then
        python=$without_venv
        need_packages "$without_venv cannot make virtual environments" python3.12-venv
        return
    fi
    die "no Python 3.12 found: 'sudo apt-get install python3.12-venv' on Ubuntu 24.04; elsewhere install uv" \
        "(https://docs.astral.sh/uv), then 'uv python install 3.12'."
}

# need_packages WHY PACKAGE...: installs Debian packages where that needs no question, else says which.
need_packages() {
    local why=$1
    shift
    if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
        die "$why; first run: sudo apt-get install -y --no-install-recommends $*"
    fi
    say "$why: installing $* with apt-get"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update && apt-get install -y --no-install-recommends "$@"; } </dev/null >/dev/null 2>&1 ||
        die "apt-get could not do it; run: apt-get update && apt-get install -y --no-install-recommends $*"
}

# PhysX's USD stage links to OpenGL even where nothing is drawn, and pictures are drawn through EGL.
check_system() {
    local missing free
    missing=$("$python" - <<'EOF'
import ctypes, os

glibc = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()[-1:]
if not glibc or tuple(map(int, glibc[0].split(".")[:2])) < (2, 35):
    print("glibc 2.35 or newer (Debian 12, Ubuntu 22.04)")
else:
    for name in ("libGL.so.1", "libOpenGL.so.0", "libEGL.so.1", "libX11.so.6", "libgomp.so.1"):
        try:
            ctypes.CDLL(name)
        except OSError:
            print(name)
            break
EOF
    ) || die "$python cannot load system libraries."
    case $missing in
    glibc*) die "PhysX needs $missing." ;;
    ?*) need_packages "PhysX needs $missing" libgl1 libopengl0 libegl1 libx11-6 libgomp1 ;;
    esac
    [[ ! -d $venv/lib/python3.12/site-packages/torch ]] || return 0
    free=$(($(df -k --output=avail "$root" | tail -n 1) / 1000000))
    ((free >= 14)) || die "the installation needs 14 GB of disk while it runs; $root has $free GB free."
}

# Shows of pip's output what takes long. (Not in awk: some read a pipe only in blocks, minutes late.)
progress() {
    local line
    while IFS= read -r line; do
        if [[ $line =~ (Downloading|Using\ cached)\ (.*/)?([A-Za-z0-9_.]+)-[^/]*\ \(([0-9]+)[0-9.]*\ ([MG])B ]]; then
            if [[ ${BASH_REMATCH[5]} == G ]] || ((BASH_REMATCH[4] >= 150)); then
                printf '  %s (%s %sB)\n' "${BASH_REMATCH[@]:3:3}" >&2
            fi
        elif [[ $line == "Installing collected packages:"* ]]; then
            echo "  unpacking" >&2
        fi
    done
}

pip_install() {
    # A package without RECORD was cut off while it was unpacked, yet pip would take it for installed.
    local info status=0
    for info in "$venv"/lib/python3.12/site-packages/*.dist-info; do
        [[ ! -d $info || -f $info/RECORD ]] || rm -rf -- "$info"
    done
    (
        # Robot software likes to set these; its packages must not count as ours.
        unset PYTHONPATH PYTHONHOME PIP_TARGET PIP_PREFIX
        # Unpack in .venv: /tmp may be small. pip would compile in one process: see compile_all.
        export TMPDIR=$venv/tmp PIP_USER=0 PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1
        mkdir -p -- "$TMPDIR" && cd -- "$root" &&
            { "$venv/bin/python" -c 'import importlib.metadata as m; m.version("pip")' 2>/dev/null ||
                "$venv/bin/python" -m ensurepip --upgrade; } &&
            "$venv/bin/python" -m pip install --progress-bar off --no-compile -e '.[dev]'
    ) </dev/null 2>&1 | tee "$log" | progress || status=$?
    rm -rf -- "$venv/tmp"
    return "$status"
}

# Without byte code every start would compile thousands of modules anew where PYTHONDONTWRITEBYTECODE is set, as it is in
# many containers. What does not compile (templates, code of old Pythons) is never imported.
compile_all() {
    say "compiling, once, so that every start is fast"
    "$venv/bin/python" -P -m compileall -q -j 0 -x '/tests?/' "$venv/lib/python3.12/site-packages" "$root/source" \
        </dev/null >/dev/null 2>&1 || true
}

install() {
    [[ -w $root ]] || die "no complete .venv in $root, and no right to write one there."
    # What is behind a link belongs to somebody else, and making an environment anew clears its folder.
    [[ ! -L $venv ]] || die "$venv is a link to $(readlink -f -- "$venv"), which was not made for this checkout;" \
        "remove the link, or activate that environment instead."
    exec 9>>"$root/.venv.lock"
    if command -v flock >/dev/null && ! flock -n 9; then
        say "another start is installing; waiting for it"
        flock 9
    fi
    if ! ready; then
        trap 'say "interrupted; the next start goes on from here"; exit 130' INT TERM
        local python=$venv/bin/python keep=1
        # An environment cannot be moved: its scripts hold its path.
        [[ ! -f $stamp || $(head -n 1 "$stamp") == "$root" ]] || keep=0
        is_python312 "$python" || keep=0
        [[ $keep == 1 ]] || find_python
        check_system
        if [[ $keep == 1 && -d $venv/lib/python3.12/site-packages/torch ]]; then
            say "bringing .venv up to date with pyproject.toml"
        else
            [[ -z ${VIRTUAL_ENV:-} ]] || say "$VIRTUAL_ENV has no Isaac Lab; leaving it as it is"
            say "installing Isaac Lab, PhysX and torch into .venv: about 9 GB and 5 to 10 minutes, once"
        fi
        [[ $keep == 1 ]] || "$python" -m venv --clear "$venv" || die "$python could not make $venv."
        if ! pip_install; then
            tail -n 15 "$log" >&2
            die "the installation failed; all of pip's output is in $log. The next start goes on from here."
        fi
        compile_all
        fingerprint >"$stamp.new"
        mv -f -- "$stamp.new" "$stamp"
        trap - INT TERM
        say "installed"
    fi
    exec 9>&-
}

main() {
    case ${1:-} in
    "" | -h | --help)
        usage
        exit 0
        ;;
    esac
    if [[ -n ${ISAACLAB_PATH:-} ]]; then
        local theirs=$ISAACLAB_PATH/isaaclab.sh
        [[ -f $theirs ]] || die "ISAACLAB_PATH is '$ISAACLAB_PATH', where there is no isaaclab.sh; correct or unset it."
        [[ ! $theirs -ef $root/isaaclab.sh ]] ||
            die "ISAACLAB_PATH names this project; it must name a checkout of Isaac Lab, or be unset."
        exec bash "$theirs" "$@"
    fi
    run_in_active_environment "$@"
    ready || install
    export VIRTUAL_ENV=$venv PATH=$venv/bin:$PATH
    # Isaac Lab's own "-i" would change packages that pyproject.toml pins.
    if [[ $# == 1 && ($1 == -i || $1 == --install) ]]; then
        say "ready: $venv"
        exit 0
    fi
    run "$venv/bin/python" 0 "$@"
}

main "$@"

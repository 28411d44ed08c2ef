#!/usr/bin/env bash
# Renews all locks, tells what changed, checks that they hold on every Python and machine the suite runs on, and runs
# the fast tests on the result.
#   scripts/update_locks.sh               every package in its newest release
#   scripts/update_locks.sh --keep        only what the .in files ask for anew; all other versions stay
#   scripts/update_locks.sh --check       changes nothing: resolves each lock for each Python and machine
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
cd "$root"
mode="${1-}"
case "$mode" in '' | --keep | --check) ;; *) echo "Usage: $0 [--keep | --check]" >&2; exit 2 ;; esac

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
export MACOSX_DEPLOYMENT_TARGET=14.0 # the oldest that makers still build for
pythons=(3.11 3.12 3.13 3.14)
machines=(x86_64-manylinux_2_28 aarch64-manylinux_2_28 aarch64-apple-darwin)

# Each lock: the .in files it is made from, after a colon the lock whose versions it must share.
locks=(requirements requirements-test requirements-alerts requirements-telegram requirements-ray requirements-strategies
    requirements-agents)
declare -A sources=(
    [requirements]='requirements.in'
    [requirements-test]='requirements-test.in requirements-bench.in'
    [requirements-alerts]='requirements-alerts.in'
    [requirements-telegram]='requirements-telegram.in'
    [requirements-ray]='requirements-ray.in'
    [requirements-strategies]='requirements-strategies.in'
    [requirements-agents]='requirements-agents.in'
)
declare -A beside=(
    [requirements]='Python 3.11 to 3.14.'
    [requirements-test]='Beside requirements.txt; ./scripts/test.sh installs it.'
    [requirements-alerts]='Optional, beside requirements.txt.'
    [requirements-telegram]='Optional, beside requirements.txt; ./scripts/start_telegram_bot.sh installs it.'
    [requirements-ray]='Optional, beside requirements.txt.'
    [requirements-strategies]='Optional, beside requirements.txt.'
    [requirements-agents]='In an environment of its own, Python 3.11 to 3.13.'
)

# Installs the uv that is locked, apart: the environment may be what has to be repaired.
get_uv() {
    python3 -m venv "$work/venv"
    sed -n '/^uv==/,/^[^ ]/{/^uv==/p;/^ /p}' requirements-test.txt >"$work/uv.txt"
    "$work/venv/bin/python" scripts/install_packages.py "$work/uv.txt" >/dev/null
    uv="$work/venv/bin/uv"
}

# pins FILE: name==version of each line, sorted.
pins() { sed -nE 's/^([A-Za-z0-9][^ ;\\]*==[^ ;\\]+).*/\1/p' "$1" | sort; }

# names FILE: the same without extras.
names() { pins "$1" | sed -E 's/\[[^]]*\]//' | sort -u; }

# Repeats each pin that has extras without them: pip looks up both, and finds both pinned.
with_plain_names() {
    awk '/^[^ ]/ { if (again) printf "%s", again; again = ""; twice = /^[A-Za-z0-9._-]+\[/ }
        twice { line = $0; if (line ~ /^[^ ]/) sub(/\[[^]]*\]/, "", line); again = again line "\n" }
        { print }
        END { printf "%s", again }'
}

# compile LOCK: writes the lock anew, for all platforms and with the digests of all files.
compile() {
    local lock="$1" old=() inputs=()
    read -ra inputs <<<"${sources[$lock]}"
    if [[ $lock != requirements && $lock != requirements-agents ]]; then old+=(--constraint "$work/requirements.pins"); fi
    if [[ $mode == --keep && -e $lock.txt ]]; then
        names "$lock.txt" >"$work/$lock.old"
        old+=(--constraint "$work/$lock.old")
    fi
    {
        echo "# Made by scripts/update_locks.sh from ${sources[$lock]/ / and }. ${beside[$lock]}"
        "$uv" pip compile --quiet "${inputs[@]}" "${old[@]}" --generate-hashes --universal --python-version 3.11 \
            --no-strip-extras --no-emit-index-url --no-emit-find-links --no-header --no-annotate | with_plain_names
    } >"$work/$lock.txt"
    names "$work/$lock.txt" >"$work/$lock.pins"
}

# tell LOCK: prints what the new one adds, drops and changes.
tell() {
    diff <(pins "$1.txt" 2>/dev/null) <(pins "$work/$1.txt") | sed -nE 's/^([<>]) (.*)/   \1 \2/p' >"$work/changes" || true
    if [[ -s $work/changes ]]; then
        echo "$1.txt:"
        cat "$work/changes"
    else
        echo "$1.txt: the same versions"
    fi
}

# check LOCK: resolves it for each Python and machine, all at once, from ready-made files; ta alone exists as source only.
check() {
    local lock="$1" python machine ours=("${pythons[@]}") each
    if [[ $lock == requirements-agents ]]; then ours=(3.11 3.12 3.13); fi
    for python in "${ours[@]}"; do
        for machine in "${machines[@]}"; do resolve "$lock" "$python" "$machine" >"$work/$lock $python $machine.fault" 2>&1 & done
    done
    wait
    for each in "$work/$lock "*.fault; do
        if [[ -s $each ]]; then echo "❌ ${each##*/}"; cat "$each"; failed=1; fi
    done
    echo "checked $lock.txt: Python ${ours[*]} on ${machines[*]}"
}

# resolve LOCK PYTHON MACHINE: prints nothing if the lock holds everything that is wanted there, in one solution.
resolve() {
    local resolved="$work/$1 $2 $3.txt"
    "$uv" pip compile --quiet "$1.txt" --no-header --no-annotate --no-strip-extras --only-binary :all: --no-binary ta \
        --python-version "$2" --python-platform "$3" >"$resolved" || return 0
    comm -13 <(names "$1.txt") <(names "$resolved") | sed 's/$/ is needed and not in the lock/'
}

get_uv
if [[ $mode != --check ]]; then
    for lock in "${locks[@]}"; do
        compile "$lock"
        tell "$lock"
    done
    for lock in "${locks[@]}"; do mv "$work/$lock.txt" "$lock.txt"; done
fi
failed=0
for lock in "${locks[@]}"; do check "$lock"; done
if ((failed)); then exit 1; fi
if [[ $mode != --check ]]; then ./scripts/test.sh; fi

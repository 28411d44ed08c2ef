#!/usr/bin/env bash
# What has to exist before anything runs: Python, its packages and .env. Sourced; does nothing twice.

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)"
python="$root/.venv/bin/python"
wanted_locks=(requirements.txt) # what has to be installed; test.sh adds what tests need
generated_secrets=(BOT_CONTROL_PIN FLASK_SECRET_KEY PAPER_API_KEY PAPER_API_SECRET)

# Prints the value of a setting as the programs see it: the environment, else .env, else the second argument.
setting() {
    local value="${!1-}"
    if [[ -z $value && -r $root/.env ]]; then value="$(value_in_file "$1" "$root/.env")"; fi
    printf '%s' "${value:-${2-}}"
}

value_in_file() {
    local line value=''
    while IFS= read -r line || [[ -n $line ]]; do
        line="${line%$'\r'}"
        if [[ $line =~ ^[[:space:]]*(export[[:space:]]+)?"$1"[[:space:]]*=[[:space:]]*(.*)$ ]]; then
            value="${BASH_REMATCH[2]}"
        fi
    done <"$2"
    case "$value" in
        \"*\"*) value="${value#\"}" value="${value%%\"*}" ;;
        \'*\'*) value="${value#\'}" value="${value%%\'*}" ;;
        \#*) value='' ;;
        *) value="${value%%[[:space:]]#*}" value="${value%"${value##*[![:space:]]}"}" ;;
    esac
    printf '%s' "$value"
}

prepare_environment() {
    local code
    umask 077
    mkdir -p "$root/logs" "$root/state"
    exec 8>"$root/state/environment.lock"
    if ! flock -w 900 8; then
        echo "Another start has been installing for 15 minutes." >&2
        return 75
    fi
    { is_installed || { make_venv && install_packages; }; } && make_env_file
    code=$?
    exec 8>&-
    return "$code"
}

is_recent_python() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    local name
    for name in python3 python3.14 python3.13 python3.12 python3.11 python; do
        if command -v "$name" >/dev/null && is_recent_python "$name"; then
            command -v "$name"
            return
        fi
    done
    return 1
}

make_venv() {
    if [[ -x $python ]] && is_recent_python "$python" && "$python" -c 'import pip' 2>/dev/null; then return; fi
    local base
    base="$(find_python)" || { install_debian_packages python3 python3-venv && base="$(find_python)"; } || {
        echo "Python 3.11 or newer is needed: install it (Debian, Ubuntu: sudo apt-get install python3-venv)." >&2
        return 1
    }
    can_make_venv "$base" || install_debian_packages python3-venv || true
    if ! can_make_venv "$base"; then
        echo "Python's venv module is missing: type \`sudo apt-get install python3-venv\`, then start again." >&2
        return 1
    fi
    echo "📦 Making the virtual environment in .venv ..."
    rm -rf "$root/.venv"
    "$base" -m venv "$root/.venv"
}

can_make_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

install_debian_packages() {
    if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then return 1; fi
    echo "📦 Installing $* ..."
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@"; } >/dev/null </dev/null
}

# False when a lock (of wanted_locks, or installed earlier) or Python is another than at the last good
# installation, of which install_packages.py keeps a copy of each lock.
is_installed() {
    local lock records
    records="$root/.venv/locks/$("$python" -V 2>/dev/null)"
    for lock in "${wanted_locks[@]}"; do cmp -s "$root/$lock" "$records/$lock" || return 1; done
    for lock in "$records"/requirements*.txt; do
        if [[ -e $root/${lock##*/} ]] && ! cmp -s "$root/${lock##*/}" "$lock"; then return 1; fi
    done
}

install_packages() { "$python" "$root/scripts/install_packages.py" "${wanted_locks[@]/#/"$root/"}"; }

make_env_file() {
    local file="$root/.env"
    if [[ ! -e $file ]]; then
        cat "$root/.env.example" >"$file" || return 73
        echo "🔑 Wrote .env: settings with their defaults, and secrets made for this machine alone."
    fi
    # Trading live with an open file is refused by the programs, so that somebody hears of it.
    if [[ $(stat -c %a "$file") != ?00 ]] && ! is_live; then
        chmod 600 "$file"
        echo "🔑 .env could be read by others: repaired (0600)."
    fi
    fill_secrets "$file"
}

is_live() {
    local mode
    mode="$(setting TRADING_MODE)"
    [[ ${mode,,} == live ]] && return
    [[ -z $mode && $(setting USE_TESTNET true) =~ ^([Ff]alse|FALSE|0|no|off)$ && -n $(setting BINANCE_API_KEY) ]]
}

# Gives each secret of ours that is empty or an example a random value. Built-ins only: an argument list is public.
fill_secrets() {
    local name value missing=()
    for name in "${generated_secrets[@]}"; do
        value="$(value_in_file "$name" "$1")"
        case "$value" in '' | 123456 | 000000 | change-this-in-production | changeme | change-me) missing+=("$name") ;; esac
    done
    ((${#missing[@]})) || return 0
    {
        local line found=' '
        while IFS= read -r line || [[ -n $line ]]; do
            for name in "${missing[@]}"; do
                if [[ $line =~ ^[[:space:]]*(export[[:space:]]+)?"$name"[[:space:]]*= ]]; then
                    [[ $found == *" $name "* ]] && continue 2
                    line="$name=$(random_secret "$name")"
                    found+="$name "
                fi
            done
            printf '%s\n' "$line"
        done <"$1"
        for name in "${missing[@]}"; do
            if [[ $found != *" $name "* ]]; then printf '%s=%s\n' "$name" "$(random_secret "$name")"; fi
        done
    } >"$1.new" && chmod 600 "$1.new" && mv "$1.new" "$1" || return 73
    echo "🔑 Made ${missing[*]} (kept in .env)."
}

random_secret() {
    local digits=123456
    if [[ $1 == BOT_CONTROL_PIN ]]; then
        while [[ $digits == 123456 || $digits == 000000 ]]; do
            printf -v digits '%06d' $(($(od -An -N4 -tu4 /dev/urandom) % 1000000))
        done
        printf '%s' "$digits"
    else
        head -c 128 /dev/urandom | base64 -w 0 | tr -dc 'A-Za-z0-9' | cut -c 1-64  # the form of Binance's own keys
    fi
}

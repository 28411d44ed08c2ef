#!/usr/bin/env bash
# All services together. Sourced by restart_all.sh, stop_all.sh and status_all.sh after environment.sh.

: "${root:?}" "${python:?}"

# In the order in which they are told and shown. All but the exchange may start and stop at the same time.
# shellcheck disable=SC2034  # the scripts go through them
services=(paper_exchange rl_bot chart_bot mcp_server web_dashboard telegram_bot watcher)
declare -A script_of=([watcher]=watch.sh) part_file=(
    [paper_exchange]=src/paper_exchange/__main__.py [rl_bot]=src/trading_bot.py [chart_bot]=src/chart_analysis_bot.py
    [mcp_server]=src/mcp_server.py [web_dashboard]=src/web_dashboard.py [watcher]=src/monitoring/watchdog.py
    [telegram_bot]=src/apps/telegram_bot.py
)
# First the watcher, since it starts again what ends; last the exchange, since the bot looks after its stops there.
# shellcheck disable=SC2034
users=(rl_bot chart_bot mcp_server web_dashboard telegram_bot)
declare -A failed=() task=() # who did not do what it was told; who is at it
if [[ -t 1 ]]; then export on_terminal=yes; fi
scratch="$(mktemp -d)"
asker=''             # asks again and again how all are
trap 'if [[ -n $asker ]]; then kill "$asker"; fi; rm -rf "$scratch"' EXIT

# Whether a service is there to be run: its code, and of the Telegram bot the token (or a process to be stopped).
is_built() {
    [[ -e $root/${part_file[$1]} ]] || return 1
    [[ $1 != telegram_bot || -n $(setting TELEGRAM_BOT_TOKEN) || -e $root/logs/telegram_bot.pid ]]
}

manage() { "$root/scripts/${script_of[$1]-start_$1.sh}" "${@:2}"; }

# begin VERB NAME...: lets all of them do it, at once and in the background.
begin() {
    local verb="$1" each
    shift
    for each; do
        if ! is_built "$each"; then continue; fi
        manage "$each" "$verb" >"$scratch/$each.out" 2>"$scratch/$each.err" &
        task[$each]=$!
    done
}

# finish NAME...: waits for each, tells of it, and notes in `failed` who did not do what it was told.
finish() {
    local each
    for each; do
        if [[ -z ${task[$each]-} ]]; then continue; fi
        wait "${task[$each]}" || failed[$each]=$?
        unset "task[$each]"
        cat "$scratch/$each.out"
        cat "$scratch/$each.err" >&2
    done
}

# stop_group all | started NAME...: stops these, or those of them that were started; 1 if one could not be.
stop_group() {
    local which="$1" group=("${@:2}")
    if [[ $which == started ]]; then mapfile -t group < <(those_started "${group[@]}"); fi
    begin stop "${group[@]}"
    finish "${group[@]}"
    ((${#failed[@]} == 0))
}

# Prints those that have a PID file, or whom the watcher tries to start.
those_started() {
    local each
    for each; do
        if [[ -e $root/logs/$each.pid || -e $root/logs/$each.wanted ]]; then echo "$each"; fi
    done
}

# Asks once how all services are: one start of Python instead of one each.
read_health() {
    export health_sheet="$scratch/health"
    (cd "$root" && "$python" -m src.monitoring.status_file) >"$health_sheet" 2>"$scratch/problems" || cat "$scratch/problems" >&2
}

# Keeps asking, in the background, until this script ends; sets `mode`. 78 when the settings are wrong.
follow_health() {
    local code=0
    export health_sheet="$scratch/health"
    "$python" -m src.monitoring.status_file "$health_sheet" &
    asker=$!
    until [[ -s $health_sheet ]]; do
        if ! kill -0 "$asker" 2>/dev/null; then
            wait "$asker" || code=$?
            asker=''
            return "$((code ? code : 1))"
        fi
        sleep 0.05
    done
    disown "$asker"
    read -r _ mode <"$health_sheet"
}

rule() {
    printf '━%.0s' {1..60}
    printf '\n'
}

# Whether the paper exchange belongs to the services; decided as src/runtime/settings.py does.
is_paper() {
    local mode
    mode="$(setting TRADING_MODE)"
    if [[ -n $mode ]]; then [[ ${mode,,} == paper ]]; else [[ -z $(setting BINANCE_API_KEY)$(setting BINANCE_SECRET_KEY) ]]; fi
}

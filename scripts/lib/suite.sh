#!/usr/bin/env bash
# All services together. Sourced by restart_all.sh, stop_all.sh and status_all.sh after environment.sh.

: "${root:?}"

# In the order in which they are stopped: first what only looks, last what holds the positions.
stop_order=(web_dashboard mcp_server chart_bot rl_bot paper_exchange)
declare -A part_file=(
    [paper_exchange]=src/paper_exchange/__main__.py [rl_bot]=src/trading_bot.py [chart_bot]=src/chart_analysis_bot.py
    [mcp_server]=src/mcp_server.py [web_dashboard]=src/web_dashboard.py
)

is_built() { [[ -e $root/${part_file[$1]} ]]; }

manage() { "$root/scripts/start_$1.sh" "${@:2}"; }

# Stops every service, also when one of them resists; 1 if one did.
stop_services() {
    local each failed=0
    for each in "${stop_order[@]}"; do
        if is_built "$each"; then manage "$each" stop || failed=1; fi
    done
    return "$failed"
}

rule() {
    printf '━%.0s' {1..60}
    printf '\n'
}

# Whether the paper exchange belongs to the services; decided as src/settings.py does.
is_paper() {
    local mode
    mode="$(setting TRADING_MODE)"
    if [[ -n $mode ]]; then [[ ${mode,,} == paper ]]; else [[ -z $(setting BINANCE_API_KEY)$(setting BINANCE_SECRET_KEY) ]]; fi
}

#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# Makes what is missing, restarts everything, waits until it is healthy and says where to find it.
# A fresh clone needs nothing else. Ends 0 only when all services are healthy.
set -euo pipefail
# shellcheck source=lib/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/environment.sh"
# shellcheck source=lib/suite.sh
source "$root/scripts/lib/suite.sh"

if (($#)); then
    echo "Usage: $0" >&2
    exit 2
fi
cd "$root"
prepare_environment

mode=''
follow_health # wrong settings are found here, before anything that runs is stopped

echo "🔄 Restarting all services (mode: $mode)"
rule
stop_group started watcher || exit 1
stop_group started "${users[@]}" || exit 1
"$python" src/database.py >"$scratch/database" 2>&1 & # the exchange knows nothing of it
database=$!
stop_group started paper_exchange || exit 1
if ! wait "$database"; then
    echo "❌ The database cannot be used; nothing was started." >&2
    cat "$scratch/database" >&2
    exit 65
fi

# The bots alone need the exchange.
if [[ $mode == paper ]]; then begin start paper_exchange; fi
begin start mcp_server web_dashboard telegram_bot watcher
finish paper_exchange
if [[ -v failed[paper_exchange] ]]; then
    echo "The bots are not started: they have no exchange to trade on." >&2
else
    begin start rl_bot chart_bot
fi
finish "${services[@]}"

echo
code=0
"$root/scripts/status_all.sh" || code=1
if is_built web_dashboard; then echo "Dashboard: http://localhost:$(setting DASHBOARD_PORT 5000)"; fi
if is_built mcp_server; then echo "MCP API:   http://localhost:$(setting MCP_PORT 3000)/api/v1/info"; fi
if [[ $mode == paper ]]; then
    echo "Exchange:  http://$(setting PAPER_HOST 127.0.0.1):$(setting PAPER_PORT 3100) (paper: no real money)"
fi
echo "Logs:      ./scripts/start_rl_bot.sh logs"
if ((${#failed[@]} > 0 || code != 0)); then
    echo "❌ Unhealthy services: ${!failed[*]}" >&2
    exit 1
fi
echo "✅ Everything runs."

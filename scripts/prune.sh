#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# Deletes signals, orders, balances, news and usage older than KEEP_DAYS now, as the watcher does once a day.
# Trades, days and the circuit breaker's events are kept for ever.
set -euo pipefail
# shellcheck source=lib/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/environment.sh"

if (($#)); then
    echo "Usage: $0" >&2
    exit 2
fi
cd "$root"
exec "$python" -m src.storage.retention prune

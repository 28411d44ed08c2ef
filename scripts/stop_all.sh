#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# Stops all services: the watcher first, then all that use the exchange, the paper exchange last.
set -euo pipefail
# shellcheck source=lib/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/environment.sh"
# shellcheck source=lib/suite.sh
source "$root/scripts/lib/suite.sh"

if (($#)); then
    echo "Usage: $0" >&2
    exit 2
fi
code=0
stop_group all watcher || code=1
stop_group all "${users[@]}" || code=1
stop_group all paper_exchange || code=1
exit "$code"

#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# The paper exchange, a stand-in for Binance on this machine: start | stop | restart | status | logs
set -euo pipefail
# shellcheck source=lib/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/environment.sh"

service=paper_exchange title="Paper Exchange" short="paper exchange"
command=("$python" -m src.paper_exchange)
port="$(setting PAPER_PORT 3100)" port_setting=PAPER_PORT
address="http://$(setting PAPER_HOST 127.0.0.1):$port"
prepare() { prepare_environment; }
healthy() { "$python" -m src.monitoring.health paper_exchange "$@"; }

# shellcheck source=lib/service.sh
source "$root/scripts/lib/service.sh"
require_built src/paper_exchange/__main__.py "${1-}"
service_main "$@"

#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# The dashboard: start | stop | restart | status | logs
set -euo pipefail
# shellcheck source=lib/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/environment.sh"

service=web_dashboard title="Web Dashboard" short="dashboard"
command=("$python" src/web_dashboard.py)
main_log="$root/logs/web_dashboard.log" error_log="$root/logs/web_dashboard.log"
port="$(setting DASHBOARD_PORT 5000)" port_setting=DASHBOARD_PORT
address="http://localhost:$port"
prepare() { prepare_environment; }
healthy() { "$python" -m src.monitoring.health web_dashboard "$@"; }

# shellcheck source=lib/service.sh
source "$root/scripts/lib/service.sh"
require_built src/web_dashboard.py "${1-}"
service_main "$@"

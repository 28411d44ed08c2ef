#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# The chart analysis bot: start | stop | restart | status | logs
set -euo pipefail
# shellcheck source=lib/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/environment.sh"

service=chart_bot title="Chart Bot" short="chart bot"
command=("$python" src/chart_analysis_bot.py)
prepare() { prepare_environment; }
healthy() { "$python" -m src.monitoring.health chart_bot "$@"; }

# shellcheck source=lib/service.sh
source "$root/scripts/lib/service.sh"
require_built src/chart_analysis_bot.py "${1-}"
service_main "$@"

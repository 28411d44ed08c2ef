#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# The RL trading bot: start | stop | restart | status | logs
set -euo pipefail
# shellcheck source=lib/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/environment.sh"

service=rl_bot title="RL Trading Bot" short="RL bot"
command=("$python" src/trading_bot.py)
prepare() { prepare_environment; }
healthy() { "$python" -m src.monitoring.health rl_bot "$@"; }

# shellcheck source=lib/service.sh
source "$root/scripts/lib/service.sh"
require_built src/trading_bot.py "${1-}"
service_main "$@"

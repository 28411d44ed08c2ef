#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# The watcher: start | stop | restart | status | logs
# It starts again what died or hangs (never what was stopped), tells people what is wrong, and prunes the database.
set -euo pipefail
# shellcheck source=lib/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/environment.sh"

service=watcher title="Watcher" short="watcher"
command=("$python" -m src.monitoring.watchdog)
prepare() { prepare_environment; }
healthy() { "$python" -m src.monitoring.health watcher "$@"; }

# shellcheck source=lib/service.sh
source "$root/scripts/lib/service.sh"
service_main "$@"

#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# The Telegram bot: start | stop | restart | status | logs
set -euo pipefail
# shellcheck source=lib/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/environment.sh"

service=telegram_bot title="Telegram Bot" short="Telegram bot"
command=("$python" -m src.apps.telegram_bot)
prepare() {
    if [[ -z $(setting TELEGRAM_BOT_TOKEN) ]]; then
        echo "TELEGRAM_BOT_TOKEN is empty: write the token of @BotFather into .env (docs/telegram.md)." >&2
        return 78
    fi
    wanted_locks+=(requirements-telegram.txt)
    prepare_environment
}
healthy() { "$python" -m src.monitoring.health telegram_bot "$@"; }

# shellcheck source=lib/service.sh
source "$root/scripts/lib/service.sh"
require_built src/apps/telegram_bot.py "${1-}"
service_main "$@"

#!/usr/bin/env bats
# The whole suite as a newcomer starts it, with the real bot on the real paper exchange. Takes a minute.

setup() {
    here="$(cd "$BATS_TEST_DIRNAME/../.." && pwd -P)"
    [ -e "$here/.venv/installed" ] || skip "run ./scripts/test.sh once: it makes the environment"
    project="$BATS_TEST_TMPDIR/a clone"
    mkdir -p "$project"
    git -C "$here" ls-files -coz --exclude-standard | (cd "$here" && xargs -0 -I{} sh -c 'test -e "$1" && cp --parents "$1" "$2"' _ {} "$project")
    ln -s "$here/.venv" "$project/.venv"
    free_ports
    unset TRADING_MODE TRADING_PAIR TRADING_PAIRS BINANCE_API_KEY BINANCE_SECRET_KEY LEVERAGE
    export PAPER_MARKET=synthetic:5 PAPER_SPEED=60
}

teardown() { if [ -d "$project/scripts" ]; then "$project/scripts/stop_all.sh"; fi; }

free_ports() {
    read -r PAPER_PORT DASHBOARD_PORT MCP_PORT < <(python3 -c '
import socket
held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(each.getsockname()[1] for each in held))')
    export PAPER_PORT DASHBOARD_PORT MCP_PORT
}

pid_of() { cut -d ' ' -f 1 "$project/logs/$1.pid"; }

@test "restart_all alone brings everything up; stop_all takes everything down" {
    run "$project/scripts/restart_all.sh"
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"RL bot started successfully"*"System Status"*"✅ Everything runs."* ]]
    [[ $output == *"http://127.0.0.1:$PAPER_PORT"* ]]

    # secrets are the owner's alone, and in no log
    for file in .env trading_bot.db logs/rl_bot.pid logs/rl_bot_main.log; do
        [ "$(stat -c %a "$project/$file")" = 600 ]
    done
    for name in PAPER_API_SECRET PAPER_API_KEY BOT_CONTROL_PIN FLASK_SECRET_KEY; do
        secret="$(sed -n "s/^$name=//p" "$project/.env")"
        [ -n "$secret" ]
        if grep -rqF "$secret" "$project/logs"; then echo "$name is in a log"; false; fi
    done

    # a wrong setting stops nothing that runs
    bot="$(pid_of rl_bot)"
    LEVERAGE=900 run "$project/scripts/restart_all.sh"
    [ "$status" -eq 78 ]
    [[ $output == *"LEVERAGE"* ]]
    [ "$(pid_of rl_bot)" = "$bot" ]
    run "$project/scripts/status_all.sh"
    [ "$status" -eq 0 ]

    # the bot works: turns are written down
    for _ in {1..60}; do
        turns="$(sqlite3 "$project/trading_bot.db" 'SELECT count(*) FROM signals')"
        ((turns >= 3)) && break
        sleep 0.5
    done
    ((turns >= 3))

    # a bot that was killed is seen, and comes back with everything else
    kill -9 -- "-$bot"
    sleep 0.5
    run "$project/scripts/status_all.sh"
    [ "$status" -ne 0 ]
    [[ $output == *"❌ dead"* ]]
    run "$project/scripts/restart_all.sh"
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$(pid_of rl_bot)" != "$bot" ]

    bot="$(pid_of rl_bot)" exchange="$(pid_of paper_exchange)"
    run "$project/scripts/stop_all.sh"
    [ "$status" -eq 0 ]
    [[ $output != *"killed"* ]]
    [ ! -d "/proc/$bot" ] || grep -q '^State:.*Z' "/proc/$bot/status"
    [ ! -d "/proc/$exchange" ] || grep -q '^State:.*Z' "/proc/$exchange/status"
    run "$project/scripts/start_rl_bot.sh" status
    [ "$status" -eq 3 ]
    [ "$(sqlite3 "$project/trading_bot.db" 'PRAGMA integrity_check')" = ok ]
}

@test "a bot without its exchange is a failed start that says so, and a part not built yet is named" {
    run "$project/scripts/start_rl_bot.sh" start
    [ "$status" -eq 1 ]
    [[ $output == *"RL bot failed to start"* ]]
    rm -f "$project/src/mcp_server.py"
    run "$project/scripts/start_mcp_server.sh" start
    [ "$status" -eq 1 ]
    [[ $output == *"not built yet"* ]]
}

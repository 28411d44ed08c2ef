#!/usr/bin/env bats
# The whole suite as a newcomer starts it, with the real bot on the real paper exchange. Takes a minute.

load helper

setup() { make_clone; }

teardown() { if [ -d "$project/scripts" ]; then "$project/scripts/stop_all.sh"; fi; }

@test "restart_all alone brings everything up; stop_all takes everything down" {
    run "$project/scripts/restart_all.sh"
    echo "$output"
    [ "$status" -eq 0 ]
    [[ $output == *"RL bot started successfully"*"watcher started successfully"*"System Status"*"✅ Everything runs."* ]]
    [[ $output == *"http://127.0.0.1:$PAPER_PORT"* ]]

    # secrets are the owner's alone, and in no log
    for file in .env trading_bot.db logs/rl_bot.pid logs/rl_bot_main.log; do
        [ "$(stat -c %a "$project/$file")" = 600 ]
    done
    for name in PAPER_CONTROL_TOKEN PAPER_API_SECRET PAPER_API_KEY BOT_CONTROL_PIN FLASK_SECRET_KEY; do
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

    # every verb of every script
    for each in start_paper_exchange start_rl_bot start_chart_bot start_mcp_server start_web_dashboard watch; do
        script="$project/scripts/$each.sh"
        run "$script" start
        [ "$status" -eq 0 ]
        [[ $output == *"is already running"* ]]
        run "$script" status
        [ "$status" -eq 0 ]
        [[ $output == *"is RUNNING"*"PID:"*"Uptime:"*"CPU:"*"Memory:"*"Health:"*"Recent Logs (last 10 lines):"* ]]
        run "$script" status --json
        [ "$status" -eq 0 ]
        python3 -c 'import json, sys; told = json.loads(sys.argv[1]); assert told["status"] == "running", told' "$output"
        run "$script" logs -n 2
        [ "$status" -eq 0 ]
        [ -n "$output" ]
        run "$script" logs -e -n 2
        [ "$status" -eq 0 ]
    done
    run "$project/scripts/start_chart_bot.sh" restart
    [ "$status" -eq 0 ]
    [[ $output == *"🛑 Stopping Chart Bot"*"✅ chart bot started successfully"* ]]

    # a bot that was killed is seen, and comes back by itself
    kill -9 -- "-$bot"
    sleep 0.3
    run "$project/scripts/start_rl_bot.sh" status
    [ "$status" -eq 1 ]
    [[ $output == *"is DEAD"* ]]
    for _ in {1..120}; do
        if [ "$(pid_of rl_bot)" != "$bot" ] && "$project/scripts/start_rl_bot.sh" status >/dev/null; then break; fi
        sleep 0.5
    done
    [ "$(pid_of rl_bot)" != "$bot" ]

    bot="$(pid_of rl_bot)" exchange="$(pid_of paper_exchange)"
    run "$project/scripts/stop_all.sh"
    [ "$status" -eq 0 ]
    [[ $output == *"watcher stopped"*"RL bot stopped"*"paper exchange stopped"* ]]
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

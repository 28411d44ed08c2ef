#!/usr/bin/env bats
# The watcher, backup, restore and prune, with the real bot on the real paper exchange. Takes a minute.

setup() {
    here="$(cd "$BATS_TEST_DIRNAME/../.." && pwd -P)"
    [ -e "$here/.venv/installed" ] || skip "run ./scripts/test.sh once: it makes the environment"
    project="$BATS_TEST_TMPDIR/a clone"
    mkdir -p "$project"
    git -C "$here" ls-files -coz --exclude-standard | (cd "$here" && xargs -0 -I{} sh -c 'test -e "$1" && cp --parents "$1" "$2"' _ {} "$project")
    ln -s "$here/.venv" "$project/.venv"
    PAPER_PORT="$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')"
    export PAPER_PORT
    unset TRADING_MODE TRADING_PAIR TRADING_PAIRS BINANCE_API_KEY BINANCE_SECRET_KEY LEVERAGE ALERT_URLS
    export PAPER_MARKET=synthetic:5 PAPER_SPEED=60
    watch="$project/scripts/watch.sh" bot="$project/scripts/start_rl_bot.sh" exchange="$project/scripts/start_paper_exchange.sh"
}

teardown() {
    if [ -d "$project/scripts" ]; then
        "$watch" stop
        "$bot" stop
        "$exchange" stop
    fi
}

pid_of() { cut -d ' ' -f 1 "$project/logs/$1.pid"; }

runs_as() {
    for _ in {1..60}; do
        if "$bot" status >/dev/null && [ "$(pid_of rl_bot)" != "$1" ]; then return; fi
        sleep 1
    done
    cat "$project/logs/watcher_main.log"
    return 1
}

@test "what dies is started again, what is stopped stays stopped, and all of it can be backed up and put back" {
    "$exchange" start
    "$bot" start
    run "$watch" start
    [ "$status" -eq 0 ]
    run "$watch" status
    [ "$status" -eq 0 ]
    [[ $output == *"heartbeat"* ]]

    first="$(pid_of rl_bot)"
    kill -9 "$first"
    runs_as "$first"
    grep -q "service died, starting it again: name=rl_bot" "$project/logs/watcher_main.log"

    old="$(pid_of paper_exchange)"
    kill -9 "$old"
    for _ in {1..60}; do [ "$(pid_of paper_exchange)" != "$old" ] && "$exchange" status >/dev/null && break; sleep 1; done
    [ "$(pid_of paper_exchange)" != "$old" ]

    run "$project/scripts/backup.sh" "$BATS_TEST_TMPDIR/kept"
    [ "$status" -eq 0 ]
    archive="$output"
    [ "$(stat -c %a "$archive")" = 600 ]
    run "$project/scripts/restore.sh" "$archive"
    [ "$status" -eq 75 ]
    [[ $output == *"Nothing was changed."* ]]

    run "$project/scripts/prune.sh"
    [ "$status" -eq 0 ]
    [[ $output == *"0 rows older than 90 days deleted"* ]]

    "$bot" stop
    sleep 16 # three looks
    run "$bot" status
    [ "$status" -eq 3 ]

    run "$watch" stop
    [ "$status" -eq 0 ]
    [[ $output != *"killed"* ]]
    sqlite3 "$project/trading_bot.db" "DELETE FROM signals"
    run "$project/scripts/restore.sh" "$archive"
    [ "$status" -eq 0 ]
    [ "$(sqlite3 "$project/trading_bot.db" 'SELECT COUNT(*) > 0 FROM signals')" = 1 ]
    run "$bot" start
    [ "$status" -eq 0 ]
}

@test "wrong words are 2 and tell how" {
    for words in "backup.sh --keep 0" "restore.sh" "restore.sh a b" "prune.sh now" "watch.sh begin"; do
        read -ra typed <<<"$words"
        run "$project/scripts/${typed[0]}" "${typed[@]:1}"
        [ "$status" -eq 2 ]
        [[ ${output,,} == *"usage:"* ]]
    done
}

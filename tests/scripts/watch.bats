#!/usr/bin/env bats
# The watcher, backup, restore and prune, with the real bot on the real paper exchange. Takes a minute.

load helper

setup() {
    make_clone
    watch="$project/scripts/watch.sh" bot="$project/scripts/start_rl_bot.sh" exchange="$project/scripts/start_paper_exchange.sh"
}

teardown() {
    if [ -d "$project/scripts" ]; then
        "$watch" stop
        "$bot" stop
        "$exchange" stop
    fi
}

@test "what dies is started again, what is stopped stays stopped, and all of it can be backed up and put back" {
    "$exchange" start
    "$bot" start
    run "$watch" start
    [ "$status" -eq 0 ]
    run "$watch" status
    [ "$status" -eq 0 ]
    [[ $output == *"heartbeat"* ]]

    old="$(pid_of paper_exchange)"
    kill -9 "$old"
    for _ in {1..60}; do [ "$(pid_of paper_exchange)" != "$old" ] && "$exchange" status >/dev/null && break; sleep 1; done
    [ "$(pid_of paper_exchange)" != "$old" ]
    grep -q "service died, restarting it: name=paper_exchange" "$project/logs/watcher_main.log"

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

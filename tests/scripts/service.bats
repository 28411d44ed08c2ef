#!/usr/bin/env bats
# What scripts/lib/service.sh promises of start, stop, restart, status and logs.

load helper

setup() { make_project; }
teardown() { end_project; }

@test "stopped is status 3, and stop on it is no error" {
    run "$x" status
    [ "$status" -eq 3 ]
    [[ $output == *"is STOPPED"* ]]
    run "$x" stop
    [ "$status" -eq 0 ]
}

@test "start, status, logs, restart, stop: the whole life" {
    run "$x" start
    [ "$status" -eq 0 ]
    [[ $output == *"🚀 Starting Stand-In..."* ]]
    [[ $output == *"✅ stand-in started successfully (PID: $(recorded_pid))"* ]]
    [[ $output == *"Logs: logs/x_main.log"* ]]
    first="$(recorded_pid)"
    runs "$first"

    run "$x" status
    [ "$status" -eq 0 ]
    [[ $output == *"is RUNNING"*"PID:       $first"*"Uptime:    0:00:0"*"CPU:"*"Memory:"*"Recent Logs"*"ready to serve"* ]]

    run "$x" logs -n 5
    [ "$status" -eq 0 ]
    [ "$output" = "ready to serve" ]

    run "$x" restart
    [ "$status" -eq 0 ]
    [ "$(recorded_pid)" != "$first" ]
    gone "$first"

    second="$(recorded_pid)"
    run "$x" stop
    [ "$status" -eq 0 ]
    gone "$second"
    [ ! -e "$pid_file" ]
}

@test "logs follows until it is interrupted" {
    export STAND_IN='for n in 1 2 3 4 5 6 7 8 9; do echo "line $n"; sleep 0.2; done; sleep 300'
    "$x" start
    run timeout 3 "$x" logs
    [ "$status" -eq 124 ]
    [[ $output == *"line 9"* ]]
}

@test "status --json is one object that a machine can read" {
    "$x" start
    run "$x" status --json
    [ "$status" -eq 0 ]
    python3 - "$output" "$(recorded_pid)" <<'PY'
import json, sys
told = json.loads(sys.argv[1])
assert told["service"] == "x" and told["status"] == "running" and told["pid"] == int(sys.argv[2]), told
assert told["uptime_s"] >= 0 and told["memory_percent"] >= 0 and told["healthy"] is None, told
PY
    "$x" stop
    run "$x" status --json
    [ "$status" -eq 3 ]
    [[ $output == *'"status": "stopped", "pid": null'* ]]
}

@test "a second start finds the first and starts nothing" {
    "$x" start
    first="$(recorded_pid)"
    run "$x" start
    [ "$status" -eq 0 ]
    [[ $output == *"already running (PID: $first)"* ]]
    [ "$(recorded_pid)" = "$first" ]
}

@test "twenty starts at once make one process" {
    export STAND_IN='echo one >>"'"$BATS_TEST_TMPDIR"'/started"; sleep 300'
    for _ in {1..20}; do "$x" start >/dev/null 2>&1 & done
    wait
    [ "$(wc -l <"$BATS_TEST_TMPDIR/started")" -eq 1 ]
    runs "$(recorded_pid)"
}

@test "a number that belongs to another process now is not taken for ours and not killed" {
    sleep 300 &
    stranger=$!
    mkdir -p "$project/logs"
    echo "$stranger 12345" >"$pid_file"
    run "$x" status
    [ "$status" -eq 1 ]
    run "$x" stop
    [ "$status" -eq 0 ]
    runs "$stranger"
    kill "$stranger"
}

@test "a damaged PID file is not believed" {
    mkdir -p "$project/logs"
    echo "1; touch $BATS_TEST_TMPDIR/evil" >"$pid_file"
    run "$x" status
    [ "$status" -eq 1 ]
    run "$x" start
    [ "$status" -eq 0 ]
    [ ! -e "$BATS_TEST_TMPDIR/evil" ]
}

@test "a process that ignores TERM is killed in time, and that is said" {
    export STAND_IN='trap "" TERM; while :; do sleep 0.1; done'
    "$x" start
    victim="$(recorded_pid)"
    began=$SECONDS
    run "$x" stop
    [ "$status" -eq 0 ]
    [[ $output == *"was killed"* ]]
    gone "$victim"
    ((SECONDS - began <= 5))
}

@test "a process that needs a moment to stop is given it" {
    export STAND_IN='trap "sleep 1; echo closed in order; exit 0" TERM; echo up; while :; do sleep 0.05; done'
    "$x" start
    run "$x" stop
    [ "$status" -eq 0 ]
    [[ $output != *"killed"* ]]
    grep -q "closed in order" "$project/logs/x_main.log"
}

@test "children end with it" {
    export STAND_IN='sleep 300 & echo "child $!"; (trap "" TERM; while :; do sleep 0.1; done) & echo "child $!"; wait'
    "$x" start
    children="$(awk '/^child/ { print $2 }' "$project/logs/x_main.log")"
    [ "$(wc -w <<<"$children")" -eq 2 ]
    "$x" stop
    for child in $children; do gone "$child"; done
}

@test "a command that dies is exit 1 with its last lines" {
    export STAND_IN='echo last words; echo the reason >&2; exit 7'
    run "$x" start
    [ "$status" -eq 1 ]
    [[ $output == *"failed to start (exit code 7)"*"the reason"*"last words"* ]]
    [ ! -e "$pid_file" ]
    run "$x" status
    [ "$status" -eq 3 ]
}

@test "wrong settings keep their exit code 78" {
    export STAND_IN='echo "LEVERAGE is wrong." >&2; exit 78'
    run "$x" start
    [ "$status" -eq 78 ]
    [[ $output == *"LEVERAGE is wrong."* ]]
}

@test "only lines of this start are shown, not of one before" {
    export STAND_IN='echo old words; exit 1'
    run "$x" start
    export STAND_IN='echo new words; exit 1'
    run "$x" start
    [[ $output == *"new words"* ]]
    [[ $output != *"old words"* ]]
}

@test "after kill -9 status is 1, and start works" {
    "$x" start
    first="$(recorded_pid)"
    kill -9 -- "-$first"
    for _ in {1..50}; do runs "$first" || break; sleep 0.1; done
    run "$x" status
    [ "$status" -eq 1 ]
    [[ $output == *"is DEAD"* ]]
    run "$x" start
    [ "$status" -eq 0 ]
    [ "$(recorded_pid)" != "$first" ]
}

@test "start waits until the service is healthy" {
    export STAND_IN='sleep 1; touch "'"$BATS_TEST_TMPDIR"'/up"; sleep 300'
    export HEALTH='test -e "'"$BATS_TEST_TMPDIR"'/up"'
    run "$x" start
    [ "$status" -eq 0 ]
    [ -e "$BATS_TEST_TMPDIR/up" ]
}

@test "a service that runs but never becomes healthy is a failed start, and status 4" {
    export HEALTH='echo "no heartbeat yet of $1"; exit 1' ready_timeout_s=1
    run "$x" start
    [ "$status" -eq 1 ]
    [[ $output == *"not ready after 1 s: no heartbeat yet of $(recorded_pid)"* ]]
    run "$x" status
    [ "$status" -eq 4 ]
    [[ $output == *"RUNNING but NOT HEALTHY"* ]]
    run "$x" status --json
    [[ $output == *'"status": "unhealthy"'*'"healthy": false'* ]]
}

@test "a taken port is refused by the name of its holder" {
    python3 -c '
import socket, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(); print(s.getsockname()[1], flush=True); time.sleep(300)' \
        >"$BATS_TEST_TMPDIR/port" &
    holder=$!
    for _ in {1..50}; do [ -s "$BATS_TEST_TMPDIR/port" ] && break; sleep 0.1; done
    PORT="$(cat "$BATS_TEST_TMPDIR/port")"
    export PORT
    run "$x" start
    kill "$holder"
    [ "$status" -eq 1 ]
    [[ $output == *"port $PORT is taken by process $holder ("*"python3 -c "*"STAND_IN_PORT"* ]]
}

@test "anything else typed is 2 and tells how" {
    for words in "" "begin" "start now" "status --xml" "logs -n many" "logs --all"; do
        # shellcheck disable=SC2086
        run "$x" $words
        [ "$status" -eq 2 ]
        [[ $output == *"Usage:"* ]]
    done
}

@test "files are for the owner alone" {
    "$x" start
    for file in "$pid_file" "$project/logs/x_main.log" "$project/logs/x_error.log"; do
        [ "$(stat -c %a "$file")" = 600 ]
    done
}

@test "it works from any folder and without a terminal" {
    cd /
    run setsid --wait "$x" start </dev/null
    [ "$status" -eq 0 ]
    run "$x" status
    [ "$status" -eq 0 ]
}

@test "the service does not hold the lock of its start" {
    "$x" start
    run timeout 10 "$x" stop
    [ "$status" -eq 0 ]
}

@test "with a full disk nothing is left running that nobody could stop" {
    mkdir -p "$project/logs"
    ln -s /dev/full "$pid_file.new"
    export STAND_IN="echo \$\$ >$BATS_TEST_TMPDIR/started; sleep 300"
    run "$x" start
    [ "$status" -eq 73 ]
    [[ $output == *"Is the disk full?"* ]]
    sleep 0.3
    if [ -s "$BATS_TEST_TMPDIR/started" ]; then gone "$(cat "$BATS_TEST_TMPDIR/started")"; fi
    run "$x" status
    [ "$status" -eq 3 ]
    run "$x" start
    [ "$status" -eq 0 ]
}

@test "a folder that cannot be written to is said, and nothing runs" {
    mkdir -p "$project/logs"
    mkdir "$project/logs/x_main.log" # not even root writes into it
    run "$x" start
    [ "$status" -ne 0 ]
    [ ! -e "$pid_file" ]
}

@test "a folder that was moved while the service ran still has its service" {
    "$x" start
    first="$(recorded_pid)"
    mv "$project" "$BATS_TEST_TMPDIR/moved to another place"
    project="$BATS_TEST_TMPDIR/moved to another place"
    x="$project/scripts/start_x.sh" pid_file="$project/logs/x.pid"
    run "$x" status
    [ "$status" -eq 0 ]
    [[ $output == *"PID:       $first"* ]]
    run "$x" restart
    [ "$status" -eq 0 ]
    gone "$first"
    runs "$(recorded_pid)"
}

@test "two stops and a start at once end in order" {
    "$x" start
    first="$(recorded_pid)"
    "$x" stop >/dev/null 2>&1 &
    "$x" stop >/dev/null 2>&1 &
    wait
    gone "$first"
    run "$x" start
    [ "$status" -eq 0 ]
    runs "$(recorded_pid)"
}

@test "a service does not inherit the sheet of the start that began it" {
    export STAND_IN="echo sheet:\${health_sheet-none} >$BATS_TEST_TMPDIR/inherited; sleep 300"
    health_sheet="$BATS_TEST_TMPDIR/sheet" "$x" start & # nobody writes that sheet: this start waits in vain
    for _ in {1..50}; do [ -s "$BATS_TEST_TMPDIR/inherited" ] && break; sleep 0.1; done
    kill "$!"
    [ "$(cat "$BATS_TEST_TMPDIR/inherited")" = sheet:none ]
}

@test "the sheet of all services answers instead of a question of one's own" {
    export STAND_IN='sleep 300' HEALTH="echo asked >>$BATS_TEST_TMPDIR/asked"
    "$x" start
    [ "$(wc -l <"$BATS_TEST_TMPDIR/asked")" -eq 1 ]
    export health_sheet="$BATS_TEST_TMPDIR/sheet"
    printf 'mode paper\nx %s healthy beats every second\n' "$(recorded_pid)" >"$health_sheet"
    run "$x" status
    [ "$status" -eq 0 ]
    [[ $output == *"Health:    beats every second"* ]]
    printf 'mode paper\nx %s unhealthy no heartbeat yet\ny 1 healthy fine\n' "$(recorded_pid)" >"$health_sheet"
    run "$x" status
    [ "$status" -eq 4 ]
    [ "$(wc -l <"$BATS_TEST_TMPDIR/asked")" -eq 1 ]
}

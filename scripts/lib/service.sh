#!/usr/bin/env bash
# How a service is started, stopped and asked how it is. Sourced by scripts/start_*.sh, which say what it is:
#
#   service=rl_bot                 names PID file, lock and logs: logs/rl_bot.pid, logs/rl_bot_main.log, ...
#   title="RL Trading Bot"         how people call it, and short="RL bot" within a sentence
#   command=(python src/x.py)      runs in the foreground, from the project's folder
#   error_log=...                  optional; by default logs/<service>_error.log
#   port=5000 port_setting=NAME    optional: must be free before the start
#   address=http://...             optional: shown to people
#   prepare()                      optional function: what has to exist before a start
#   healthy()                      optional function: one line about its health on stdout, 0 only when it is healthy;
#                                  it is given the PID, and in a start the seconds that it may wait for good news
#
# Who starts several services at once keeps one sheet of how all of them are (src/monitoring/status_file.py) and exports its name
# as health_sheet; then `healthy` is not called.
#
# Exit codes: start, stop, restart: 0 done, 1 failed, 73 cannot write, 78 wrong settings. status (as LSB has it): 0 running,
# 1 dead with a PID file, 3 stopped, 4 running but not healthy. Anything else typed: 2.

: "${service:?}" "${title:?}" "${short:?}" "${command[0]:?}"
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)"
cd "$root" || exit 1
umask 077
export MALLOC_ARENA_MAX="${MALLOC_ARENA_MAX:-1}" # else the C library keeps an arena a thread: 15 MB a service

stop_timeout_s="${stop_timeout_s:-10}"
ready_timeout_s="${ready_timeout_s:-60}"
lock_timeout_s="${lock_timeout_s:-90}"

if [[ (-t 1 || -n ${on_terminal-}) && -z ${NO_COLOR-} ]]; then
    green=$'\e[32m' yellow=$'\e[33m' red=$'\e[31m' plain=$'\e[0m'
else
    green='' yellow='' red='' plain=''
fi

good() { printf '%s✅ %s%s\n' "$green" "$*" "$plain"; }
note() { printf '%s⚠️  %s%s\n' "$yellow" "$*" "$plain"; }
bad() { printf '%s❌ %s%s\n' "$red" "$*" "$plain" >&2; }

# --- who a process is: its number and the moment it began, for numbers are used again -------------------------------

# Sets `fields` to what stands in /proc/PID/stat after the name, which itself may hold blanks and brackets:
# 0 state, 2 group, 11 user ticks, 12 system ticks, 19 start, 21 pages in memory.
read_stat() {
    local line=''
    IFS= read -rd '' line 2>/dev/null <"/proc/$1/stat" || [[ -n $line ]] || return 1
    read -ra fields <<<"${line##*) }"
}

start_of() {
    local fields=()
    if [[ -d /proc/self ]]; then
        read_stat "$1" && [[ ${fields[0]} != [ZX] ]] && printf '%s\n' "${fields[19]}"
    else
        ps -o lstart= -p "$1" | tr -s ' ' '_'
    fi
}

# Sets `pid` to the process of the PID file if it still is the one that was started. The PID file holds the number
# alone, as `kill $(cat ...)` wants it; when the process began stands beside it (formerly in the file itself).
is_alive() {
    local began=''
    pid=''
    [[ -s $pid_file ]] && read -r pid began <"$pid_file" && [[ $pid =~ ^[0-9]+$ ]] || return 1
    if [[ -z $began && -r $start_file ]]; then read -r began <"$start_file"; fi
    [[ "$(start_of "$pid")" == "$began" && -n $began ]]
}

forget_process() { rm -f "$pid_file" "$start_file" "$stopped_file"; }

group_is_alive() {
    local stat fields=()
    for stat in /proc/[0-9]*/stat; do
        stat="${stat#/proc/}"
        if read_stat "${stat%/stat}" && [[ ${fields[2]} == "$1" && ${fields[0]} != [ZX] ]]; then return 0; fi
    done
    return 1
}

# Prints who listens on a TCP port: "process 123 (python3 x.py)", or nothing when it is free.
listener_of() {
    local hex inode holder line
    printf -v hex '%04X' "$1"
    inode="$(cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
        while read -ra line; do [[ ${line[1]} == *:$hex && ${line[3]} == 0A ]] && echo "${line[9]}" && break; done)"
    [[ -n $inode ]] || return 0
    holder="$(find /proc/[0-9]*/fd -lname "socket:\[$inode\]" 2>/dev/null | head -n 1)"
    holder="${holder#/proc/}"
    holder="${holder%%/*}"
    if [[ -n $holder ]]; then
        echo "process $holder ($(tr '\0\n' '  ' <"/proc/$holder/cmdline" | cut -c 1-60 | sed 's/ *$//'))"
    else
        echo "a process of another user"
    fi
}

# --- the verbs ----------------------------------------------------------------------------------------------------

start() {
    if is_alive; then
        good "$short is already running (PID: $pid)"
        return 0
    fi
    forget_process
    if declare -F prepare >/dev/null; then prepare || return; fi
    echo "🚀 Starting $title..."
    local holder
    if [[ -n ${port-} && $port != 0 ]] && holder="$(listener_of "$port")" && [[ -n $holder ]]; then
        bad "$short cannot start: port $port is taken by $holder. Stop it, or write another ${port_setting-port} into .env."
        return 1
    fi
    local main_from error_from
    main_from="$(size_of "$main_log")" error_from="$(size_of "$error_log")"
    launch || return
    wait_until_ready "$main_from" "$error_from"
}

# Starts the command in a group of its own; the lock stays here, and the sheet of this start, soon out of date. What cannot be written down is not left running.
launch() {
    { touch "$main_log" "$error_log" && chmod 600 "$main_log" "$error_log"; } || return 73
    setsid env SERVICE_PID_FILE="$pid_file" bash -c 'exec 9>&-; unset health_sheet; exec "$@"' "$service" "${command[@]}" >>"$main_log" 2>>"$error_log" </dev/null &
    pid=$!
    if ! { start_of "$pid" >"$start_file" && printf '%s\n' "$pid" >"$pid_file.new" && mv "$pid_file.new" "$pid_file"; }; then
        kill -KILL -- "-$pid" 2>/dev/null || kill -KILL "$pid" 2>/dev/null || true
        rm -f "$pid_file.new" "$start_file"
        bad "$short was not started: its PID file cannot be written. Is the disk full? (df -h \"$log_dir\")"
        return 73
    fi
}

# Sets `said` to a line about the health of `pid`; 0 only when it is healthy. $1: how many seconds to wait for that.
ask() {
    local name number word line code=0
    if [[ -z ${health_sheet-} ]]; then
        said="$(healthy "$pid" "$@" 2>&1)" || code=$?
        said="${said//$'\n'/; }"
        return "$code"
    fi
    said='nothing known yet'
    while read -r name number word line; do
        if [[ $name == "$service" && $number == "$pid" ]]; then
            said="$line"
            [[ $word == healthy ]]
            return
        fi
    done 2>/dev/null <"$health_sheet"
    return 1
}

wait_until_ready() {
    local deadline=$((SECONDS + ready_timeout_s)) said='' code=0
    while sleep 0.1 && is_alive; do
        if ! declare -F healthy >/dev/null || ask "$((deadline - SECONDS))"; then
            sleep 0.1
            is_alive || break
            good "$short started successfully (PID: $pid)"
            echo "   Logs: ${main_log#"$root/"}"
            if [[ -n ${address-} ]]; then echo "   Address: $address"; fi
            return 0
        fi
        if ((SECONDS >= deadline)); then
            bad "$short runs (PID: $pid) but is not ready after $ready_timeout_s s: $said"
            last_lines "$1" "$2"
            return 1
        fi
    done
    wait "$pid" 2>/dev/null || code=$?
    forget_process
    bad "$short failed to start (exit code $code)"
    last_lines "$1" "$2"
    ((code == 78)) && return 78
    return 1
}

size_of() { if [[ -f $1 ]]; then stat -c %s "$1"; else echo 0; fi; }

# What the logs have gained since the start: errors first, then the end of the main log, each line once.
last_lines() {
    { tail -c "+$(($2 + 1))" "$error_log"
      if [[ $main_log != "$error_log" ]]; then tail -c "+$(($1 + 1))" "$main_log"; fi
    } 2>/dev/null | awk '!seen[$0]++' | tail -n 10 >&2
}

stop() {
    rm -f "$log_dir/$service.wanted"  # the watcher's note that it tries to start it again
    if ! is_alive; then
        if [[ -e $pid_file ]]; then
            note "$short was not running (stale PID file removed)"
        else
            note "$short is not running"
        fi
        forget_process
        return 0
    fi
    local leader="$pid" deadline=$((SECONDS + stop_timeout_s))
    echo "🛑 Stopping $title (PID: $leader)..."
    kill -TERM -- "-$leader" 2>/dev/null || kill -TERM "$leader" 2>/dev/null || true
    while is_alive || group_is_alive "$leader"; do
        if ((SECONDS >= deadline)); then
            bad "$short did not stop within $stop_timeout_s s and was killed"
            kill -KILL -- "-$leader" 2>/dev/null || kill -KILL "$leader" 2>/dev/null || true
            for _ in {1..50}; do is_alive || break; sleep 0.1; done # a busy machine takes its time
            break
        fi
        sleep 0.1
    done
    if is_alive; then
        bad "$short (PID: $leader) cannot be stopped"
        return 1
    fi
    forget_process
    good "$short stopped"
}

status() {
    local form="${1-}" code=0 state=running said='' healthy_json=null
    if is_alive; then
        if declare -F healthy >/dev/null; then
            healthy_json=true
            ask || { healthy_json=false state=unhealthy code=4; }
        fi
    elif [[ -e $pid_file ]]; then
        state=dead code=1
    else
        state=stopped code=3
    fi
    case "$form" in
        --json) status_json ;;
        --brief) status_brief ;;
        *) status_long ;;
    esac
    return "$code"
}

status_json() {
    local uptime_s=null cpu=null memory=null
    if ((code == 0 || code == 4)); then usage_of "$pid"; else pid=null; fi
    said="${said//\\/\\\\}"
    printf '{"service": "%s", "status": "%s", "pid": %s, "uptime_s": %s, "cpu_percent": %s, "memory_percent": %s, ' \
        "$service" "$state" "${pid:-null}" "$uptime_s" "$cpu" "$memory"
    printf '"healthy": %s, "health": "%s"}\n' "$healthy_json" "${said//\"/\\\"}"
}

status_brief() {
    local uptime_s=0 cpu memory
    if ((code == 0 || code == 4)); then usage_of "$pid"; fi
    case "$code" in
        0) printf '  %-15s %s✅ running%s   PID %-8s for %s   %s\n' \
            "$title" "$green" "$plain" "$pid" "$(hours "$uptime_s")" "$said${address:+, $address}" ;;
        1) printf '  %-15s %s❌ dead%s\n' "$title" "$red" "$plain" ;;
        3) printf '  %-15s %s⏹  stopped%s\n' "$title" "$yellow" "$plain" ;;
        4) printf '  %-15s %s❌ unhealthy%s  PID %-8s for %s   %s\n' \
            "$title" "$red" "$plain" "$pid" "$(hours "$uptime_s")" "$said" ;;
    esac
}

status_long() {
    local uptime_s=0 cpu=0 memory=0
    echo "📊 $title Status"
    case "$code" in
        0) good "$short is RUNNING" ;;
        4) printf '%s❌ %s is RUNNING but NOT HEALTHY%s\n' "$red" "$short" "$plain" ;;
        1) printf '%s❌ %s is DEAD: it ended without being stopped%s\n' "$red" "$short" "$plain" ;;
        3) printf '%s⏹  %s is STOPPED%s\n' "$yellow" "$short" "$plain" ;;
    esac
    if ((code == 0 || code == 4)); then
        usage_of "$pid"
        printf '  PID:       %s\n  Uptime:    %s\n' "$pid" "$(hours "$uptime_s")"
        printf '  CPU:       %s%%\n  Memory:    %s%%\n' "$cpu" "$memory"
        if [[ -n $said ]]; then printf '  Health:    %s\n' "$said"; fi
        if [[ -n ${address-} ]]; then printf '  Address:   %s\n' "$address"; fi
    fi
    if [[ -s $main_log ]]; then
        printf '\nRecent Logs (last 10 lines):\n'
        printf '━%.0s' {1..60}
        printf '\n'
        tail -n 10 "$main_log"
    fi
}

# Sets uptime_s, cpu and memory (percent) as ps counts them.
usage_of() {
    local fields=() ticks up total
    [[ -r /proc/uptime ]] && read_stat "$1" || return 0
    ticks="$(getconf CLK_TCK)"
    read -r up _ </proc/uptime
    total="$(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo)"
    read -r uptime_s cpu memory < <(LC_ALL=C awk -v up="$up" -v hz="$ticks" -v began="${fields[19]}" \
        -v used="$((fields[11] + fields[12]))" -v kb="$((fields[21] * $(getconf PAGESIZE) / 1024))" -v total="$total" \
        'BEGIN { s = up - began / hz; if (s < 0.01) s = 0.01
                 printf "%d %.1f %.1f\n", s, 100 * used / hz / s, 100 * kb / total }')
}

hours() { printf '%d:%02d:%02d' $(($1 / 3600)) $(($1 % 3600 / 60)) $(($1 % 60)); }

show_logs() {
    local lines=20 follow=yes file="$main_log"
    while (($#)); do
        case "$1" in
            -f | --follow) follow=yes ;;
            -n) [[ ${2-} =~ ^[0-9]+$ ]] || usage; lines="$2" follow=no; shift ;;
            -e | --errors) file="$error_log" ;;
            *) usage ;;
        esac
        shift
    done
    if [[ $follow == yes ]]; then exec tail -n "$lines" -F "$file"; fi
    if [[ -f $file ]]; then tail -n "$lines" "$file"; fi
}

usage() {
    cat >&2 <<TEXT
Usage: $0 start | stop | restart | status [--json | --brief] | logs [-e] [-f | -n LINES]

  start     start the $short and wait until it is ready
  stop      stop it in order within $stop_timeout_s s, then by force
  status    0 running, 1 dead, 3 stopped, 4 running but not healthy
  logs      follow the log (Ctrl+C ends); -n shows the last lines only, -e the errors
TEXT
    exit 2
}

# One start, stop or restart at a time.
locked() {
    exec 9>"$log_dir/$service.lock"
    if ! flock -w "$lock_timeout_s" 9; then
        bad "another start or stop of the $short has been going on for $lock_timeout_s s"
        exit 75
    fi
    "$@"
}

restart() { stop && start; }

# Parts that a checkout does not have yet are named, not started; they count as a failure for who asks to start them.
require_built() {
    if [[ -e $root/$1 ]]; then return; fi
    case "$2" in
        start | restart) bad "The $short is not built yet: there is no $1."; exit 1 ;;
        stop) note "The $short is not built yet: nothing to stop."; exit 0 ;;
        status) note "The $short is not built yet."; exit 3 ;;
    esac
}

service_main() {
    log_dir="${log_dir:-$root/logs}"
    mkdir -p "$log_dir" || exit 73
    pid_file="$log_dir/$service.pid"
    start_file="$log_dir/$service.start"     # when that process began
    stopped_file="$log_dir/$service.stopped" # left by a process that was asked to end by a signal, and did
    main_log="${main_log:-$log_dir/${service}_main.log}"
    error_log="${error_log:-$log_dir/${service}_error.log}"
    local verb="${1-}"
    (($#)) && shift
    case "$verb" in
        start | stop | restart)
            (($# == 0)) || usage
            locked "$verb"
            ;;
        status)
            [[ $# -eq 0 || ($# -eq 1 && ($1 == --json || $1 == --brief)) ]] || usage
            status "$@"
            ;;
        logs) show_logs "$@" ;;
        *) usage ;;
    esac
}

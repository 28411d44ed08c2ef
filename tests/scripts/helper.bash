# A small project with one service, in a folder whose name has a blank. What the service runs is STAND_IN, a line of
# bash; HEALTH is the line that answers for its health, PORT a port it would need.

make_project() {
    here="$(cd "$BATS_TEST_DIRNAME/../.." && pwd -P)"
    project="$BATS_TEST_TMPDIR/a folder"
    mkdir -p "$project/scripts"
    cp -r "$here/scripts/lib" "$project/scripts/"
    cat >"$project/scripts/start_x.sh" <<'SCRIPT'
#!/usr/bin/env bash
set -euo pipefail
service=x title="Stand-In" short="stand-in"
command=(bash -c "$STAND_IN")
if [[ -n ${HEALTH-} ]]; then healthy() { bash -c "$HEALTH" health "$1"; }; fi
if [[ -n ${PORT-} ]]; then port="$PORT" port_setting=STAND_IN_PORT; fi
source "$(dirname "${BASH_SOURCE[0]}")/lib/service.sh"
service_main "$@"
SCRIPT
    chmod +x "$project/scripts/start_x.sh"
    x="$project/scripts/start_x.sh"
    pid_file="$project/logs/x.pid"
    export STAND_IN='echo ready to serve; sleep 300' stop_timeout_s=2 ready_timeout_s=5
    unset HEALTH PORT
}

# Ends whatever the test has left behind: its own process groups, by their numbers.
end_project() {
    local pid
    if [[ -s $pid_file ]]; then
        read -r pid _ <"$pid_file"
        kill -KILL -- "-$pid" 2>/dev/null || true
    fi
}

recorded_pid() { cut -d ' ' -f 1 "$pid_file"; }

runs() { [[ -d /proc/$1 ]] && ! grep -q '^State:[[:space:]]*[ZX]' "/proc/$1/status" 2>/dev/null; }

gone() { if runs "$1"; then return 1; fi; }

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

# Prints ports on which nobody listens, below those from which the system takes its own for connections.
free_ports() {
    python3 - "$1" <<'PY'
import random, socket, sys
found = []
while len(found) < int(sys.argv[1]):
    port = random.randrange(12_000, 32_000)
    with socket.socket() as probe:
        if port not in found and probe.connect_ex(("127.0.0.1", port)):
            found.append(port)
print(*found)
PY
}

# A copy of this checkout in a folder whose name has a blank, with the environment linked and ports of its own.
make_clone() {
    here="$(cd "$BATS_TEST_DIRNAME/../.." && pwd -P)"
    [ -d "$here/.venv/locks" ] || skip "run ./scripts/test.sh once: it makes the environment"
    project="$BATS_TEST_TMPDIR/a clone"
    mkdir -p "$project"
    git -C "$here" -c safe.directory='*' ls-files -coz --exclude-standard -- ':!tests' |
        (cd "$here" && xargs -0 cp --parents -t "$project" 2>/dev/null) || true # what is deleted but not committed
    ln -s "$here/.venv" "$project/.venv"
    read -r PAPER_PORT DASHBOARD_PORT MCP_PORT < <(free_ports 3)
    export PAPER_PORT DASHBOARD_PORT MCP_PORT
    unset TRADING_MODE TRADING_PAIR TRADING_PAIRS BINANCE_API_KEY BINANCE_SECRET_KEY LEVERAGE ALERT_URLS
    export PAPER_MARKET=synthetic:5 PAPER_SPEED=60 TRAINING_CANDLES=1000 RULES=safety_first
}

pid_of() { cut -d ' ' -f 1 "$project/logs/$1.pid"; }

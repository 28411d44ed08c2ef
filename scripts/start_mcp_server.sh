#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# The REST and MCP server: start | stop | restart | status | logs
set -euo pipefail
# shellcheck source=lib/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/environment.sh"

service=mcp_server title="MCP Server" short="MCP server"
command=("$python" src/mcp_server.py)
main_log="$root/logs/mcp_server.log" error_log="$root/logs/mcp_server.log"
port="$(setting MCP_PORT 3000)" port_setting=MCP_PORT
address="http://localhost:$port/api/v1/info"
prepare() { prepare_environment; }
healthy() { "$python" -m src.monitoring.health mcp_server "$@"; }

# shellcheck source=lib/service.sh
source "$root/scripts/lib/service.sh"
require_built src/mcp_server.py "${1-}"
service_main "$@"

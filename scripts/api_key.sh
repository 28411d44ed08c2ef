#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# The keys of the API: create NAME [--control | --signal] | list | revoke ID
set -euo pipefail
# shellcheck source=lib/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/environment.sh"

prepare_environment >&2
cd "$root"
exec "$python" -m src.api.keys "$@"

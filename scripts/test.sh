#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# Runs the fast tests on all cores; makes the environment first where there is none. Arguments go to pytest.
set -euo pipefail
# shellcheck source=lib/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/environment.sh"

cd "$root"
prepare_environment
exec "$python" -m pytest -n auto "$@"

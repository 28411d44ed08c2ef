#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# Runs the fast tests on all cores; installs first what runs and what tests need, where it is not. Arguments go to pytest.
set -euo pipefail
# shellcheck source=lib/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/environment.sh"

cd "$root"
wanted_locks+=(requirements-test.txt requirements-telegram.txt)
prepare_environment
exec "$python" -m pytest -n auto "$@"

#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# Writes database and model into one archive, while everything runs: backup.sh [FOLDER] [--keep N]
# Prints the archive's path. .env is not in it: keep that yourself, and elsewhere.
set -euo pipefail
# shellcheck source=lib/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/environment.sh"

here="$PWD"
folder=()
if (($#)) && [[ $1 != -* ]]; then
    if [[ $1 == /* ]]; then folder=("$1"); else folder=("$here/$1"); fi
    shift
fi
cd "$root"
exec "$python" -m src.storage.backup make "${folder[@]}" "$@"

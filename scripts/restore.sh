#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# Puts an archive of backup.sh back: restore.sh FILE. Nothing may run; what stood there is moved aside.
set -euo pipefail
# shellcheck source=lib/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/environment.sh"

if (($# != 1)) || [[ $1 == -* ]]; then
    echo "Usage: $0 FILE" >&2
    exit 2
fi
file="$1"
if [[ $file != /* ]]; then file="$PWD/$file"; fi
cd "$root"
exec "$python" -m src.storage.backup restore "$file"

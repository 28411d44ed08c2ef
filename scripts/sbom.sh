#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# Prints what the suite is made of (CycloneDX JSON), from the pinned requirements; asks nobody: sbom.sh [REQUIREMENTS...]
set -euo pipefail
# shellcheck source=lib/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/environment.sh"

lists=()
for each; do
    if [[ $each == -* ]]; then
        echo "Usage: $0 [REQUIREMENTS...] > sbom.json" >&2
        exit 2
    fi
    lists+=("$(realpath -m -- "$each")")
done
prepare_environment >&2
cd "$root"
exec "$python" scripts/sbom.py "${lists[@]}"

#!/usr/bin/env bash
# shellcheck source-path=SCRIPTDIR
# Shows all services, a line each; ends 0 when every one that should run is healthy.
set -euo pipefail
# shellcheck source=lib/environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/environment.sh"
# shellcheck source=lib/suite.sh
source "$root/scripts/lib/suite.sh"

if (($#)); then
    echo "Usage: $0" >&2
    exit 2
fi
if [[ -z ${health_sheet-} ]]; then read_health; fi
worst=0
echo "📊 System Status"
rule
for each in "${services[@]}"; do
    if ! is_built "$each"; then continue; fi
    if [[ $each == paper_exchange ]] && ! is_paper; then continue; fi
    code=0
    manage "$each" status --brief || code=$?
    if ((code > worst)); then worst=$code; fi
done
rule
exit "$worst"

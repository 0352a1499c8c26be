#!/usr/bin/env bash
# Compiles the library's documentation to .build/docs/TenantRouter.doccarchive; a warning is an error.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The plugin is a dependency here and nowhere else: other builds keep what they had resolved.
kept=$(mktemp)
trap 'mv "$kept" Package.resolved' EXIT
if [ -e Package.resolved ]; then cp Package.resolved "$kept"; else trap 'rm -f "$kept" Package.resolved' EXIT; fi

export ROUTERD_DOCS=1
mkdir -p .build/docs
swift package --scratch-path .build/docs --allow-writing-to-directory .build/docs \
    generate-documentation --target TenantRouter --warnings-as-errors --output-path .build/docs/TenantRouter.doccarchive

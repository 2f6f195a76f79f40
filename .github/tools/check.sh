#!/usr/bin/env bash
# Check that notebooks are clean and that visdec/ and README.md are what nbs/ makes of them.
#
#   bash .github/tools/check.sh        in a clone without uncommitted changes
#
# Cleans the notebooks, deletes and re-exports visdec/*.py, and writes README.md again. After each step
# `git status` must be empty; otherwise it shows the difference, leaves it in place, and exits 1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
unchanged() { test -z "$(git status --porcelain)" || { echo "::error::$1"; git status --short; git --no-pager diff | head -60; exit 1; }; }
                                                           unchanged "there are uncommitted changes: commit or stash them first"
nbdev_clean;                                               unchanged "notebooks are not clean: run nbdev_clean"
find visdec -name '*.py' -delete; nbdev_export;            unchanged "visdec/ does not match nbs/: run nbdev_export"
python .github/tools/readme.py;                            unchanged "README.md is stale: run python .github/tools/readme.py"

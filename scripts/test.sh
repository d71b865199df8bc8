#!/usr/bin/env bash
# What `make test` runs, and where the time goes. Red as soon as one step is red.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
step() { local name=$1 begin=$SECONDS; shift; "$@"; times_spent+=("$(printf '%4d s  %s' $((SECONDS - begin)) "$name")"); }
times_spent=()
step "ruff"        $bin/ruff check --quiet .
step "format"      $bin/ruff format --check --quiet .
step "mypy"        $bin/mypy
step "imports"     $bin/lint-imports --no-logo
# Two processes, a file of tests at a time: half of the suite waits for brokers, browsers and databases.
step "pytest"      $bin/python -m pytest -q -n 2 --dist loadfile "$@"
printf 'where the time went:\n'; printf '  %s\n' "${times_spent[@]}"

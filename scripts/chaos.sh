#!/usr/bin/env bash
# What `make chaos` runs: what must hold whatever happens, asked for long. Goes on after a red step, and is red if one was.
set -uo pipefail
cd "$(dirname "$0")/.."
pytest=(.venv/bin/python -m pytest -q --durations=0 --durations-min=1 "$@")
red=0
times_spent=()
step() {
  local name=$1 begin=$SECONDS outcome=held
  shift
  printf '== %s\n' "$name"
  "$@" || { outcome=BROKEN; red=1; }
  times_spent+=("$(printf '%5d s  %-6s  %s' $((SECONDS - begin)) "$outcome" "$name")")
}
step "kills and loss of power" "${pytest[@]}" -s -m chaos tests/chaos
step "mutations" "${pytest[@]}" tests/test_mutations.py
for property in $("${pytest[@]}" --collect-only -m hypothesis tests/test_properties.py | grep '::'); do
  step "2,000 examples of ${property##*::}" env HYPOTHESIS_PROFILE=chaos "${pytest[@]}" "$property"
done
printf 'where the time went:\n'
printf '  %s\n' "${times_spent[@]}"
exit $red

#!/usr/bin/env bash
# Makes .venv from a hashed lock: scripts/setup.sh runtime|dev. Says what is missing and how to get it.
set -euo pipefail
cd "$(dirname "$0")/.."
kind=$1
case $kind in runtime) lock=requirements.lock ;; dev) lock=requirements-dev.lock ;; *) echo "usage: $0 runtime|dev" >&2; exit 2 ;; esac

need_package() { # need_package DEBIAN_PACKAGE WHY
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "setup: installing $1 ($2)" >&2
    if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1"; } >/tmp/edgeloop-apt.$$ 2>&1; then
      tail -5 /tmp/edgeloop-apt.$$ >&2; rm -f /tmp/edgeloop-apt.$$
      echo "setup: could not install $1. Run: apt-get update && apt-get install -y $1" >&2; exit 1
    fi
    rm -f /tmp/edgeloop-apt.$$
  else
    echo "setup: $1 is missing ($2). Run: sudo apt-get update && sudo apt-get install -y $1" >&2; exit 1
  fi
}

if [ -z "${PYTHON:-}" ]; then
  need_package python3 "Edgeloop needs Python 3.11 or newer"
  PYTHON=python3
fi
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
  || { echo "setup: $PYTHON is older than 3.11. Point to a newer one: make PYTHON=/path/to/python3.12 …" >&2; exit 1; }

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  # Debian splits ensurepip out of python3; without it a venv has no pip.
  "$PYTHON" -c 'import ensurepip' 2>/dev/null || need_package python3-venv "it holds ensurepip"
  rm -rf .venv
  "$PYTHON" -m venv .venv
fi

# The development lock holds everything of the runtime lock, at the same versions.
echo "setup: installing from $lock into .venv (only this first time)" >&2
.venv/bin/python -m pip install --quiet --no-input --require-hashes --only-binary :all: -r "$lock"
.venv/bin/python -m pip install --quiet --no-input --no-deps --no-build-isolation --no-index -e .
touch .venv/.runtime
if [ "$kind" = dev ]; then
  if ! command -v chromium >/dev/null && ! command -v chromium-browser >/dev/null && ! command -v google-chrome >/dev/null; then
    need_package chromium "the report is tested in a real browser"
  fi
  touch .venv/.dev
fi

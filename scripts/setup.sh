#!/usr/bin/env bash
# Makes .venv from a hashed lock: scripts/setup.sh runtime|dev. Says what is missing and how to get it.
set -euo pipefail
cd "$(dirname "$0")/.."
kind=$1
case $kind in runtime) lock=requirements.lock ;; dev) lock=requirements-dev.lock ;; *) echo "usage: $0 runtime|dev" >&2; exit 2 ;; esac

need_packages() { # need_packages WHY DEBIAN_PACKAGE…
  local why=$1
  shift
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "setup: installing $* ($why)" >&2
    if ! { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"; } >/tmp/edgeloop-apt.$$ 2>&1; then
      tail -5 /tmp/edgeloop-apt.$$ >&2; rm -f /tmp/edgeloop-apt.$$
      echo "setup: could not install $*. Run: apt-get update && apt-get install -y --no-install-recommends $*" >&2; exit 1
    fi
    rm -f /tmp/edgeloop-apt.$$
  else
    echo "setup: missing: $* ($why). Run: sudo apt-get update && sudo apt-get install -y --no-install-recommends $*" >&2; exit 1
  fi
}

one_of() { # one_of COMMAND…: is one of them there?
  local name
  for name; do if command -v "$name" >/dev/null; then return; fi; done
  return 1
}

if [ -z "${PYTHON:-}" ]; then
  need_packages "Edgeloop needs Python 3.11 or newer" python3
  PYTHON=python3
fi
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
  || { echo "setup: $PYTHON is older than 3.11. Point to a newer one: make PYTHON=/path/to/python3.12 …" >&2; exit 1; }

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  # Debian splits ensurepip out of python3; without it a venv has no pip.
  "$PYTHON" -c 'import ensurepip' 2>/dev/null || need_packages "it holds ensurepip" python3-venv
  rm -rf .venv
  "$PYTHON" -m venv .venv
fi

# The development lock holds everything of the runtime lock, at the same versions.
echo "setup: installing from $lock into .venv (only this first time)" >&2
.venv/bin/python -m pip install --quiet --no-input --require-hashes --only-binary :all: -r "$lock"
.venv/bin/python -m pip install --quiet --no-input --no-deps --no-build-isolation --no-index -e .
touch .venv/.runtime
if [ "$kind" = dev ]; then
  packages=()
  one_of chromium chromium-browser google-chrome || packages+=(chromium)
  # Playwright's driver is linked to it, and Debian 12 does not have it by itself.
  .venv/bin/playwright --version >/dev/null 2>&1 || packages+=(libatomic1)
  one_of java || packages+=(default-jre-headless)
  one_of mvn || packages+=(maven)
  one_of docker-compose || packages+=(docker-compose)
  # The development lock holds a PostgreSQL, but one without TLS.
  one_of initdb /usr/lib/postgresql/*/bin/initdb || packages+=(postgresql)
  if [ ${#packages[@]} -gt 0 ]; then
    no_cluster=/etc/postgresql-common/createcluster.d/edgeloop-setup.conf
    if [[ " ${packages[*]} " == *" postgresql "* && $(id -u) = 0 ]]; then
      # Tests start servers of their own; Debian's package would start one for good.
      mkdir -p "${no_cluster%/*}"
      echo "create_main_cluster = false" >"$no_cluster"
      trap 'rm -f "$no_cluster"' EXIT
    fi
    need_packages "tests use a real browser, a real Kafka and a real PostgreSQL" "${packages[@]}"
  fi
  scripts/kafka.sh libs
  touch .venv/.dev
fi

#!/usr/bin/env bash
# Are there known vulnerabilities in what the two locks install? pip-audit asks PyPI, in an environment of its own.
# Where its data cannot be reached, it prints what is installed and of when, to be looked up by hand, and ends with 3.
set -euo pipefail
cd "$(dirname "$0")/.."
tool=.venv-audit
if [ ! -x "$tool/bin/pip-audit" ]; then
  "${PYTHON:-python3}" -m venv "$tool"
  "$tool/bin/python" -m pip install --quiet --no-input 'pip-audit==2.10.1'
fi
code=0
said=$("$tool/bin/pip-audit" --strict --disable-pip --require-hashes --progress-spinner off \
  -r requirements.lock -r requirements-dev.lock 2>&1) || code=$?
if [ $code -ne 0 ] && grep -qE "not found on PyPI|Connection|timed out|ServiceError" <<<"$said"; then
  echo "audit: the data of known vulnerabilities could not be reached. Of $(date -r requirements.lock +%Y-%m-%d), in requirements.lock:"
  sed -nE 's/^([A-Za-z0-9._-]+)==([^ ;]+).*/  \1 \2/p' requirements.lock
  exit 3
fi
echo "$said"
exit $code

# What the scripts share. Sourced, never run: . "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Machines may be unable to download an interpreter, so uv takes one that is installed.
export UV_PYTHON_DOWNLOADS=never
# A network's own certificates are in the system's store, where uv doesn't look by itself.
if [ -s /etc/ssl/certs/ca-certificates.crt ]; then export UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS:-true}; fi
export UV_PROJECT_ENVIRONMENT=${UV_PROJECT_ENVIRONMENT:-$root/.venv}
unset VIRTUAL_ENV
case $UV_PROJECT_ENVIRONMENT in
  /*) bin=$UV_PROJECT_ENVIRONMENT/bin ;;
  *) bin=$root/$UV_PROJECT_ENVIRONMENT/bin ;;
esac

fail() {
  printf '%s: %s\n' "$(basename "$0")" "$1" >&2
  shift
  if [ $# -gt 0 ]; then printf '  %s\n' "$@" >&2; fi
  exit 1
}

# Prints the comment at the top of the calling script if its first argument asks for help, and ends it.
help_if_asked() {
  case ${1:-} in
    -h | --help)
      awk 'NR == 1 { next } /^#/ { sub(/^# ?/, ""); print; next } { exit }' "$0"
      exit 0
      ;;
  esac
}

no_python() {
  fail "no Python 3.11 or newer was found." \
    "Install one (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python)," \
    "or put one that you have first on PATH, then run this again."
}

# The first interpreter that really runs (a pyenv shim may not) and is new enough.
find_python() {
  local candidate
  for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  return 1
}

# Prints the path of uv. Without a usable one on PATH, a private one is installed in .cache/uv-bootstrap.
find_uv() {
  local private=$root/.cache/uv-bootstrap python log
  if uv --version >/dev/null 2>&1; then
    command -v uv
    return
  fi
  if ! "$private/bin/uv" --version >/dev/null 2>&1; then
    python=$(find_python) || no_python
    mkdir -p "$root/.cache"
    log=$root/.cache/uv-bootstrap.log
    "$python" -m venv --clear "$private" >"$log" 2>&1 ||
      fail "'$python -m venv' failed; see $log." "On Debian and Ubuntu: apt install python3-venv, then run this again."
    "$private/bin/python" -m pip install --quiet --disable-pip-version-check 'uv>=0.8' >"$log" 2>&1 ||
      fail "uv could not be installed with pip; see $log." \
        "Check the connection to the package index, or install uv yourself and put it on PATH."
    rm -f "$log"
  fi
  printf '%s\n' "$private/bin/uv"
}

# Makes the environment equal to requirements.lock: says so, for it may take a while; quick when nothing changed.
setup() {
  local uv stamp wanted
  stamp=$bin/../.synced
  wanted=$(cat "$root/requirements.lock" "$root/pyproject.toml" | cksum)
  if [ -x "$bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    return
  fi
  printf 'Setting the project up in %s ...\n' "${bin%/bin}" >&2
  uv=$(find_uv)
  (cd "$root" && "$uv" python find --system --quiet >/dev/null 2>&1) || no_python
  (
    cd "$root"
    export VIRTUAL_ENV=${bin%/bin}
    "$uv" venv --quiet --allow-existing "$VIRTUAL_ENV"
    "$uv" pip sync --quiet --require-hashes requirements.lock
    "$uv" pip install --quiet --no-deps --editable .
  ) || fail "the environment could not be made; uv's message is above."
  printf '%s\n' "$wanted" >"$stamp"
}

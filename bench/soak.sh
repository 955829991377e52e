#!/usr/bin/env bash
# Whether the service stays as it is, used hard for ten minutes: full load, a key rotation each second, 100,000 clients that come and go, used assertions, failing logins. Publishes the
# service, and runs soak.py. README.md in this folder says what is watched. Needs: dotnet, wrk, python3, two cores.
set -euo pipefail
export LC_ALL=C.UTF-8

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() {
  printf 'soak: %s\n' "$*" >&2
  exit 2
}

for tool in wrk python3; do
  command -v "$tool" >/dev/null || fail "$tool is not installed."
done
(($(nproc) >= 2)) || fail "two cores are needed: one for the service, one for the load."

work=$(mktemp -d "${TMPDIR:-/tmp}/token-soak.XXXXXX")
trap 'rm -rf "$work"' EXIT

# The disk counts: a write-ahead log in memory has no syncs to wait for.
[[ $(stat -f -c %T "$work") != @(tmpfs|ramfs) ]] || fail "$work is in memory, where nothing is durable; set TMPDIR to a folder on a disk."

if [ -z "${PROGRAM:-}" ]; then
  command -v dotnet >/dev/null || fail "dotnet is not installed."
  dotnet publish "$here/../TokenService" -c Release -o "$work/service" --disable-build-servers >"$work/publish.log" 2>&1 || {
    tail -n 20 "$work/publish.log" >&2
    fail "TokenService was not published"
  }
  PROGRAM=$work/service/TokenService
fi

unset ASPNETCORE_URLS ASPNETCORE_HTTP_PORTS
export PYTHONDONTWRITEBYTECODE=1
python3 "$here/soak.py" "$PROGRAM" "$work" &
soaking=$!
trap 'kill -TERM "$soaking" 2>/dev/null; wait "$soaking" || true; rm -rf "$work"; exit 143' INT TERM
wait "$soaking"

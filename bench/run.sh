#!/usr/bin/env bash
# What a token costs: the service beside what could be picked instead, and beside the least that a token can cost. Builds everything, then
# measures everything in turn, and writes docs/performance.md. README.md in this folder says how to read it.
# Needs: dotnet, npm, wrk, taskset, chrt, python3, two cores.
set -euo pipefail
export LC_ALL=C.UTF-8

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail() {
  printf 'bench: %s\n' "$*" >&2
  exit 2
}

for tool in dotnet npm wrk taskset chrt python3; do
  command -v "$tool" >/dev/null || fail "$tool is not installed."
done
(($(nproc) >= 2)) || fail "two cores are needed: one for the servers, one for the load."

work=$(mktemp -d "${TMPDIR:-/tmp}/token-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT

# The disk counts: a used assertion is on it before its token is issued.
[[ $(stat -f -c %T "$work") != @(tmpfs|ramfs) ]] || fail "$work is in memory, where nothing is durable; set TMPDIR to a folder on a disk."

# publish PROJECT FOLDER [OPTION…]
publish() {
  printf '  %s\n' "$1 ${*:3}"
  dotnet publish "$here/../$1" -c Release -o "$work/$2" --disable-build-servers "${@:3}" >"$work/publish.log" 2>&1 || {
    tail -n 20 "$work/publish.log" >&2
    fail "$1 was not published"
  }
}

began=$SECONDS
echo "Building…"
# The service's own lock file is for Native AOT. That is published last, so that what is left in obj is its.
publish TokenService service-jit -p:PublishAot=false -p:NuGetLockFilePath="$work/packages.lock.json"
publish TokenService service
publish bench/Floor floor
publish bench/Assertions assertions
publish bench/OpenIddict openiddict
echo "  bench/OidcProvider"
npm ci --prefix "$here/OidcProvider" --omit=dev --no-audit --no-fund >"$work/npm.log" 2>&1 || {
  tail -n 20 "$work/npm.log" >&2
  fail "bench/OidcProvider was not installed"
}
rm "$work"/*.log
echo "  in $((SECONDS - began)) s"

unset ASPNETCORE_URLS ASPNETCORE_HTTP_PORTS
export PYTHONDONTWRITEBYTECODE=1
python3 "$here/measure.py" "$work" &
measuring=$!
trap 'kill -TERM "$measuring" 2>/dev/null; wait "$measuring" || true; exit 143' INT TERM
wait "$measuring"

#!/usr/bin/env bash
# What a token costs over a bare RSA-2048 signature, how long the first one takes, how much memory is in use after many, and how many
# tokens a second are left where each needs a client assertion of its own.
# README.md in this folder says how to read the output. Needs: dotnet, wrk, taskset, two cores.
set -euo pipefail
export LC_ALL=C

: "${ROUNDS:=5}" "${SECONDS_PER_ROUND:=5}" "${CONNECTIONS:=16}" "${TOKENS:=100000}" "${STARTS:=10}" "${ASSERTION_ROUNDS:=3}"
: "${SERVER_CORE:=0}" "${LOAD_CORE:=1}"
max_ratio=1.15
max_start_ms=150
max_resident_mb=60
min_assertion_ratio=0.7
assertion_connections=(1 16 64)
judged_connections=64

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/token-bench.XXXXXX")
pids=()

finish() {
  local status=$?
  trap - EXIT INT TERM
  if ((${#pids[@]} > 0)); then
    kill -KILL "${pids[@]}" 2>/dev/null || true
    wait "${pids[@]}" 2>/dev/null || true
  fi
  rm -rf "$work"
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '%s\n' "$*"; }

fail() {
  printf 'bench: %s\n' "$*" >&2
  tail -n 20 "$work"/*.log >&2 2>/dev/null || true
  exit 1
}

for tool in dotnet wrk taskset; do
  command -v "$tool" >/dev/null || fail "$tool is not installed."
done

# ---------------------------------------------------------------------------------------------------------------- processes

# Below the range that the kernel hands out itself, so that no connection of the load takes the port in between.
free_port() {
  local port
  for _ in {1..100}; do
    port=$((20000 + RANDOM % 12000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      say "$port"
      return
    fi
  done
  fail "no free port"
}

# start LOG COMMAND…: sets $started. taskset replaces itself by the program, so its process id is the program's.
start() {
  local log=$1
  shift
  taskset -c "$SERVER_CORE" "$@" </dev/null >>"$work/$log.log" 2>&1 &
  started=$!
  pids+=("$started")
}

stop() {
  local left=() pid
  kill -TERM "$1"
  wait "$1" || fail "a server ended with status $?"
  for pid in "${pids[@]}"; do
    [[ $pid == "$1" ]] || left+=("$pid")
  done
  pids=("${left[@]}")
}

# post PORT FORM [HEADER…]: sends one request to the token endpoint and sets $answer; fails where nobody listens. Without another
# program, as its start would be in the time of the first token.
post() {
  { exec 3<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null || return 1
  printf '%s\r\n' 'POST /oauth2/token HTTP/1.1' "Host: 127.0.0.1:$1" "${@:3}" \
    'Content-Type: application/x-www-form-urlencoded' "Content-Length: ${#2}" 'Connection: close' '' >&3
  printf '%s' "$2" >&3
  IFS= read -r -d '' -t 5 answer <&3 || true
  exec 3>&-
}

ask() {
  post "$1" 'grant_type=client_credentials' "Authorization: Basic $BASIC_CREDENTIALS" || return 1
  [[ $answer == 'HTTP/1.1 200 '*access_token* ]] || fail "no token but: ${answer:-nothing}"
}

# await PID PORT: asks until there is an answer.
await() {
  local end=$((${EPOCHREALTIME/./} + 10000000))
  until ask "$2"; do
    kill -0 "$1" 2>/dev/null || fail "a server ended before it listened"
    ((${EPOCHREALTIME/./} < end)) || fail "a server does not listen after 10 s"
  done
}

start_service() {
  start service "$work/service/TokenService" "--contentRoot=$work/service" "--urls=http://127.0.0.1:$1" \
    "--TokenService:Issuer=http://127.0.0.1:$1" "$store" --Logging:LogLevel:Default=Warning
}

# -------------------------------------------------------------------------------------------------------------- measurements

ticks_per_second=$(getconf CLK_TCK)

# User and system time of a process so far, all threads, in ticks. The name in the line may hold blanks, so it is cut off.
ticks() {
  local line fields
  line=$(<"/proc/$1/stat")
  read -r -a fields <<<"${line##*) }"
  say $((fields[11] + fields[12]))
}

# load PID PORT [SCRIPT CONNECTIONS]: sets $requests, $rate (a second) and $cost (µs of processor time for each request).
load() {
  local before after output
  before=$(ticks "$1")
  output=$(wrk -t 1 -c "${4:-$CONNECTIONS}" -d "${SECONDS_PER_ROUND}s" -s "$here/${3:-token}.lua" \
    "http://127.0.0.1:$2/oauth2/token" 2>&1) || fail "wrk: $output"
  after=$(ticks "$1")
  [[ $output =~ result\ ([0-9]+)\ requests\ ([0-9]+)\ microseconds\ ([0-9]+)\ refused\ ([0-9]+)\ broken ]] || fail "wrk: $output"
  [[ ${BASH_REMATCH[3]} == 0 && ${BASH_REMATCH[4]} == 0 ]] || fail "not every request was answered with 200: $output"
  requests=${BASH_REMATCH[1]}
  ((requests > 0)) || fail "no request was answered: $output"
  rate=$(calculate "$requests * 1e6 / ${BASH_REMATCH[2]}" 0)
  cost=$(calculate "($after - $before) * 1e6 / $ticks_per_second / $requests" 2)
}

calculate() { awk "BEGIN { printf \"%.${2}f\", $1 }"; }

# Of the numbers given: the smallest, the median, the largest.
spread() { printf '%s\n' "$@" | sort -n | awk '{ n[NR] = $1 } END { print n[1], (n[int((NR + 1) / 2)] + n[int(NR / 2) + 1]) / 2, n[NR] }'; }

# sign_assertions CONNECTIONS: for the next load, half as many again as the fastest so far would have needed. On both cores: nobody is
# served meanwhile.
sign_assertions() {
  taskset -c "$SERVER_CORE,$LOAD_CORE" dotnet "$work/assertions/Assertions.dll" "$work/key.pem" signer "http://127.0.0.1:$service_port" \
    "$(calculate "1.5 * $fastest * $SECONDS_PER_ROUND + $1" 0)" >"$ASSERTIONS" 2>"$work/commands.log" || fail "no assertions were signed"
}

# load_assertions CONNECTIONS: as load, each request with one of those assertions. Keeps some of the used ones.
load_assertions() {
  load "$service" "$service_port" assertion "$1"
  # From the first half without the first line: that one wrk does not send, and the last ones that it sent had no answer.
  awk -v half=$((requests / 2)) 'NR > 1 && NR <= half && NR % int(half / 5 + 1) == 0' "$ASSERTIONS" >>"$work/used.txt"
}

# answers_to ASSERTION STATUS: fails where the service answers it otherwise.
answers_to() {
  local type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer
  post "$service_port" "grant_type=client_credentials&client_assertion_type=$type&client_assertion=$1" || fail "the service does not listen"
  [[ $answer == "HTTP/1.1 $2 "* ]] || fail "an assertion was to be answered with $2, but: ${answer:-nothing}"
}

# All that could be written for a token. Not -shm: it holds no content, and readers mark in it where they read.
store_fingerprint() {
  (cd "$work/store" && for file in *; do
    [[ $file == *-shm ]] || { sha256sum "$file" && stat -c '%n, %s bytes, changed %y' "$file"; }
  done)
}

# judge WHAT CONDITION: an arithmetic condition, as awk reads it.
verdict=0
judge() {
  local word=PASS
  awk "BEGIN { exit !($2) }" || { word=FAIL verdict=1; }
  say "$word  $1"
}

# ------------------------------------------------------------------------------------------------------------------ the run

# The disk counts: a used assertion is on it before its token is issued.
store_on=$(stat -f -c %T "$work")
[[ $store_on != @(tmpfs|ramfs) ]] || fail "$work is in memory, where nothing is durable; set TMPDIR to a folder on a disk."

say "Publishing the service and the floor with Native AOT, and the writer of assertions…"
for project in TokenService:service bench/Floor:floor bench/Assertions:assertions; do
  dotnet publish "$here/../${project%:*}" -c Release -o "$work/${project#*:}" --disable-build-servers >"$work/publish.log" 2>&1 ||
    fail "${project%:*} was not published"
done
rm "$work/publish.log"

# From here on, this script and all that it starts but the servers.
taskset -cp "$LOAD_CORE" $$ >/dev/null
unset ASPNETCORE_URLS ASPNETCORE_HTTP_PORTS
export ASPNETCORE_ENVIRONMENT=Production DOTNET_ENVIRONMENT=Production

mkdir "$work/store"
store="--ConnectionStrings:TokenService=Data Source=$work/store/store.db"
"$work/service/TokenService" resources add https://api.example.com --scope "read write" "$store" >"$work/commands.log" 2>&1 ||
  fail "no resource was registered"
secret=$("$work/service/TokenService" clients add --id bench --scope "read write" "$store" 2>>"$work/commands.log") ||
  fail "no client was registered"
BASIC_CREDENTIALS=$(printf 'bench:%s' "$secret" | base64 -w 0)
export BASIC_CREDENTIALS ASSERTIONS="$work/assertions.txt"
rm "$work/commands.log"

service_port=$(free_port)
start_service "$service_port"
service=$started
await "$service" "$service_port"

# The floor signs and answers as many bytes.
body=${answer#*$'\r\n\r\n'}
token=${body#*'"access_token":"'}
token=${token%%'"'*}
signed=${token%.*}
floor_port=$(free_port)
start floor "$work/floor/Floor" "--urls=http://127.0.0.1:$floor_port" "--InputBytes=${#signed}" "--AnswerBytes=${#body}"
floor=$started
await "$floor" "$floor_port"

say "$(awk -F ': ' '/^model name/ { print $2; exit }' /proc/cpuinfo), load average $(cut -d ' ' -f 1 /proc/loadavg);" \
  "servers on core $SERVER_CORE, wrk on core $LOAD_CORE, $CONNECTIONS connections"
say "An answer of ${#body} bytes, ${#signed} of them signed"
fingerprint=$(store_fingerprint)

say "Warming up…"
load "$floor" "$floor_port"
load "$service" "$service_port"
tokens=$((requests + 1))

say
say "         service               floor"
say "round    tokens/s  µs/token    answers/s  µs/answer    ratio"
ratios=()
for ((round = 1; round <= ROUNDS; round++)); do
  # In turn the first, so that a machine that grows slower or faster favours neither.
  if ((round % 2 == 1)); then order=(service floor); else order=(floor service); fi
  for who in "${order[@]}"; do
    if [[ $who == service ]]; then
      load "$service" "$service_port"
      tokens=$((tokens + requests)) service_rate=$rate service_cost=$cost
    else
      load "$floor" "$floor_port"
      floor_rate=$rate floor_cost=$cost
    fi
  done
  ratio=$(calculate "$service_cost / $floor_cost" 3)
  ratios+=("$ratio")
  printf '%5d  %10s  %8s   %10s  %9s  %7s\n' "$round" "$service_rate" "$service_cost" "$floor_rate" "$floor_cost" "$ratio"
done
read -r low median_ratio high <<<"$(spread "${ratios[@]}")"
say "Ratio: median $median_ratio, from $low to $high"
stop "$floor"

say
say "Memory after $TOKENS tokens…"
while ((tokens < TOKENS)); do
  load "$service" "$service_port"
  tokens=$((tokens + requests))
  say "  $tokens"
done
resident=$(awk '/^VmRSS:/ { printf "%.1f", $2 * 1024 / 1e6 }' "/proc/$service/status")
peak=$(awk '/^VmHWM:/ { printf "%.1f", $2 * 1024 / 1e6 }' "/proc/$service/status")
say "$resident MB resident after $tokens tokens, $peak MB at most"
after=$(store_fingerprint)
say "The store's files before those tokens:"
say "$fingerprint"
if [[ $after == "$fingerprint" ]]; then
  written=0
  say "and after them the same."
else
  written=1
  say "and after them:"
  say "$after"
fi
stop "$service"

say
say "From process start to the first token, existing store…"
times=()
for ((i = 1; i <= STARTS; i++)); do
  port=$(free_port)
  began=${EPOCHREALTIME/./}
  start_service "$port"
  await "$started" "$port"
  times+=("$(calculate "(${EPOCHREALTIME/./} - $began) / 1000" 1)")
  stop "$started"
done
read -r low median_start worst_start <<<"$(spread "${times[@]}")"
say "ms: ${times[*]}"
say "Median $median_start ms, from $low to $worst_start"

say
say "Tokens for client assertions (private_key_jwt, RS256) and for secrets (client_secret_basic)…"
"$work/service/TokenService" new-key --out "$work/key.pem" >"$work/jwks.json" 2>"$work/commands.log" || fail "no key was made"
"$work/service/TokenService" clients add --id signer --scope "read write" --auth private_key_jwt --jwks "$work/jwks.json" "$store" \
  >"$work/commands.log" 2>&1 || fail "no client was registered for private_key_jwt"
began=${EPOCHREALTIME/./}
dd if=/dev/zero of="$work/synced" bs=4k count=200 oflag=dsync 2>"$work/commands.log" || fail "the disk could not be written"
say "The store is on $store_on; a synced write of 4 KiB takes $(calculate "(${EPOCHREALTIME/./} - $began) / 200 / 1000" 2) ms there"

service_port=$(free_port)
start_service "$service_port"
service=$started
await "$service" "$service_port"
load "$service" "$service_port" token "$judged_connections"
fastest=$rate
sign_assertions "$judged_connections"
load_assertions "$judged_connections"

say
say "                       client_secret_basic     private_key_jwt"
say "connections  round    tokens/s  µs/token    tokens/s  µs/token    ratio"
declare -A assertion_ratios=()
for ((round = 1; round <= ASSERTION_ROUNDS; round++)); do
  if ((round % 2 == 1)); then order=(basic assertion); else order=(assertion basic); fi
  for connections in "${assertion_connections[@]}"; do
    # First, so that nothing is between the two loads.
    sign_assertions "$connections"
    for who in "${order[@]}"; do
      if [[ $who == basic ]]; then
        load "$service" "$service_port" token "$connections"
        basic_rate=$rate basic_cost=$cost
        fastest=$(calculate "($rate > $fastest ? $rate : $fastest)" 0)
      else
        load_assertions "$connections"
        assertion_rate=$rate assertion_cost=$cost
      fi
    done
    ratio=$(calculate "$assertion_rate / $basic_rate" 3)
    assertion_ratios[$connections]+=" $ratio"
    printf '%11d  %5d  %10s  %8s  %10s  %8s  %7s\n' \
      "$connections" "$round" "$basic_rate" "$basic_cost" "$assertion_rate" "$assertion_cost" "$ratio"
  done
done
for connections in "${assertion_connections[@]}"; do
  read -r low median high <<<"$(spread ${assertion_ratios[$connections]})"
  say "Ratio of tokens/s with $connections connections: median $median, from $low to $high"
  [[ $connections != "$judged_connections" ]] || assertion_ratio=$median
done

# Whether they were noted, and in the store: a new process is asked. An unused one shows that nothing else is wrong with them; the latest
# are young enough, and not too many for the limit on failures.
stop "$service"
start_service "$service_port"
service=$started
await "$service" "$service_port"
unused=$(tail -n 1 "$ASSERTIONS")
answers_to "$unused" 200
answers_to "$unused" 401
mapfile -t used < <(tail -n 40 "$work/used.txt")
((${#used[@]} > 0)) || fail "too few tokens were issued to try their assertions again"
for assertion in "${used[@]}"; do
  answers_to "$assertion" 401
done
say "After a restart, an unused assertion is answered with 200, and $((${#used[@]} + 1)) used ones with 401"
stop "$service"

say
judge "a token costs $median_ratio times the processor time of the floor (median), at most $max_ratio" "$median_ratio <= $max_ratio"
judge "the first token comes $worst_start ms after process start (worst), at most $max_start_ms" "$worst_start <= $max_start_ms"
judge "$resident MB resident after $tokens tokens, under $max_resident_mb" "$resident < $max_resident_mb"
judge "the store's files are as they were before $tokens tokens" "$written == 0"
judge "private_key_jwt has $assertion_ratio times the tokens/s of client_secret_basic with $judged_connections connections (median), at \
least $min_assertion_ratio" "$assertion_ratio >= $min_assertion_ratio"
exit "$verdict"

#!/usr/bin/env bash
# The main job, from credentials to documents: starts the token service and the sample API on loopback with a store of their own,
# walks through with curl, shows each answer, and stops what it started.
set -euo pipefail
cd "$(dirname "$0")/.."

issuer=${ISSUER:-http://127.0.0.1:5081}
api=${API:-http://127.0.0.1:5091}
token=
narrow=
assertion=
store=$(mktemp -d)
pids=()
stop() {
    for pid in "${pids[@]}"; do
        kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true
    done
    rm -rf "$store"
}
trap stop EXIT

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
# Shows a command as it could be typed, its long words by name, and runs it.
show() {
    local word line='$'
    for word in "$@"; do
        [ -n "$token" ] && word=${word//"$token"/\$TOKEN}
        [ -n "$narrow" ] && word=${word//"$narrow"/\$NARROW_TOKEN}
        [ -n "$assertion" ] && word=${word//"$assertion"/\$ASSERTION}
        word=${word//"$store"/\$FOLDER}
        word=${word/#"$TOKENSERVICE_BINARY"/TokenService}
        case $word in *[\ \&\?]*) word="\"$word\"" ;; esac
        line+=" $word"
    done
    printf '%s\n' "$line"
    "$@"
    printf '\n'
}
ready() {
    for _ in $(seq 150); do
        curl -s -o /dev/null "$1" && return
        sleep 0.2
    done
    echo "$1 does not answer; its output:" >&2
    cat "$store"/*.log >&2
    exit 1
}

# TOKENSERVICE_BINARY may name a published program; otherwise both are built here.
dotnet build samples/CatalogApi --nologo -v quiet --disable-build-servers
if [ -z "${TOKENSERVICE_BINARY:-}" ]; then
    dotnet build TokenService --nologo -v quiet --disable-build-servers
    TOKENSERVICE_BINARY=TokenService/bin/Debug/net10.0/TokenService
fi

ASPNETCORE_ENVIRONMENT=Development "$TOKENSERVICE_BINARY" --urls=$issuer --TokenService:Issuer=$issuer \
    --TokenService:ApplyFile="$PWD/samples/catalog.json" --ConnectionStrings:TokenService="Data Source=$store/store.db" > "$store/service.log" 2>&1 &
pids+=($!)
ASPNETCORE_ENVIRONMENT=Development samples/CatalogApi/bin/Debug/net10.0/CatalogApi --urls=$api --Issuer=$issuer \
    --Audience=https://catalog.example.com > "$store/api.log" 2>&1 &
pids+=($!)
ready $issuer/health/ready
ready $api/documents

say "1. What the service offers"
show curl -s $issuer/.well-known/oauth-authorization-server

say "2. A token: the job proves who it is, and gets what it is registered for"
show curl -s -u reporting-job:not-a-secret-just-the-sample-reporting-job -d grant_type=client_credentials $issuer/oauth2/token
token=$(curl -s -u reporting-job:not-a-secret-just-the-sample-reporting-job -d grant_type=client_credentials $issuer/oauth2/token \
    | sed 's/.*"access_token":"\([^"]*\)".*/\1/')

say "3. What is in it (the middle part of the token)"
middle=$(printf '%s' "$token" | cut -d. -f2 | tr '_-' '/+')
while [ $(( ${#middle} % 4 )) -ne 0 ]; do middle="$middle="; done
printf '%s' "$middle" | base64 -d
printf '\n'

say "4. The API checks it against the published keys, and answers"
show curl -s "$api/documents?q=tokens" -H "Authorization: Bearer $token"
show curl -s "$api/documents/3" -H "Authorization: Bearer $token"

say "5. Refused by the API: no token"
show curl -s -o /dev/null -D - "$api/documents"

say "6. Refused by the API: a token without the scope catalog.read"
narrow=$(curl -s -d grant_type=client_credentials -d client_id=search-widget -d client_secret=not-a-secret-just-the-sample-search-widget \
    $issuer/oauth2/token | sed 's/.*"access_token":"\([^"]*\)".*/\1/')
show curl -s -o /dev/null -D - "$api/documents/3" -H "Authorization: Bearer $narrow"

say "7. Refused by the service: a wrong secret"
show curl -s -u reporting-job:wrong -d grant_type=client_credentials $issuer/oauth2/token

say "8. Refused by the service: a scope that is not the client's"
show curl -s -u reporting-job:not-a-secret-just-the-sample-reporting-job -d grant_type=client_credentials -d scope=orders.read $issuer/oauth2/token

say "9. With a key instead of a secret: the service knows the public key alone, and each request has a new assertion"
printf '$ TokenService new-key --out $FOLDER/indexer.pem > $FOLDER/indexer.jwks\n'
"$TOKENSERVICE_BINARY" new-key --out "$store/indexer.pem" > "$store/indexer.jwks"
cat "$store/indexer.jwks"
show "$TOKENSERVICE_BINARY" clients add --id indexer --scope catalog.read --auth private_key_jwt --jwks "$store/indexer.jwks" \
    "--ConnectionStrings:TokenService=Data Source=$store/store.db"
# The service looks for changes once a second.
for _ in $(seq 50); do
    grep -q "Read the changed store" "$store/service.log" && break
    sleep 0.2
done
show "$TOKENSERVICE_BINARY" assertion --client indexer --key "$store/indexer.pem" --audience $issuer
assertion=$("$TOKENSERVICE_BINARY" assertion --client indexer --key "$store/indexer.pem" --audience $issuer)
show curl -s -d grant_type=client_credentials -d client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer \
    -d client_assertion="$assertion" $issuer/oauth2/token

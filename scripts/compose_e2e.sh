#!/usr/bin/env bash
# docker-compose.yaml for real: shares, other weights without a restart, what Prometheus and Grafana
# see. Everything is removed at the end, unless KEEP=1.
#
#   compose_e2e.sh
#
# Needs docker, curl, jq, openssl, `make setup`, and v1 and v2 of iris (`abserve train iris`).
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/waiting.sh
source scripts/waiting.sh

ABSERVE_FEEDBACK_KEY=$(openssl rand -hex 32)
export ABSERVE_FEEDBACK_KEY
gateway=http://127.0.0.1:${GATEWAY_PORT:-8080}/seldon/default/iris
prometheus=http://127.0.0.1:${PROMETHEUS_PORT:-9090}
grafana=http://127.0.0.1:${GRAFANA_PORT:-3000}

finish() {
    code=$?
    if [ "$code" -ne 0 ]; then docker compose logs --no-color --tail 100 || true; fi
    .venv/bin/python scripts/compose.py
    if [ "${KEEP:-0}" != 1 ]; then docker compose down --volumes || true; fi
    exit "$code"
}
trap finish EXIT

# Whether Envoy routes by the file of this version.
in_force() {
    docker compose exec -T gateway bash -c "
        exec 3<>/dev/tcp/127.0.0.1/9901 &&
        printf 'GET /stats?filter=version_text HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n' >&3 &&
        grep --fixed-strings '\"$1\"' <&3"
}

# Whether a condition holds of what a page answers: URL CONDITION, as jq understands it.
answers() {
    curl --fail --silent --show-error --max-time 10 --noproxy '*' "$1" |
        jq --exit-status "if $2 then true else error(tostring) end"
}

echo "--- containers"
docker compose up --build --wait --wait-timeout 300
scripts/ask_versions.sh "$gateway" 200 90 10

echo "--- other weights"
.venv/bin/python scripts/compose.py --candidate 50
try_for 30 in_force candidate-50
scripts/ask_versions.sh "$gateway" 200 50 50

echo "--- what is scraped and recorded"
query="$prometheus/api/v1/query?query"
try_for 60 answers "$query=up" '[.data.result[].value[1]] == ["1", "1", "1"]'
# A rate takes two scrapes, and a rule reads what the one before it recorded.
for recorded in abserve:requests:rate5m abserve:gateway_requests:rate5m; do
    try_for 120 answers "$query=$recorded" \
        '[.data.result[].metric.predictor] | unique == ["baseline", "candidate"]'
done

echo "--- dashboards"
n_dashboards=$(find manifests/monitoring/dashboards -name '*.json' | wc -l)
try_for 60 answers "$grafana/api/search?type=dash-db" "length == $n_dashboards"
try_for 60 answers "$grafana/api/datasources/uid/prometheus/health" '.status == "OK"'
echo "--- passed"

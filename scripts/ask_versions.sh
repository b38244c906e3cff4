#!/usr/bin/env bash
# Send N requests for a flower to iris, and compare the versions that answer with what is expected:
#
#   ask_versions.sh URL N V1_PERCENT V2_PERCENT      e.g. .../seldon/default/iris 200 90 10
#
# Ends with 1 if a request fails, or if a share is further off than chance takes it: five standard
# deviations of a binomial share.
set -euo pipefail

if [ $# -ne 4 ]; then
    echo "ask_versions.sh: found $# arguments, expected URL N V1_PERCENT V2_PERCENT" >&2
    exit 2
fi
url=$1 n=$2

body='{"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 4],
    "data": [5.1, 3.5, 1.4, 0.2]}]}'
for ((i = 0; i < n; i++)); do
    curl --fail --silent --show-error --max-time 10 --noproxy '*' \
        --header 'Content-Type: application/json' --data "$body" "$url/v2/models/iris/infer"
    echo
done | python3 -c '
import json, math, sys
from collections import Counter

expected = {"v1": int(sys.argv[1]) / 100, "v2": int(sys.argv[2]) / 100}
n_sent = int(sys.argv[3])
counts = Counter(json.loads(line)["model_version"] for line in sys.stdin if line.strip())
print(dict(counts))
if counts.total() != n_sent:
    sys.exit(f"{counts.total()} of {n_sent} requests were answered")
for version, share in expected.items():
    margin = 5 * math.sqrt(share * (1 - share) / n_sent)
    if abs(counts[version] / n_sent - share) > margin:
        sys.exit(f"{version} answered {counts[version]} of {n_sent}; expected {share:.0%} of them")
' "$3" "$4" "$n"

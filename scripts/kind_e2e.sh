#!/usr/bin/env bash
# The local overlay of iris on real Kubernetes: kind, Istio and Seldon Core's operator.
#
#   kind_e2e.sh REPOSITORY      a folder with iris/v1 and iris/v2, as `abserve train iris` fills it
#
# Needs docker, kind 0.31, kubectl, helm, curl, openssl and `make setup`. Charts are of the versions
# that Flux installs, read from manifests/infrastructure. The cluster is deleted at the end, unless
# KEEP=1.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/waiting.sh
source scripts/waiting.sh

cluster=abserve-e2e
# The node that kind 0.31 was released with: others are not promised to start.
node=kindest/node:v1.35.0@sha256:452d707d4862f52530247495d180205e029056831160e22870e37e3f6c1ac31f
port=18080

if [ $# -ne 1 ] || [ ! -d "$1/iris/v1" ] || [ ! -d "$1/iris/v2" ]; then
    echo "kind_e2e.sh: found '$*', expected a folder that holds iris/v1 and iris/v2" >&2
    exit 2
fi
repository=$(realpath "$1")
work=$(mktemp -d)
export KUBECONFIG=$work/kubeconfig
forward=

finish() {
    code=$?
    if [ "$code" -ne 0 ] && [ -s "$KUBECONFIG" ]; then
        echo "--- what the cluster says"
        kubectl get pods,sdep,virtualservices --all-namespaces || true
        kubectl describe pods --selector seldon-deployment-id=iris || true
        kubectl logs --namespace seldon-system --selector control-plane=seldon-controller-manager \
            --tail 100 || true
    fi
    if [ -n "$forward" ]; then kill "$forward" || true; fi
    if [ "${KEEP:-0}" != 1 ]; then kind delete cluster --name "$cluster" || true; fi
    rm -rf "$work"
    exit "$code"
}
trap finish EXIT

# Whether the gateway's Envoy, not only the VirtualService, has a weight for both versions.
gateway_gives_each() {
    kubectl exec --namespace istio-ingress deployment/istio-ingress -- \
        pilot-agent request GET 'config_dump?resource=dynamic_route_configs' |
        python3 -c '
import json, sys

def weights(found):
    if isinstance(found, dict):
        if "weighted_clusters" in found:
            yield sorted(each["weight"] for each in found["weighted_clusters"]["clusters"])
        found = list(found.values())
    if isinstance(found, list):
        for each in found:
            yield from weights(each)

found, expected = list(weights(json.load(sys.stdin))), sorted(map(int, sys.argv[1:]))
if not found or any(each != expected for each in found):
    sys.exit(f"the gateway has the weights {found}; expected {expected} in each route")
' "$@"
}

# The version of a chart, as the HelmRelease says it.
version() {
    awk -v chart="$1" '
        $1 == "chart:" && $2 == chart { found = 1 }
        found && $1 == "version:" { print $2; exit }
    ' manifests/infrastructure/controllers/*.yaml
}

# Installs a chart: NAME CHART REPOSITORY NAMESPACE [ARGUMENTS...].
install() {
    local name=$1 chart=$2 url=$3 namespace=$4
    shift 4
    local wanted
    wanted=$(version "$chart")
    if [ -z "$wanted" ]; then
        echo "kind_e2e.sh: no HelmRelease in manifests/infrastructure is of chart $chart" >&2
        return 1
    fi
    helm install "$name" "$chart" --repo "$url" --version "$wanted" --namespace "$namespace" \
        --create-namespace --wait --timeout 5m "$@"
}

echo "--- cluster"
cat > "$work/kind.yaml" <<END
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
  - role: control-plane
    extraMounts:
      - {hostPath: "$repository", containerPath: /repository, readOnly: true}
END
kind create cluster --name "$cluster" --image "$node" --config "$work/kind.yaml" --wait 2m

echo "--- image"
image=$(kubectl kustomize manifests/overlays/local/iris | awk '$1 == "image:" { print $2; exit }')
# kind cannot load an image that has an attestation (kubernetes-sigs/kind#3795).
docker build --provenance=false --tag "$image" .
kind load docker-image "$image" --name "$cluster"

echo "--- Istio and Seldon Core"
istio=https://istio-release.storage.googleapis.com/charts
install istio-base base "$istio" istio-system
install istiod istiod "$istio" istio-system \
    --set resources.requests.cpu=100m --set resources.requests.memory=512Mi
install istio-ingress gateway "$istio" istio-ingress --set service.type=ClusterIP
install seldon-core seldon-core-operator https://storage.googleapis.com/seldon-charts \
    seldon-system --set istio.enabled=true --set istio.gateway=istio-ingress/seldon-gateway \
    --set usageMetrics.enabled=false --set defaultUserID=8888

echo "--- model repository, secrets, gateway"
rclone=$(awk '$1 == "image:" { print $2; exit }' manifests/base/cluster/initializer.yaml)
key=$(openssl rand -hex 16)
kubectl create secret generic feedback-key --from-literal=key="$(openssl rand -hex 32)"
kubectl create secret generic model-repository \
    --from-literal=RCLONE_CONFIG_S3_TYPE=s3 \
    --from-literal=RCLONE_CONFIG_S3_PROVIDER=Minio \
    --from-literal=RCLONE_CONFIG_S3_ENV_AUTH=false \
    --from-literal=RCLONE_CONFIG_S3_ENDPOINT=http://repository:9000 \
    --from-literal=RCLONE_CONFIG_S3_ACCESS_KEY_ID=e2e \
    --from-literal=RCLONE_CONFIG_S3_SECRET_ACCESS_KEY="$key"
kubectl apply -f - <<END
apiVersion: v1
kind: Pod
metadata:
  name: repository
  labels: {app: repository}
spec:
  containers:
    - name: rclone
      image: $rclone
      args: [serve, s3, --addr, ":9000", --auth-key, "e2e,$key", --read-only, /srv]
      readinessProbe: {tcpSocket: {port: 9000}}
      volumeMounts:
        # Buckets are the folders below /srv.
        - {name: repository, mountPath: /srv/models, readOnly: true}
  volumes:
    - {name: repository, hostPath: {path: /repository, type: Directory}}
---
apiVersion: v1
kind: Service
metadata: {name: repository}
spec:
  selector: {app: repository}
  ports: [{port: 9000}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: seldon-gateway, namespace: istio-ingress}
spec:
  selector: {istio: ingress}
  servers:
    - port: {number: 80, name: http, protocol: HTTP}
      hosts: ["*"]
END
kubectl wait --for=condition=Ready pod/repository --timeout=3m

echo "--- iris"
# The operator's webhook has no probe, so that it answers is seen only when it does.
try_for 120 kubectl apply --server-side -k manifests/overlays/local/iris
kubectl wait --for=jsonpath='{.status.state}'=Available sdep/iris --timeout=5m
kubectl port-forward --namespace istio-ingress service/istio-ingress "$port:80" > "$work/forward" &
forward=$!
url=http://127.0.0.1:$port/seldon/default/iris
try_for 120 gateway_gives_each 90 10
try_for 60 curl --fail --silent --show-error --max-time 5 "$url/v2/models/iris/ready"
scripts/ask_versions.sh "$url" 200 90 10

echo "--- other weights"
.venv/bin/abserve weights iris baseline=50 candidate=50
try_for 60 gateway_gives_each 50 50
scripts/ask_versions.sh "$url" 200 50 50

echo "--- as user 8888, from a file system that cannot be written"
pod=$(kubectl get pods --selector seldon-app=iris-baseline --output name | head -n 1)
if [ "$(kubectl exec "$pod" --container iris -- python -c 'import os; print(os.getuid())')" != 8888 ]; then
    echo "kind_e2e.sh: iris does not run as user 8888" >&2
    exit 1
fi
if kubectl exec "$pod" --container iris -- python -c 'open("/app/written", "w")'; then
    echo "kind_e2e.sh: the container can write beside its code" >&2
    exit 1
fi
echo "--- passed"

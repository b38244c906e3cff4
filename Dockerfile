# Two images, each with no more than it needs. `serving`, the default: MLServer, our runtimes and the
# floors of abserve below them; a version comes in through /mnt/models. `rollout`: the command line,
# to run the rollout controller in a cluster; it serves nothing and trains nothing.
#
#   docker build --build-arg VERSION=0.1.0 --build-arg REVISION="$(git rev-parse HEAD)" -t abserve .
#   docker build --target rollout -t abserve/rollout:0.1.0 .

FROM python:3.11-slim-bookworm AS build-serving

WORKDIR /build
COPY requirements-serving.lock ./
# Every package has a wheel, so nothing is compiled; pip stays outside of the environment it fills.
RUN python -m venv --without-pip /opt/abserve \
    && pip --python /opt/abserve/bin/python install --no-cache-dir --disable-pip-version-check \
        --only-binary=:all: --no-deps --require-hashes --requirement requirements-serving.lock

# The modules (*.py) of abserve are floors 0 and 1, its packages are the floors above.
COPY abserve/*.py /opt/abserve/app/abserve/
COPY runtimes/ /opt/abserve/app/runtimes/
# A checkout made under a strict umask must still be readable by whatever user the pod runs as.
RUN python -m compileall -q /opt/abserve/app && chmod -R a+rX /opt/abserve


FROM python:3.11-slim-bookworm AS build-rollout

WORKDIR /build
COPY requirements-rollout.lock ./
RUN python -m venv --without-pip /opt/abserve \
    && pip --python /opt/abserve/bin/python install --no-cache-dir --disable-pip-version-check \
        --only-binary=:all: --no-deps --require-hashes --requirement requirements-rollout.lock

COPY abserve/ /opt/abserve/app/abserve/
RUN python -m compileall -q /opt/abserve/app && chmod -R a+rX /opt/abserve


FROM python:3.11-slim-bookworm AS rollout

ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="abserve/rollout" \
    org.opencontainers.image.description="The rollout controller of abserve" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"

COPY --from=build-rollout /opt/abserve /opt/abserve

# One thread does all the arithmetic there is; BLAS would start one for each processor of the node.
ENV PATH=/opt/abserve/bin:$PATH \
    PYTHONPATH=/opt/abserve/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OPENBLAS_NUM_THREADS=1

# The one folder that any user may write to, and that an emptyDir covers when the root file system is
# read-only.
WORKDIR /tmp

USER 8888:8888

# The manifest has a probe of its own, because Kubernetes ignores what stands here.
HEALTHCHECK NONE

ENTRYPOINT ["python", "-m", "abserve.cli"]
CMD ["rollout", "--help"]


# Last, because without --target the last one is built.
FROM python:3.11-slim-bookworm AS serving

ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="abserve" \
    org.opencontainers.image.description="MLServer with the runtimes of abserve" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"

COPY --from=build-serving /opt/abserve /opt/abserve

# Seldon's storage initializer copies the version to /mnt/models. 0.0.0.0, because a pod is reached
# through its own address.
ENV PATH=/opt/abserve/bin:$PATH \
    PYTHONPATH=/opt/abserve/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MLSERVER_HOST=0.0.0.0 \
    MLSERVER_MODELS_DIR=/mnt/models

# Where MLServer keeps files of its own, relative to where it runs: the one folder that any user
# may write to, and that an emptyDir covers when the root file system is read-only.
WORKDIR /tmp

# The operator's own default user. Nothing below depends on which one it is.
USER 8888:8888

EXPOSE 8080 8081 8082

# Kubernetes ignores this and asks through its own probes. No proxy, whatever the environment says.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:' + os.environ.get('MLSERVER_HTTP_PORT', '8080') + '/v2/health/ready', timeout=4)"]

CMD ["python", "-m", "runtimes.server"]

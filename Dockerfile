# Three images, each with no more than it needs, of one base and with locked dependencies.
#
#   serving   the default: MLServer, our runtimes and the floors of abserve below them. A version
#             comes in through /mnt/models
#   rollout   the command line, to run the rollout controller in a cluster; it serves and trains
#             nothing
#   training  the command line and the training code, with the definitions in models/; it serves
#             nothing
#
#   docker build --build-arg VERSION=0.1.0 --build-arg REVISION="$(git rev-parse HEAD)" \
#     --build-arg SOURCE="$(git remote get-url origin)" -t abserve/runtimes:0.1.0 .
#   docker build --target rollout -t abserve/rollout:0.1.0 .
#   docker build --target training -t abserve/training:0.1.0 .

# The digest of the index of platforms, as it was in August 2026. Dependabot proposes newer ones, and
# CI refuses an image with known holes that a newer one has closed.
FROM python:3.11.15-slim-bookworm@sha256:d29f48a31a8b408ed19272ca1e7b10ebae13b240a27e862d3d4217c528e2e0c3 AS base


FROM base AS build-serving

WORKDIR /build
COPY requirements-serving.lock ./
# Every package has a wheel, so nothing is compiled; pip stays outside of the environment it fills.
# The tests of packages are a fifth of what they weigh.
RUN python -m venv --without-pip /opt/abserve \
    && pip --python /opt/abserve/bin/python install --no-cache-dir --disable-pip-version-check \
        --only-binary=:all: --no-deps --require-hashes --requirement requirements-serving.lock \
    && find /opt/abserve/lib -type d -name tests -prune -exec rm -r {} +

# The modules (*.py) of abserve are on the floors below the runtimes; of its packages these are.
COPY abserve/*.py /app/abserve/
COPY abserve/skops_file/ /app/abserve/skops_file/
COPY abserve/stated/ /app/abserve/stated/
COPY runtimes/ /app/runtimes/
# A checkout made under a strict umask must still be readable by whatever user the pod runs as. Code
# that never changes need not be compared with its source at every start.
RUN python -m compileall -q --invalidation-mode unchecked-hash /app && chmod -R a+rX /app


FROM base AS build-rollout

WORKDIR /build
COPY requirements-rollout.lock ./
RUN python -m venv --without-pip /opt/abserve \
    && pip --python /opt/abserve/bin/python install --no-cache-dir --disable-pip-version-check \
        --only-binary=:all: --no-deps --require-hashes --requirement requirements-rollout.lock \
    && find /opt/abserve/lib -type d -name tests -prune -exec rm -r {} +

COPY abserve/ /app/abserve/
RUN python -m compileall -q --invalidation-mode unchecked-hash /app && chmod -R a+rX /app


FROM base AS build-training

WORKDIR /build
COPY requirements-training.lock ./
RUN python -m venv --without-pip /opt/abserve \
    && pip --python /opt/abserve/bin/python install --no-cache-dir --disable-pip-version-check \
        --only-binary=:all: --no-deps --require-hashes --requirement requirements-training.lock \
    && find /opt/abserve/lib -type d -name tests -prune -exec rm -r {} +

COPY abserve/ /app/abserve/
COPY training/ /app/training/
COPY models/ /app/models/
COPY model-settings/ /app/model-settings/
RUN python -m compileall -q --invalidation-mode unchecked-hash /app && chmod -R a+rX /app


# What all of them are told: where the code is, that nothing is written beside it, and that logs are
# not kept back. Packages and code are layers of their own: while no package changes, a new image is a
# pull of a megabyte or so.
FROM base AS run

# Nothing is installed any more, and no program lends its user another's rights. ensurepip would bring
# pip back; wheel came with packaging.
RUN pip uninstall --yes --quiet --root-user-action=ignore setuptools wheel packaging pip \
    && rm -r /usr/local/lib/python3.11/ensurepip \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} +

ENV PATH=/opt/abserve/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1


FROM run AS rollout

ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="abserve/rollout" \
    org.opencontainers.image.description="The rollout controller of abserve" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.source="${SOURCE}" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"

COPY --from=build-rollout /opt/abserve /opt/abserve
COPY --from=build-rollout /app /app

# One thread does all the arithmetic there is; BLAS would start one for each processor of the node.
ENV OPENBLAS_NUM_THREADS=1

# The one folder that any user may write to, and that an emptyDir covers when the root file system is
# read-only.
WORKDIR /tmp

USER 8888:8888

# Where its metrics are, if it is told to expose them.
EXPOSE 8083

STOPSIGNAL SIGTERM

# The manifest has a probe of its own, because Kubernetes ignores what stands here.
HEALTHCHECK NONE

ENTRYPOINT ["python", "-m", "abserve.cli"]
CMD ["rollout", "--help"]


FROM run AS training

ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="abserve/training" \
    org.opencontainers.image.description="Training, retraining and retention of abserve" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.source="${SOURCE}" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"

COPY --from=build-training /opt/abserve /opt/abserve
COPY --from=build-training /app /app

# There is no git in the image, and a version says which commit trained it. Matplotlib keeps a cache
# of fonts, which it would look for in a home that nobody has here.
ENV ABSERVE_REVISION=${REVISION} \
    MPLCONFIGDIR=/tmp/matplotlib

# Beside models/ and model-settings/, which the commands read; what they write goes to the model
# repository and to /tmp.
WORKDIR /app

USER 8888:8888

STOPSIGNAL SIGTERM

# A job ends, and its exit code tells how.
HEALTHCHECK NONE

ENTRYPOINT ["python", "-m", "abserve.cli"]
CMD ["train", "--help"]


# Last, because without --target the last one is built.
FROM run AS serving

ARG VERSION=unknown
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="abserve/runtimes" \
    org.opencontainers.image.description="MLServer with the runtimes of abserve" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.source="${SOURCE}" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"

COPY --from=build-serving /opt/abserve /opt/abserve
COPY --from=build-serving /app /app

# Seldon's storage initializer copies the version to /mnt/models. 0.0.0.0, because a pod is reached
# through its own address.
ENV MLSERVER_HOST=0.0.0.0 \
    MLSERVER_MODELS_DIR=/mnt/models

# Where MLServer keeps files of its own, relative to where it runs: the one folder that any user
# may write to, and that an emptyDir covers when the root file system is read-only.
WORKDIR /tmp

# The operator's own default user. Nothing below depends on which one it is.
USER 8888:8888

EXPOSE 8080 8081 8082

# What Kubernetes sends to end a pod; the server then finishes what it has begun.
STOPSIGNAL SIGTERM

# Kubernetes ignores this and asks through its own probes. No proxy, whatever the environment says.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:' + os.environ.get('MLSERVER_HTTP_PORT', '8080') + '/v2/health/ready', timeout=4)"]

CMD ["python", "-m", "runtimes.server"]

#!/bin/sh
# Run uv with the given arguments: the one on PATH, or one that is kept in .venv/uv.
#
# That one is fetched from the package index on first use, by the pip of PYTHON (or of .venv's
# Python), at the version and with the checksums of requirements-uv.lock.
set -eu
CDPATH='' cd "$(dirname "$0")/.."

runs() { "$1" --version >/dev/null 2>&1; }

if runs uv; then exec uv "$@"; fi

python=${PYTHON:-.venv/bin/python}
home=.venv/uv
if ! runs "$home/bin/uv"; then
    echo "setup: no uv on PATH; fetching it from the package index" >&2
    # A virtual environment brings its own pip, unless the system took it out of Python (Debian
    # does, until python3-venv is installed). The system's own pip will do then.
    rm -rf "$home"
    if "$python" -m venv "$home" >/dev/null 2>&1; then
        pip=$home/bin/python
        set_target=
    elif "$python" -m pip --version >/dev/null 2>&1; then
        rm -rf "$home"
        pip=$python
        set_target=--target=$home
    else
        rm -rf "$home"
        echo "setup: $python has neither ensurepip nor pip to fetch uv with; install one of them" \
            "(on Debian and Ubuntu: apt install python3-venv) or uv itself, and try again" >&2
        exit 1
    fi
    PIP_USER=0 PIP_ROOT_USER_ACTION=ignore "$pip" -m pip install --quiet \
        --disable-pip-version-check --only-binary=:all: \
        --require-hashes ${set_target:+"$set_target"} --requirement scripts/requirements-uv.lock
fi
exec "$home/bin/uv" "$@"

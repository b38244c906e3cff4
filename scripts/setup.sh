#!/bin/sh
# Make .venv: find a Python, install what requirements.lock pins, install this checkout into it.
#
# A second run does nothing when the stamp, .venv/setup, still tells the truth. The stamp names the
# Python, the checkout's folder (scripts in .venv name it too) and the checksums of the files that
# say what to install. While .venv is being made the stamp says so, so that an interrupted set-up is
# never mistaken for a finished one and the next starts afresh.
#
#   PYTHON=...   the Python to use, a command or a path; without it the one of .venv, if that is
#                sound, or else the first suitable one on PATH
set -eu
CDPATH='' cd "$(dirname "$0")/.."
checkout=$(pwd -P)

stamp=.venv/setup
unfinished="a set-up began and has not finished"

say() { printf 'setup: %s\n' "$*"; }

fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

# "3.11.7 /usr" for the Python $1, nothing for one that does not run. A command that stands on PATH
# need not run: pyenv leaves a shim for every version that it ever installed.
describe() {
    "$1" -c 'import sys
print("%d.%d.%d %s" % (sys.version_info[:3] + (getattr(sys, "base_prefix", sys.prefix),)))' \
        </dev/null 2>/dev/null || :
}

suits() {
    case "$1" in
        3.11.* | 3.12.*) return 0 ;;
        *) return 1 ;;
    esac
}

# Print the path of the first Python that suits. On PATH a name may stand more than once, and the
# first need not be the one that runs. The .venv to be made may stand there too, activated.
find_python() {
    seen=
    old_ifs=$IFS
    for name in python3.12 python3.11 python3 python; do
        IFS=:
        for folder in $PATH; do
            IFS=$old_ifs
            candidate=${folder:-.}/$name
            case "$candidate" in "$checkout/.venv/"* | "$PWD/.venv/"*) continue ;; esac
            if [ ! -x "$candidate" ] || [ -d "$candidate" ]; then continue; fi
            described=$(describe "$candidate")
            if suits "$described"; then
                printf '%s\n' "$candidate"
                return
            fi
            seen="$seen
  $candidate: ${described:-does not run}"
        done
        IFS=$old_ifs
    done
    fail "found no Python 3.11 or 3.12 on PATH. Found:${seen:-
  no python3.12, python3.11, python3 or python}" \
        "install one, or name one that is not on PATH: make setup PYTHON=/path/to/python3.12"
}

chosen_python() {
    if [ -z "${PYTHON:-}" ]; then
        find_python
        return
    fi
    described=$(describe "$PYTHON")
    suits "$described" ||
        fail "PYTHON=$PYTHON is ${described:-not a Python that runs}; expected Python 3.11 or 3.12"
    command -v "$PYTHON"
}

# What the stamp of a .venv made by the Python described by $1 must say.
truth() {
    printf '%s\n%s\n' "$1" "$checkout"
    cksum requirements.lock pyproject.toml
}

# Look at .venv; set `has` to its Python, `wants` to the one asked for.
look() {
    has=$(describe .venv/bin/python)
    suits "$has" || has=
    wants=$has
    if [ -n "${PYTHON:-}" ]; then wants=$(describe "$PYTHON"); fi
    stamped=$(cat "$stamp" 2>/dev/null || :)
}

ready() {
    [ -n "$has" ] && [ "$has" = "$wants" ] && [ -x .venv/bin/abserve ] &&
        [ "$stamped" = "$(truth "$has")" ]
}

# A .venv without a stamp was made by hand: it is completed, not thrown away.
reusable() {
    [ -n "$has" ] && [ "$has" = "$wants" ] &&
        { [ -z "$stamped" ] || [ "$(printf '%s\n' "$stamped" | head -n 2)" = "$has
$checkout" ]; }
}

look
if ready; then
    say ".venv is ready (Python ${has%% *})"
    exit
fi

python=$(chosen_python)

# One set-up at a time. The lock lies on this very file and is dropped with the last process that
# holds it, so a killed set-up leaves none behind; Python takes it because not every system has a
# flock command.
exec 9<scripts/setup.sh
"$python" -c 'import fcntl
try:
    fcntl.flock(0, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("setup: waiting for another set-up of this checkout", flush=True)
    fcntl.flock(0, fcntl.LOCK_EX)' <&9

look
if ready; then
    say ".venv is ready (Python ${has%% *})"
    exit
fi
if reusable; then
    say "bringing .venv up to date (Python ${has%% *})"
    printf '%s\n' "$unfinished" >"$stamp"
else
    say "making .venv with $python ($(describe "$python"))"
    # Out of the way in one step: a half-deleted .venv must not look like one made by hand.
    rm -rf .venv-old
    if [ -e .venv ] || [ -L .venv ]; then mv .venv .venv-old && rm -rf .venv-old; fi
    mkdir .venv
    printf '%s\n' "$unfinished" >"$stamp"
    "$python" -m venv --without-pip .venv ||
        fail "$python has no working venv module; on Debian and Ubuntu: apt install python3-venv"
fi

# uv installs into .venv with the wheels' checksums from the lock; see uv.sh for where uv is from.
export PYTHON="$python"
say "installing the $(grep -c '==' requirements.lock) packages of requirements.lock"
install_packages() {
    sh scripts/uv.sh pip sync --quiet --python .venv/bin/python --require-hashes requirements.lock
}
# uv trusts the certificates it brings; behind a proxy with one of its own, only the system knows it.
install_packages || { say "trying again with the certificates of this system" &&
    UV_SYSTEM_CERTS=1 UV_NATIVE_TLS=1 install_packages; } ||
    fail "the packages were not installed; the reason stands above. The first set-up needs the" \
        "package index, later ones do not. Run the same command again when that is mended"
sh scripts/uv.sh pip install --quiet --python .venv/bin/python \
    --no-deps --no-build-isolation --editable . ||
    fail "abserve itself was not installed; the reason stands above"

has=$(describe .venv/bin/python)
truth "$has" >"$stamp.new"
mv "$stamp.new" "$stamp"
say ".venv is ready (Python ${has%% *})"

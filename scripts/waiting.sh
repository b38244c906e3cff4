#!/usr/bin/env bash
# For scripts that wait for others: `source scripts/waiting.sh`.

# Tries a command once a second until it succeeds: SECONDS COMMAND [ARGUMENTS...].
try_for() {
    local end=$((SECONDS + $1)) said
    shift
    until said=$("$@" 2>&1); do
        if [ "$SECONDS" -ge "$end" ]; then
            printf '%s: in vain: %s\n%s\n' "${0##*/}" "$*" "$said" >&2
            return 1
        fi
        sleep 1
    done
}

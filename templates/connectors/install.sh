#!/bin/sh
# Installs the Binnacle connector on this computer and enrols it. Running it again updates the connector.
#
#   curl -fsSL {{ address }}/install.sh | sudo sh -s -- --token TOKEN [--prefix DIR] [--no-service] [--no-commands]
#
# The connector runs as root, and so do the commands that the console sends to it; with --no-commands it refuses them all.
# BINNACLE_TOKEN may hold the token instead. Nothing is done until the last line has been read.
set -eu

ADDRESS='{{ address|replace("'", "") }}'
DEFAULT=/opt/binnacle-connector

say() { printf '%s\n' "binnacle: $*"; }
die() { printf '%s\n' "binnacle: $*" >&2; exit 1; }

package_hint() { # what to install, in the words of this system
    if command -v apt-get >/dev/null 2>&1; then echo "apt-get install python3-venv"
    elif command -v dnf >/dev/null 2>&1; then echo "dnf install python3"
    elif command -v yum >/dev/null 2>&1; then echo "yum install python39"
    elif command -v zypper >/dev/null 2>&1; then echo "zypper install python311"
    elif command -v apk >/dev/null 2>&1; then echo "apk add python3"
    elif command -v pacman >/dev/null 2>&1; then echo "pacman -S python"
    elif command -v brew >/dev/null 2>&1; then echo "brew install python"
    else echo "install Python from your system's packages"
    fi
}

find_python() {
    for python in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python3.9; do
        command -v "$python" >/dev/null 2>&1 || continue
        "$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null || continue
        found=$python
        "$python" -c 'import venv, ensurepip' 2>/dev/null && { echo "$python"; return; }
    done
    [ -z "${found:-}" ] || die "$found has no venv module. To get it: $(package_hint)"
    die "Python 3.9 or newer is missing. To get it: $(package_hint)"
}

start_plainly() { # no systemd: a process that lasts until the next restart of the computer
    if [ -s "$prefix/connector.pid" ] && kill -0 "$(cat "$prefix/connector.pid")" 2>/dev/null; then
        kill "$(cat "$prefix/connector.pid")" 2>/dev/null || true
        sleep 2
    fi
    nohup "$@" >"$prefix/connector.log" 2>&1 </dev/null &
    echo $! >"$prefix/connector.pid"
    say "there is no systemd here; started as process $!, its log is $prefix/connector.log"
    say "have your system start this at boot:  $*"
}

main() {
    token=${BINNACLE_TOKEN:-} prefix=$DEFAULT service=yes commands=yes
    while [ $# -gt 0 ]; do
        case $1 in
            --token) [ $# -ge 2 ] || die "--token needs a value"; token=$2; shift 2 ;;
            --token=*) token=${1#*=}; shift ;;
            --prefix) [ $# -ge 2 ] || die "--prefix needs a folder"; prefix=$2; shift 2 ;;
            --prefix=*) prefix=${1#*=}; shift ;;
            --no-service) service=no; shift ;;
            --no-commands) commands=no; shift ;;
            *) die "unknown option $1; use --token TOKEN [--prefix DIR] [--no-service] [--no-commands]" ;;
        esac
    done
    case $prefix in /*) ;; *) prefix=$PWD/$prefix ;; esac
    if [ "$prefix" = "$DEFAULT" ]; then config=/etc/binnacle-connector/config.json state=/var/lib/binnacle-connector
    else config=$prefix/config.json state=$prefix/state; fi
    [ -n "$token" ] || [ -s "$config" ] || die "give the token of the Add computer page with --token"
    mkdir -p "$prefix" 2>/dev/null && [ -w "$prefix" ] || die "$prefix cannot be written; run this as root (sudo), or choose --prefix"
    unset BINNACLE_TOKEN

    python=$(find_python)
    say "installing into $prefix with $("$python" --version 2>&1)"
    [ -x "$prefix/venv/bin/python" ] && "$prefix/venv/bin/python" -c '' 2>/dev/null || "$python" -m venv --clear "$prefix/venv"
    "$prefix/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --upgrade --force-reinstall \
        "$ADDRESS/install/connector.zip" || die "pip could not install the connector; its words are above"
    connector=$prefix/venv/bin/binnacle-connector

    if [ -s "$config" ]; then say "already enrolled: $config is kept. To enrol anew, remove it first"
    else
        BINNACLE_TOKEN=$token "$connector" enrol --server "$ADDRESS" --config "$config" --state-dir "$state" || exit 1
    fi
    set -- --config "$config" --state-dir "$state"
    [ "$commands" = yes ] || set -- "$@" --no-commands
    if [ "$service" = no ]; then say "not started. To run it:  $connector $*"
    elif [ "$(id -u)" = 0 ] && [ -d /run/systemd/system ]; then "$connector" install "$@"
    else start_plainly "$connector" "$@"
    fi
    say "done; this computer is at $ADDRESS/fleet/"
}

main "$@"

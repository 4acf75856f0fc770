#!/bin/sh
# Installs what building and testing need, and does nothing (quickly) when all is there:
#   packages   Debian's packages, by apt, when this is root; otherwise says which are missing
#   venv       a virtual environment in .venv with fyke (editable) and the tools of pyproject's dev extra
# usage: [EXTRA='PACKAGE...'] tools/setup.sh packages|venv|all
set -eu
cd "$(dirname "$0")/.."

# build: clang llvm libbpf-dev linux-libc-dev (BPF objects), python3-venv
# use:   libbpf1, less (the pager); procps (the demo)
# check: clang-format
# host:  iproute2 iputils-ping nftables conntrack tcpdump ethtool bpftool tshark
#        gcc libc6-dev systemtap-sdt-dev (user programs to probe)
# unit:  fish, zsh (the scripts of `fyke sh-complete` are tried in the shells themselves)
# vm:    qemu-system-x86 kmod busybox-static (to boot), debian-archive-keyring (to fetch kernels)
PACKAGES='bpftool busybox-static ca-certificates clang clang-format conntrack debian-archive-keyring ethtool fish
    gcc libc6-dev systemtap-sdt-dev
    iproute2 iputils-ping kmod less libbpf-dev libbpf1 linux-libc-dev llvm nftables procps python3 python3-venv
    qemu-system-x86 tcpdump tshark zsh'" ${EXTRA:-}"

say() { printf '  %-7s %s\n' "$1" "$2"; }

missing_packages() {
    # shellcheck disable=SC2086  # the list is to be split
    dpkg-query -W -f '${Package} ${db:Status-Status}\n' $PACKAGES 2>/dev/null |
        awk -v wanted="$PACKAGES" '
            $2 == "installed" { have[$1] = 1 }
            END { n = split(wanted, w); for (i = 1; i <= n; i++) if (!(w[i] in have)) printf "%s ", w[i] }'
}

install_packages() {
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
        say NOTE "this isn't Debian: nothing is installed; see the list at the top of tools/setup.sh"
        return 0
    fi
    missing=$(missing_packages)
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        say NOTE "not root, so these packages are left out: $missing"
        say NOTE "what needs them says so; to install them: sudo apt-get install $missing"
        return 0
    fi
    say APT "$missing"
    quiet apt-get update
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive quiet apt-get install --yes --no-install-recommends $missing
}

# Runs a command and shows what it printed only if it fails (or V=1).
quiet() {
    if [ "${V:-0}" != 0 ]; then
        "$@" </dev/null
        return
    fi
    log=$(mktemp)
    if "$@" </dev/null >"$log" 2>&1; then
        rm -f "$log"
    else
        cat "$log" >&2
        rm -f "$log"
        echo "error: $* failed" >&2
        return 1
    fi
}

# The first Python that is new enough and can make virtual environments; $PYTHON goes before all.
find_python() {
    for python in ${PYTHON:-/usr/bin/python3 python3 python3.13 python3.12 python3.11}; do
        if command -v "$python" >/dev/null &&
            "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"
            return 0
        fi
    done
    echo "error: no Python 3.11 or newer with venv was found" >&2
    echo "hint: apt install python3-venv, or name one: make PYTHON=/path/to/python3" >&2
    return 1
}

make_venv() {
    python=$(find_python)
    # What the environment was made from, in two lines: when both are the same, there is nothing to do; when the
    # first isn't, it is made anew.
    interpreter="$("$python" -c 'import sys; print(sys.version.replace("\n", " "), sys.base_prefix)') $PWD"
    inputs=$(cat pyproject.toml hatch_build.py tools/setup.sh | cksum)
    [ "$(cat .venv/made-from 2>/dev/null)" != "$(printf '%s\n%s' "$interpreter" "$inputs")" ] || return 0
    say VENV ".venv ($python)"
    if [ "$(head -n 1 .venv/made-from 2>/dev/null)" != "$interpreter" ]; then
        quiet "$python" -m venv --clear .venv
    fi
    quiet .venv/bin/python -m pip install --disable-pip-version-check --editable '.[dev]'
    printf '%s\n%s\n' "$interpreter" "$inputs" >.venv/made-from
}

case ${1:-all} in
packages) install_packages ;;
venv) make_venv ;;
all)
    install_packages
    make_venv
    ;;
*)
    echo "usage: tools/setup.sh packages|venv|all" >&2
    exit 2
    ;;
esac

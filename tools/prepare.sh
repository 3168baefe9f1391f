#!/bin/sh
# Brings what `make demo`, `make test` and `make lint` need: system packages that are missing, and .venv with orch in it.
# Usage: sh tools/prepare.sh demo|test, from the repository's root. Quick when everything is there.
set -eu

mode=$1
say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 1; }

find_python() {
    for name in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python; do
        path=$(command -v "$name") || continue
        if "$path" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            printf '%s\n' "$path"
            return
        fi
    done
}

can_make_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

missing_packages() {
    [ -x /usr/sbin/sshd ] || command -v sshd >/dev/null || echo openssh-server
    # The demo's and the tests' hosts have a bare PATH: what they find is the system's Python.
    { [ -x /usr/bin/python3 ] && can_make_venv /usr/bin/python3; } || echo python3-venv
    if [ -n "$python" ] && ! can_make_venv "$python"; then
        "$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'
    fi
    [ "$mode" = test ] || return 0
    for tool in zsh fish tcsh git rsync; do
        command -v "$tool" >/dev/null || echo "$tool"
    done
}

# Run as root, with the packages as arguments. A newly installed sshd is neither started nor enabled: ours run on
# loopback ports of their own, and nobody asked for one on port 22.
install_as_root='
set -eu
export DEBIAN_FRONTEND=noninteractive
guard=/usr/sbin/policy-rc.d
log=$(mktemp)
if [ -e "$guard" ]; then
    trap "rm -f $log" EXIT
else
    trap "rm -f $log $guard" EXIT
    printf "#!/bin/sh\nexit 101\n" >"$guard"
    chmod 755 "$guard"
fi
if ! { apt-get update && apt-get install -y --no-install-recommends "$@"; } >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    exit 1
fi
case " $* " in
*" openssh-server "*)
    if [ -d /run/systemd/system ]; then systemctl disable --now ssh.service ssh.socket >/dev/null 2>&1 || true; fi ;;
esac
'

install_packages() {
    command -v apt-get >/dev/null || fail "these are missing, and there is no apt-get here to bring them: $*."
    if [ "$(id -u)" = 0 ]; then
        say "installing with apt-get: $*"
        sh -c "$install_as_root" sh "$@" </dev/null || fail "apt-get did not install $*; its last lines stand above."
    elif ! command -v sudo >/dev/null; then
        fail "these are missing, and there is neither root nor sudo here: ask for \`apt-get install $*\`."
    elif [ -t 0 ]; then
        say "installing with sudo apt-get: $*"
        sudo sh -c "$install_as_root" sh "$@" || fail "apt-get did not install $*; its last lines stand above."
    else
        say "installing with sudo apt-get: $*"
        sudo -n sh -c "$install_as_root" sh "$@" </dev/null ||
            fail "sudo could not install them without a password; run \`sudo apt-get install $*\`, then this again."
    fi
}

python=$(find_python)
packages=$(missing_packages | sort -u | tr '\n' ' ')
# Word splitting is meant: one argument for each package.
# shellcheck disable=SC2086
[ -z "$packages" ] || install_packages $packages
[ -n "$python" ] || python=$(find_python)
[ -n "$python" ] || fail "no Python 3.10 or newer was found; install one (python3, python3-venv), then run this again."
# sshd that is started by root wants this folder, which only its system service makes.
[ "$(id -u)" != 0 ] || mkdir -p -m 755 /run/sshd

usable() { .venv/bin/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }
key="$mode $(pwd) $(cat pyproject.toml tools/prepare.sh | cksum)"
stamp=.venv/.ready-$mode
if usable && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$key" ]; then
    exit 0
fi
usable || { say "making .venv with $("$python" --version)"; "$python" -m venv --clear .venv; }
if [ "$mode" = test ]; then
    say "installing orch, its test tools and PyTorch into .venv (a few minutes the first time)"
    # This very PyTorch: the payload's jobs get the same (remote_payload/train/install.py).
    set -- torch==2.13.0 wandb scikit-learn -e '.[dev]'
else
    say "installing orch into .venv (a minute the first time)"
    set -- -e .
fi
.venv/bin/python -m pip install --quiet --disable-pip-version-check "$@" </dev/null
printf '%s\n' "$key" >"$stamp"

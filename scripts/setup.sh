#!/bin/sh
# Installs what geo_etl needs and this machine lacks: PostgreSQL 15 with PostGIS (Debian), and
# the Python packages of requirements.lock in .venv. With the argument 'tests', also what only the
# tests need: Azurite (npm) in .tools, and Chromium (Debian). Asks for nothing; run again, it
# does nothing.
set -eu
cd "$(dirname "$0")/.."

say() { printf '→ %s\n' "$*"; }
fail() { printf 'Error: %s\n' "$*" >&2; exit 1; }

install_debian() {
    command -v apt-get >/dev/null || fail "$* missing, and this is no Debian: install it yourself."
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    if [ -n "$sudo" ] && ! command -v sudo >/dev/null; then
        fail "installing $* needs root: run as root, or install sudo."
    fi
    say "Installing $* from Debian …"
    $sudo env DEBIAN_FRONTEND=noninteractive sh -c \
        "apt-get update -qq && apt-get install -y -qq --no-install-recommends $*" >.setup.log 2>&1 || {
        tail -n 20 .setup.log >&2
        fail "apt-get could not install $*."
    }
    rm -f .setup.log
}

python=${PYTHON:-}
for candidate in $python python3.11 python3.12 python3; do
    [ -n "$candidate" ] && command -v "$candidate" >/dev/null || continue
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))'; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || fail "Python 3.11 or 3.12 is needed; set PYTHON to one."

if [ -z "${GEO_ETL_DATABASE_URL:-}" ]; then
    if [ ! -x /usr/lib/postgresql/15/bin/initdb ] ||
        [ ! -f /usr/share/postgresql/15/extension/postgis.control ]; then
        install_debian postgresql-15 postgresql-15-postgis-3
    fi
fi

stamp=.venv/.installed
want=$(cat requirements.lock pyproject.toml | sha256sum)
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$want" ]; then
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        install_debian python3-venv
    fi
    say "Installing Python packages into .venv (a minute or two) …"
    rm -f "$stamp"
    [ -x .venv/bin/pip ] || "$python" -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
    .venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
    printf '%s\n' "$want" >"$stamp"
fi

if [ "${1:-}" = tests ]; then
    azurite=3.35.0
    if [ ! -f ".tools/node_modules/azurite/package.json" ]; then
        command -v npm >/dev/null || fail "npm is needed for the tests on Azure storage: install Node.js."
        say "Installing Azurite $azurite into .tools …"
        npm install --silent --no-save --no-audit --no-fund --prefix .tools "azurite@$azurite"
    fi
    if ! command -v chromium >/dev/null; then
        install_debian chromium
    fi
fi

if [ "${1:-}" = bench ] && ! command -v ogr2ogr >/dev/null; then
    install_debian gdal-bin
fi

#!/usr/bin/env bash
# Installs what is missing on Debian 12 beside a Swift toolchain.
#
#   scripts/install.sh run    what building and serving need
#   scripts/install.sh test   that, and what the tests need
#   scripts/install.sh soak   that, and what their long versions need
#
# Packages come from apt (as root, or through sudo); what the tests alone need in Python and Node is unpacked
# inside the repository (.venv, .build/node, .build/exporter). Everything present is left as it is, so a second run is
# instant.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

main() {
    case "${1:-}" in
        run) needed_by_run ;;
        test) needed_by_run && needed_by_test ;;
        soak) needed_by_run && needed_by_test && needed_by_soak ;;
        *) fail "usage: scripts/install.sh run|test|soak" ;;
    esac
    command -v swift >/dev/null || fail "no Swift toolchain found: install Swift 6.3 (https://www.swift.org/install/linux) and put it on the PATH"
    require_writable_build_directory
    [ ${#packages[@]} -eq 0 ] || install_packages
    [ "$1" = run ] || { install_python_packages && unpack_node_packages && unpack_exporter; }
}

packages=()

needed_by_run() {
    postgres_present || packages+=(postgresql-15)
    [ -e /usr/include/liburing.h ] || packages+=(liburing-dev)
}

needed_by_test() {
    # pgbench, pg_dump and the extensions come with postgresql-15; psql with its dependency postgresql-client-15.
    command -v psql >/dev/null && command -v pgbench >/dev/null || packages+=(postgresql-15)
    command -v node >/dev/null || packages+=(nodejs)
    command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ] || packages+=(pgbouncer)
    [ -x .venv/bin/python ] || python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3-venv)
    needed_by_driver_matrix
}

# Debian's modules are loaded by Debian's own interpreters, whatever else is on the PATH.
needed_by_driver_matrix() {
    /usr/bin/perl -MDBD::Pg -e 1 2>/dev/null || packages+=(libdbd-pg-perl)
    /usr/bin/ruby -rpg -e 1 2>/dev/null || packages+=(ruby-pg)
    /usr/bin/php -m 2>/dev/null | grep -qx pdo_pgsql || packages+=(php-cli php-pgsql)
    [ -x /usr/bin/go ] || packages+=(golang-go)
    [ -e /usr/share/gocode/src/github.com/lib/pq ] || packages+=(golang-github-lib-pq-dev)
    # A compiler too: the program is started from its source.
    java -version >/dev/null 2>&1 && command -v javac >/dev/null || packages+=(default-jdk-headless)
    [ -e /usr/share/java/postgresql.jar ] || packages+=(libpostgresql-jdbc-java)
}

# The package is made, and installed into a Debian of its own.
needed_by_soak() {
    # The status page is looked at in a real browser.
    command -v chromium >/dev/null || packages+=(chromium)
    command -v debootstrap >/dev/null || packages+=(debootstrap)
    command -v dpkg-shlibdeps >/dev/null || packages+=(dpkg-dev)
}

postgres_present() {
    compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || command -v postgres >/dev/null
}

# ---------------------------------------------------------------------------------------------------------------
# Debian packages

install_packages() {
    mapfile -t packages < <(printf '%s\n' "${packages[@]}" | sort -u)
    local root
    root=$(way_to_root) || explain_and_fail
    say "installing ${packages[*]} (Debian packages, a minute or two)"
    local log
    log=$(mktemp)
    $root env DEBIAN_FRONTEND=noninteractive bash -euo pipefail -c "$(declare -f as_root); as_root \"\$@\"" \
        routerd "${packages[@]}" >"$log" 2>&1 || {
        cat "$log" >&2
        rm "$log"
        fail "apt could not install ${packages[*]} (its output is above)"
    }
    rm "$log"
}

way_to_root() {
    if [ "$(id -u)" -eq 0 ]; then
        echo ""
    elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || { [ -t 0 ] && [ -t 2 ]; }; }; then
        echo sudo
    else
        return 1
    fi
}

# Runs as root. Nothing of Debian's may start because of us: a package's own service (PostgreSQL's first cluster on
# 5432, PgBouncer on 6432) would take ports and outlive the tests, and clusters that exist must not be restarted.
as_root() {
    local policy=/usr/sbin/policy-rc.d settings=/etc/postgresql-common/createcluster.d/zz-routerd.conf
    local bouncer_before=no
    made=()
    [ -e /usr/sbin/pgbouncer ] && bouncer_before=yes
    trap 'rm -f "${made[@]}"' EXIT INT TERM
    if [ ! -e "$policy" ]; then
        made+=("$policy")
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    if [[ " $* " == *" postgresql-15 "* ]]; then
        mkdir -p "${settings%/*}"
        made+=("$settings")
        echo "create_main_cluster = false" >"$settings"
    fi
    apt-get update -q || true
    apt-get install -q -y --no-install-recommends --no-upgrade "$@"
    # Installed for its program alone: the service must not come up with the next boot.
    if [ $bouncer_before = no ] && [ -e /usr/sbin/pgbouncer ] && [ -d /run/systemd/system ]; then
        systemctl disable --now pgbouncer.service >/dev/null 2>&1 || true
    fi
}

explain_and_fail() {
    cat >&2 <<MESSAGE
routerd needs these Debian packages: ${packages[*]}
Neither root nor sudo is available here. Ask somebody who has either to run

    mkdir -p /etc/postgresql-common/createcluster.d
    echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.d/routerd.conf
    apt-get update && apt-get install --no-install-recommends ${packages[*]}

(the first two lines keep Debian from creating a PostgreSQL cluster on port 5432), then run make again.
MESSAGE
    exit 1
}

# ---------------------------------------------------------------------------------------------------------------
# The tests' own packages

install_python_packages() {
    local wanted=Tests/integration/requirements.txt installed=.venv/requirements.txt
    local modules='psycopg, psycopg2, asyncpg, pg8000, sqlalchemy, jsonschema, pytest, xdist'
    cmp -s "$wanted" "$installed" && .venv/bin/python -c "import $modules" 2>/dev/null && return
    say "installing $(paste -sd' ' "$wanted") into .venv"
    python3 -m venv --clear .venv || fail "python3 -m venv failed: is python3-venv installed?"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement "$wanted" ||
        fail "pip could not install the packages of $wanted (its output is above)"
    cp "$wanted" "$installed"
}

# node-pg as Debian builds it, unpacked privately: apt would replace a Node that is not Debian's, or refuse.
unpack_node_packages() {
    unpack_packages .build/node node-pg node-split2 node-xtend node-readable-stream node-through2
}

# Debian's exporter for PgBouncer, unpacked privately: installed, it would be a service of the machine's.
unpack_exporter() {
    unpack_packages .build/exporter prometheus-pgbouncer-exporter python3-configargparse python3-prometheus-client \
        python3-decorator python3-psycopg2
}

# Debian packages, without what they depend on, below a directory of the repository's.
unpack_packages() {
    local target=$1 wanted=("${@:2}")
    [ "$(cat "$target/packages" 2>/dev/null)" = "${wanted[*]}" ] && return
    say "unpacking ${wanted[*]} into $target"
    rm -rf "$target"
    mkdir -p "$target/packages.d"
    # Lists may never have been fetched on a fresh machine where nothing else was missing.
    (cd "$target/packages.d" && apt-get -qq download "${wanted[@]}" 2>/dev/null) ||
        { $(way_to_root || echo false) apt-get update -q >/dev/null &&
            (cd "$target/packages.d" && apt-get -qq download "${wanted[@]}"); } ||
        fail "apt-get download ${wanted[*]} failed (its output is above)"
    local package
    for package in "$target"/packages.d/*.deb; do dpkg-deb --extract "$package" "$target"; done
    rm -rf "$target/packages.d"
    echo "${wanted[*]}" >"$target/packages"
}

# ---------------------------------------------------------------------------------------------------------------

require_writable_build_directory() {
    mkdir -p .build 2>/dev/null && [ -w .build ] ||
        fail "$PWD/.build is not writable for $(id -un): it belongs to $(stat -c %U .build 2>/dev/null || stat -c %U .)"
}

say() { echo "routerd: $*" >&2; }

fail() {
    say "$*"
    exit 1
}

main "$@"

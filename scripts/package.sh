#!/usr/bin/env bash
# Puts what was built where it is used.
#
#   scripts/package.sh install PREFIX     below $DESTDIR, with a list of what was made
#   scripts/package.sh uninstall PREFIX   removes what that list names
#   scripts/package.sh deb DIRECTORY      a Debian package in DIRECTORY
#   scripts/package.sh man DIRECTORY      the manual pages alone
#
# The program is .build/release/routerd, or the one that ROUTERD_BINARY names.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

program=${ROUTERD_BINARY:-.build/release/routerd}
root=${DESTDIR:-}
umask 022
export LC_ALL=C

main() {
    case "${1:-} $#" in
        "install 2") install_below "$2" ;;
        "uninstall 2") uninstall_below "$2" ;;
        "deb 2") debian_package "$2" ;;
        "man 2") require_program && scripts/manual.py "$program" "$2" ;;
        *) fail "usage: scripts/package.sh install|uninstall PREFIX, or deb|man DIRECTORY" ;;
    esac
}

# Everything that is installed, in a directory of its own.
stage() {
    local stage=$1 prefix=$2 units=$3
    require_program
    local share=$stage$prefix/share
    install -D -m 755 "$program" "$stage$prefix/bin/routerd"
    mkdir -p "$share/man/man1"
    scripts/manual.py "$program" "$share/man/man1"
    completion bash "$share/bash-completion/completions/routerd"
    completion zsh "$share/zsh/site-functions/_routerd"
    completion fish "$share/fish/vendor_completions.d/routerd.fish"
    install -D -m 644 -t "$share/doc/routerd" README.md LICENSE
    install -D -m 644 -t "$share/doc/routerd/docs" docs/*.md
    install -D -m 644 -t "$stage$units" packaging/routerd.socket
    sed "s|@BINDIR@|$prefix/bin|" packaging/routerd.service >"$stage$units/routerd.service"
    install -D -m 644 packaging/routerd.default "$stage/etc/default/routerd"
}

completion() {
    mkdir -p "${2%/*}"
    "$program" --generate-completion-script "$1" >"$2"
}

# ---------------------------------------------------------------------------------------------------------------
# Without a package manager

install_below() {
    local prefix=$1 list=$root$1/share/routerd/installed
    require_absolute "$prefix"
    temporary=$(mktemp -d)
    trap 'rm -rf "$temporary"' EXIT
    stage "$temporary" "$prefix" "$prefix/lib/systemd/system"
    mkdir -p "$temporary$prefix/share/routerd"
    touch "$temporary$prefix/share/routerd/installed"
    local path made=()
    mkdir -p "$root/"
    # What an earlier installation made is still to be removed with this one.
    [ ! -e "$list" ] || mapfile -t made <"$list"
    while read -r path; do
        [ -d "$root/$path" ] && continue
        mkdir "$root/$path"
        made+=("/$path/")
    done < <(cd "$temporary" && find . -mindepth 1 -type d -printf '%P\n' | sort)
    while read -r path; do
        # What the administrator has written there stays.
        [ "$path" = etc/default/routerd ] && [ -e "$root/$path" ] && continue
        # The old program may be running: its place is taken, not its contents.
        cp --remove-destination --preserve=mode "$temporary/$path" "$root/$path"
        made+=("/$path")
    done < <(cd "$temporary" && find . -type f -printf '%P\n' | sort)
    printf '%s\n' "${made[@]}" | awk '!seen[$0]++' >"$list"
    say "installed $root$prefix/bin/routerd, its manual pages (man routerd) and its service"
    [ -n "$root" ] || say "to start it now and with the system: systemctl daemon-reload && systemctl enable --now routerd"
}

uninstall_below() {
    local prefix=$1 list=$root$1/share/routerd/installed path
    require_absolute "$prefix"
    [ -e "$list" ] || fail "nothing was installed below $root$prefix: there is no $list"
    if [ -z "$root" ] && [ -d /run/systemd/system ]; then
        systemctl disable --now routerd.socket routerd.service 2>/dev/null || true
    fi
    local listed
    mapfile -t listed < <(sort -r "$list")
    for path in "${listed[@]}"; do
        case "$path" in
            */) ;;
            /etc/default/routerd)
                if cmp -s packaging/routerd.default "$root$path"; then rm "$root$path"; else say "kept $root$path"; fi
                ;;
            *) rm -f "$root$path" ;;
        esac
    done
    # The deepest first; what is not empty is somebody else's.
    for path in "${listed[@]}"; do
        case "$path" in */) rmdir --ignore-fail-on-non-empty "$root$path" 2>/dev/null || true ;; esac
    done
    [ -n "$root" ] || [ ! -d /run/systemd/system ] || systemctl daemon-reload
    say "uninstalled; the tenants' data stays where it is"
}

# ---------------------------------------------------------------------------------------------------------------
# For Debian

debian_package() {
    local directory=$1 version architecture file date
    command -v dpkg-deb >/dev/null || fail "dpkg-deb is missing: this makes packages on Debian and its relatives"
    command -v dpkg-shlibdeps >/dev/null || fail "dpkg-shlibdeps is missing: install Debian's dpkg-dev"
    require_program
    if ldd "$program" | grep -q libswift; then fail "$program needs Swift's libraries, which Debian has not: make build"; fi
    temporary=$(mktemp -d)
    trap 'rm -rf "$temporary"' EXIT
    local stage=$temporary/root
    stage "$stage" /usr /lib/systemd/system
    strip --strip-unneeded "$stage/usr/bin/routerd"
    version=$("$program" --version)
    architecture=$(dpkg --print-architecture)
    debian_documents "$stage/usr/share/doc/routerd" "$version"
    mv "$stage/usr/share/zsh/site-functions" "$stage/usr/share/zsh/vendor-completions"
    gzip -9n "$stage"/usr/share/man/man1/*.1
    debian_control "$stage" "$version" "$architecture"
    mkdir -p "$directory"
    file=$directory/routerd_${version}_$architecture.deb
    # The same content gives the same package, whenever it is made.
    date=$(last_change)
    find "$stage" -exec touch --no-dereference --date="@$date" {} +
    SOURCE_DATE_EPOCH=$date dpkg-deb --root-owner-group -Zxz --build "$stage" "$file" >/dev/null
    say "made $file; to install it with what it needs: apt install ./$file"
}

last_change() { echo "${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}"; }

debian_documents() {
    local documents=$1 version=$2
    rm "$documents/LICENSE"
    { cat packaging/debian/copyright && sed 's/^$/./; s/^/ /' LICENSE; } >"$documents/copyright"
    printf 'routerd (%s) unstable; urgency=medium\n\n  * See README.md.\n\n -- %s  %s\n' "$version" \
        "$(sed -n 's/^Maintainer: //p' packaging/debian/control)" "$(date -R -d "@$(last_change)")" |
        gzip -9n >"$documents/changelog.gz"
}

debian_control() {
    local stage=$1 version=$2 architecture=$3 libraries script
    libraries=$(libraries "$stage")
    mkdir "$stage/DEBIAN"
    sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@LIBRARIES@/$libraries/" \
        -e "s/@SIZE@/$(du -sk --apparent-size "$stage" | cut -f1)/" packaging/debian/control >"$stage/DEBIAN/control"
    for script in postinst prerm postrm; do install -m 755 "packaging/debian/$script" "$stage/DEBIAN/$script"; done
    echo /etc/default/routerd >"$stage/DEBIAN/conffiles"
    (cd "$stage" && find . -path ./DEBIAN -prune -o -path ./etc -prune -o -type f -printf '%P\0' | sort -z |
        xargs -0 md5sum) >"$stage/DEBIAN/md5sums"
}

# The packages of the libraries that the program is linked with, in the versions it needs.
libraries() {
    mkdir -p "$temporary/shlibs/debian"
    touch "$temporary/shlibs/debian/control"
    (cd "$temporary/shlibs" && dpkg-shlibdeps -O "$1/usr/bin/routerd" 2>/dev/null) | sed 's/^shlibs:Depends=//'
}

# ---------------------------------------------------------------------------------------------------------------

require_program() {
    [ -x "$program" ] || fail "$program does not exist: run make build first"
    command -v python3 >/dev/null || fail "python3 is missing: the manual pages are made with it"
}

require_absolute() { [[ "$1" == /* ]] || fail "PREFIX must be an absolute path, and is $1"; }

say() { echo "routerd: $*" >&2; }

fail() {
    say "$*"
    exit 1
}

main "$@"

#!/usr/bin/env bash
# The private environment: a small Debian forky tree in the user's cache, for machines whose distribution is too old
# for a piece this project needs. It holds lavapipe with cooperative matrices, a glslc that knows them, the validation
# layers, and Mesa 25's RADV, whose null device compiles shaders with AMD's compiler on any machine.
#
#   eng/env.sh path                 where it is (or would be)
#   eng/env.sh exists               whether it has been made
#   eng/env.sh setup                makes it; needs root, 1 GB of disk, and a Debian mirror
#   eng/env.sh run -- COMMAND...    runs a command in it, in this directory and with these environment variables
#
# FLA_DEBIAN_MIRROR names the mirror; without it, the one in the host's apt sources, or debootstrap's own default.
set -euo pipefail

# A change to what the tree holds needs a new number: trees that exist are never altered.
readonly version=1
readonly cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/fla-vulkan
readonly tree=$cache/env-$version
readonly log=$cache/setup.log
readonly packages=ca-certificates,fonts-dejavu-core,glslc,libvulkan1,mesa-vulkan-drivers,vulkan-tools,vulkan-validationlayers
readonly radv_icd=/usr/share/fla/radv_icd.json

say() { printf 'fla: %s\n' "$*" >&2; }

die() {
    say "$@"
    exit 1
}

# Prints the Debian mirror of the host's apt sources, in either of their two formats; nothing where there is none.
host_mirror() {
    local uri
    uri=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
        awk '{ for (i = 2; i <= NF; i++) if (($1 == "deb" || $1 == "URIs:") && $i ~ /\/debian(\.list)?\/?$/) { print $i; exit } }')
    case $uri in
    mirror+file:*) uri=$(grep -m1 -o '^[a-z]*://[^[:space:]]*' "${uri#mirror+file:}" || true) ;;
    esac
    printf '%s' "$uri"
}

install_debootstrap() {
    local missing=()
    [[ -e /usr/share/debootstrap/scripts/sid ]] || missing+=(debootstrap)
    [[ -e /usr/share/keyrings/debian-archive-keyring.gpg ]] || missing+=(debian-archive-keyring)
    [[ ${#missing[@]} -gt 0 ]] || return 0
    say "installing ${missing[*]} from the distribution"
    apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
}

# Adds RADV of Debian 13 (Mesa 25.0) to a tree. Mesa 26 dropped the null device, so the tree's own RADV cannot stand in.
add_radv() {
    local root=$1 mirror libraries
    mirror=$(awk '$1 == "deb" { print $2; exit }' "$root/etc/apt/sources.list")
    libraries=$(dirname "$(find "$root/usr/lib" -name libvulkan_lvp.so)")
    echo "deb $mirror trixie main" >"$root/etc/apt/sources.list"
    mkdir -p "$root/usr/share/fla" "$root/tmp/radv"
    chroot "$root" apt-get update
    DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get install -y --no-install-recommends libllvm19
    chroot "$root" sh -c 'cd /tmp/radv && apt-get -o APT::Sandbox::User=root download mesa-vulkan-drivers/trixie && dpkg -x mesa-*.deb .'
    cp "$(find "$root/tmp/radv" -name libvulkan_radeon.so)" "$libraries/libvulkan_radeon_25.so"
    sed "s|\"[^\"]*libvulkan_radeon.so\"|\"${libraries#"$root"}/libvulkan_radeon_25.so\"|" \
        "$(find "$root/tmp/radv" -path '*icd.d/radeon_icd*.json')" >"$root$radv_icd"
    # Not vulkaninfo: it wants memory types, of which the null device has none, and crashes.
    ! chroot "$root" ldd "${libraries#"$root"}/libvulkan_radeon_25.so" | grep 'not found' || die "Debian 13's RADV lacks a library"
}

# A glslc that the host can run without entering the tree: through the tree's own loader and libraries.
add_glslc_wrapper() {
    local root=$1 loader libraries
    loader=$(find "$root/usr/lib" "$root/usr/lib64" -maxdepth 1 -name 'ld-linux*' -print -quit)
    libraries=$(dirname "$(find "$root/usr/lib" -name libvulkan_lvp.so)")
    cat >"$root/glslc" <<WRAPPER
#!/bin/sh
root=\$(dirname "\$(readlink -f "\$0")")
exec "\$root${loader#"$root"}" --library-path "\$root${libraries#"$root"}" "\$root/usr/bin/glslc" "\$@"
WRAPPER
    chmod +x "$root/glslc"
}

# Runs in a mount namespace of its own: what debootstrap mounts inside the tree goes with it, however this ends.
fill_tree() {
    local root=$1 mirror=${FLA_DEBIAN_MIRROR:-$(host_mirror)}
    install_debootstrap
    # sid's script serves every suite; debootstrap of an older distribution has none named forky.
    debootstrap --variant=minbase --include="$packages" forky "$root" "$mirror" /usr/share/debootstrap/scripts/sid
    add_radv "$root"
    add_glslc_wrapper "$root"
    rm -rf "$root/tmp/radv" "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,info,locale}/*
}

remove_leftovers() {
    local leftover
    for leftover in "$cache"/env-*.making; do
        [[ ! -e $leftover ]] || rm -rf --one-file-system "$leftover"
    done
}

setup() {
    [[ ! -e $tree ]] || return 0
    [[ $(id -u) == 0 ]] || die "making the private environment needs root: run this command once as root"
    unshare --mount true 2>/dev/null || die "this container forbids mount namespaces: the private environment needs CAP_SYS_ADMIN"
    mkdir -p "$cache"
    # Two runs at once: the second waits here and then finds the tree made. What is started below inherits the lock, so
    # that a set-up whose script was killed still keeps others out until its last process is gone.
    exec 9>"$cache/lock"
    flock --nonblock 9 || {
        say "waiting for another set-up to end"
        flock 9
    }
    [[ ! -e $tree ]] || return 0
    remove_leftovers
    trap remove_leftovers EXIT
    say "making the private environment (Debian forky: lavapipe, glslc, validation layers) in $tree: 1 to 3 minutes, once"
    local started=$SECONDS
    unshare --mount "$0" fill "$tree.making" >"$log" 2>&1 </dev/null || {
        tail -n 15 "$log" >&2
        die "could not make the private environment; the whole log is $log"
    }
    # Renamed only when whole, so that a tree that exists is a tree that works.
    mv -T "$tree.making" "$tree"
    say "the private environment is ready: $(du -sm "$tree" | cut -f1) MB, $((SECONDS - started)) s"
}

# Puts the tree's /usr in place of the host's; all else (/etc, /dev, /proc, homes, the checkout) stays the host's, at its
# own path. Mounts are seen by this process and its children alone, and vanish with the last of them.
enter() {
    local dotnet folder
    dotnet=$(dirname "$(readlink -f "$(command -v dotnet || echo /nonexistent/dotnet)")")
    mount --bind "$tree/usr" "$tree/usr"
    for folder in /usr/local /usr/src; do
        [[ ! -d $folder ]] || mount --bind "$folder" "$tree$folder"
    done
    if [[ $dotnet == /usr/* && $dotnet != /usr/local/* ]]; then
        mkdir -p "$tree$dotnet"
        mount --bind "$dotnet" "$tree$dotnet"
    fi
    mount -o remount,bind,ro "$tree/usr"
    mount --move "$tree/usr" /usr
    hash -r
    # A host without certificates gets the tree's.
    [[ -e /etc/ssl/certs/ca-certificates.crt ]] || export SSL_CERT_FILE=${SSL_CERT_FILE:-$tree/etc/ssl/certs/ca-certificates.crt}
    [[ ! -x $dotnet/dotnet ]] || export PATH="$dotnet:$PATH" DOTNET_ROOT="$dotnet"
    cd "$PWD"
    exec "$@"
}

run() {
    [[ ${1:-} != -- ]] || shift
    [[ -e $tree ]] || die "there is no private environment yet: eng/env.sh setup"
    [[ -L /bin && -L /lib ]] || die "this system keeps /bin and /lib apart from /usr: the private environment cannot take their place"
    [[ $(id -u) == 0 ]] || die "entering the private environment needs root"
    # Build servers would outlive the command, and hand work to processes that see another /usr.
    export MSBUILDDISABLENODEREUSE=1 UseSharedCompilation=false DOTNET_CLI_USE_MSBUILD_SERVER=0
    # The tree has no ICU, and nothing here needs cultures.
    export DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1
    export FLA_RADV_ICD=$radv_icd GLSLC=/usr/bin/glslc
    exec unshare --mount "$0" enter "$@"
}

command=${1:-}
[[ $# == 0 ]] || shift
case $command in
path) echo "$tree" ;;
exists) [[ -e $tree ]] ;;
setup) setup ;;
run) run "$@" ;;
fill) fill_tree "$@" ;;
enter) enter "$@" ;;
*) die "usage: eng/env.sh path | exists | setup | run -- COMMAND..." ;;
esac

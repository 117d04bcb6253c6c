# shellcheck shell=bash
# Sourced by ./fla: finds a place where everything needed is at hand. Either returns, with what the build and the tool
# need in the environment, or starts ./fla again inside the private environment (eng/env.sh).

: "${root:?the repository root}"
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 MSBUILDTERMINALLOGGER=off
# Nothing here needs cultures, and a fresh machine has no ICU for the SDK.
export DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1
# Where ldconfig is, which an unprivileged user's PATH leaves out.
PATH=$PATH:/usr/sbin:/sbin

# What a recent distribution has to offer; the last three for the tests, the loss curve's letters, and TorchSharp.
readonly recent_packages=(libvulkan1 mesa-vulkan-drivers glslc vulkan-validationlayers fonts-dejavu-core libstdc++6)

say() { printf 'fla: %s\n' "$*" >&2; }

die() {
    say "$@"
    exit 1
}

is_root() { [[ $(id -u) == 0 ]]; }

find_dotnet() {
    local folder
    for folder in "" "${DOTNET_ROOT:-}" "${HOME:-}/.dotnet" /usr/share/dotnet /usr/lib/dotnet /usr/local/share/dotnet; do
        "${folder:+$folder/}dotnet" --list-sdks 2>/dev/null | grep -E '^(1[0-9]|[2-9][0-9])\.' >/dev/null || continue
        [[ -z $folder ]] || export PATH="$folder:$PATH" DOTNET_ROOT="$folder"
        return 0
    done
    die "the .NET 10 SDK is missing: install the package dotnet-sdk-10.0, or see https://dotnet.microsoft.com/download/dotnet/10.0"
}

inside_private_environment() { [[ -e /usr/share/fla/radv_icd.json ]]; }

# A GPU with its driver: NVIDIA's, or any other but Mesa's CPU drivers beside a render node. Mesa's package brings the
# drivers of all vendors at once, so that a driver's file alone means nothing.
has_gpu_driver() {
    local icd
    for icd in /usr/share/vulkan/icd.d/*.json /etc/vulkan/icd.d/*.json /usr/local/share/vulkan/icd.d/*.json; do
        case $icd in
        */nvidia*) [[ ! -e $icd || ! -e /dev/nvidiactl ]] || return 0 ;;
        */lvp* | */gfxstream* | */virtio*) ;;
        *) [[ ! -e $icd ]] || ! has_mesa_gpu || return 0 ;;
        esac
    done
    return 1
}

# A GPU whose driver is Mesa's (or could be).
has_mesa_gpu() {
    local driver
    for driver in /sys/class/drm/renderD*/device/driver; do
        case $(basename "$(readlink -f "$driver")") in
        amdgpu | radeon | i915 | xe | nouveau | asahi | msm | panfrost | panthor | v3d) return 0 ;;
        esac
    done
    return 1
}

has_loader() { ldconfig -p | grep 'libvulkan\.so\.1' >/dev/null; }

has_any_driver() {
    compgen -G '/usr/share/vulkan/icd.d/*.json' >/dev/null || compgen -G '/etc/vulkan/icd.d/*.json' >/dev/null
}

# Whether a glslc knows what the faster kernels are written in.
glslc_is_recent() {
    printf '#version 460\n#extension GL_KHR_cooperative_matrix : require\n#extension GL_EXT_bfloat16 : require\nvoid main() {}\n' |
        "$1" --target-env=vulkan1.3 -fshader-stage=compute -o /dev/null - >/dev/null 2>&1
}

# TorchSharp's native library needs that of GCC 13.
libstdcxx_is_recent() {
    local library
    library=$(ldconfig -p | awk '/libstdc\+\+\.so\.6 / { print $NF; exit }')
    [[ -n $library ]] && grep -q 'GLIBCXX_3\.4\.32' "$library"
}

# Distributions whose own packages have it all: lavapipe with cooperative matrices (Mesa 26) and a glslc for them.
distribution_is_recent() {
    local ID='' VERSION_ID=''
    # shellcheck source=/dev/null
    source /etc/os-release
    case $ID in
    debian) [[ -z $VERSION_ID || ${VERSION_ID%%.*} -ge 14 ]] ;;
    ubuntu) [[ ${VERSION_ID%%.*} -ge 26 ]] ;;
    *) return 1 ;;
    esac
}

has_apt() { command -v apt-get >/dev/null; }

install_from_distribution() {
    local package missing=() log
    for package in "$@"; do
        dpkg -s "$package" 2>/dev/null | grep '^Status: install ok installed' >/dev/null || missing+=("$package")
    done
    [[ ${#missing[@]} -gt 0 ]] || return 0
    say "installing ${missing[*]} from the distribution"
    log=$(mktemp)
    # Lists that cannot be renewed may still do; the installation tells.
    { apt-get update || true; DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null || {
        tail -n 15 "$log" >&2
        die "could not install ${missing[*]}; the whole log is $log"
    }
    rm -f "$log"
}

enter_private_environment() {
    say "running in the private environment, $("$root/eng/env.sh" path)"
    exec "$root/eng/env.sh" run -- "$root/fla" "$@"
}

# For machines that can have nothing better: what there is, or what the distribution has, and what it costs.
settle_for_the_host() {
    local missing=()
    has_loader || missing+=(libvulkan1)
    has_any_driver || missing+=(mesa-vulkan-drivers)
    command -v "${GLSLC:-glslc}" >/dev/null || missing+=(glslc)
    if [[ ${#missing[@]} -gt 0 ]]; then
        has_apt || die "install a Vulkan driver (your GPU's, or Mesa 26), the Vulkan loader, and glslc (shaderc 2025 or later)"
        is_root || die "this needs root once (sudo ./fla ...), or these packages: sudo apt-get install ${missing[*]}"
        install_from_distribution "${missing[@]}"
    fi
    glslc_is_recent "${GLSLC:-glslc}" || say "this glslc lacks cooperative matrices or bf16: those kernels are left out"
    libstdcxx_is_recent || say "this libstdc++ is too old for TorchSharp's native library: what needs it will not run"
}

# A GPU's driver is the host's, but its glslc may be the private environment's, which runs anywhere.
choose_glslc() {
    ! glslc_is_recent "${GLSLC:-glslc}" || return 0
    if is_root && ! distribution_is_recent && ! "$root/eng/env.sh" exists; then
        say "no glslc here knows cooperative matrices and bf16"
        "$root/eng/env.sh" setup || true
    elif is_root && distribution_is_recent; then
        install_from_distribution glslc
    fi
    if "$root/eng/env.sh" exists; then
        GLSLC=$("$root/eng/env.sh" path)/glslc
        export GLSLC
    fi
}

# prepare COMMAND [ARGUMENTS]: what ./fla was called with.
prepare() {
    find_dotnet
    ! inside_private_environment || return 0
    if [[ ${FLA_ENV:-} == private ]]; then
        "$root/eng/env.sh" setup
        enter_private_environment "$@"
    fi

    if ! has_gpu_driver && has_mesa_gpu && is_root && has_apt; then
        say "there is a GPU, and no Vulkan driver for it"
        install_from_distribution libvulkan1 mesa-vulkan-drivers
    fi
    if has_gpu_driver || [[ ${FLA_ENV:-} == host ]]; then
        if [[ $1 != test || ${FLA_ENV:-} == host ]] || libstdcxx_is_recent; then
            choose_glslc
            settle_for_the_host
            return 0
        fi
        say "this libstdc++ is too old for TorchSharp's tests, so the tests leave the host (FLA_ENV=host keeps them on it)"
    elif distribution_is_recent; then
        ! is_root || install_from_distribution "${recent_packages[@]}"
        settle_for_the_host
        return 0
    fi

    if is_root && has_apt && "$root/eng/env.sh" setup; then
        enter_private_environment "$@"
    fi
    settle_for_the_host
}

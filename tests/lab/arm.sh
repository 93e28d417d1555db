#!/bin/bash
# Runs edge-fer's real aarch64 wheels under Debian 12's arm64 Python, emulated by qemu-user.
#
#     arm.sh WORK INPUT    # WORK keeps what was built: about 1 GB; INPUT holds face.png
#
# What the runs print lies in WORK/found afterwards: verify for each runtime and processor, predict
# and run for each runtime, as JSON, and the records. Root, network and the packages of install.sh are needed; PYTHON has pip.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
repository=$(cd "$here/../.." && pwd)
work=$(mkdir -p "$1" && cd "$1" && pwd)
input=$(cd "$2" && pwd)
python=${PYTHON:-python3}
root=$work/arm
say() { printf '%4d s  %s\n' "$SECONDS" "$*"; }

# The kernel hands every arm64 program to qemu-user from now on; whoever else uses that, may.
mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
[ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] || update-binfmts --enable qemu-aarch64

if [ ! -f "$root/ready" ]; then
    rm -rf "$root"
    # Unpacked only: the packages' own scripts would run under emulation, for minutes, and nothing
    # here needs what they do.
    mmdebstrap -q --arch=arm64 --variant=extract --include=python3,libstdc++6 \
        bookworm "$root" "$("$here/mirror.sh")"
    mkdir -p "$root"/{dev,proc,tmp,sys/devices/system/cpu}
    touch "$root/ready"
    say "Debian 12, arm64: $(du -sh "$root" | cut -f1)"
fi

# pip takes what fits the device's Python and processor, not this machine's.
fetch() {
    "$python" -m pip install -qq --no-input --only-binary=:all: --implementation cp --python-version 3.11 \
        --platform manylinux_2_34_aarch64 --platform manylinux_2_28_aarch64 \
        --platform manylinux_2_27_aarch64 --platform manylinux_2_17_aarch64 \
        --platform manylinux2014_aarch64 "$@"
}
constraints=$repository/firmware_configs/constraints-tflite-runtime.txt
rm -rf "$work/wheel"
"$python" -m pip wheel -qq --no-deps -w "$work/wheel" "$repository"
stated=$(cat "$repository/pyproject.toml" "$constraints" "$0" | sha256sum)
if [ "$stated" != "$(cat "$root/sites" 2> /dev/null)" ]; then
    rm -rf "$root/litert" "$root/tflite-runtime" "$root/sites"
    fetch --target "$root/litert" "$work"/wheel/*.whl
    fetch --target "$root/tflite-runtime" -c "$constraints" tflite-runtime numpy \
        opencv-python-headless flatbuffers typer pydantic-settings rich jinja2
    echo "$stated" > "$root/sites"
    say "aarch64 wheels: $(find "$root/litert" "$root/tflite-runtime" -name '*.dist-info' | wc -l)"
fi
for site in litert tflite-runtime; do
    rm -rf "$root/$site"/edge_fer* "${root:?}/$site/bin"
    fetch --no-deps --target "$root/$site" "$work"/wheel/*.whl
done

rm -rf "$work/found" "$root/work"
mkdir -p "$work/found" "$root/work"
cp "$input/face.png" "$root/work/"

# XNNPACK picks its kernels by what the kernel says of the processor, which is this machine's: each
# board's own is shown instead. Without, its kernels would not be tried at all, or crash.
echo 0 | tee "$root/sys/devices/system/cpu/possible" > "$root/sys/devices/system/cpu/present"
processor() {
    local part features="fp asimd evtstrm crc32 cpuid"
    case $1 in
    cortex-a53) part=0xd03 ;;
    cortex-a72) part=0xd08 ;;
    cortex-a76) part=0xd0b features="$features atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp" ;;
    esac
    cat > "$root/cpuinfo" << INFO
processor	: 0
BogoMIPS	: 108.00
Features	: $features
CPU implementer	: 0x41
CPU architecture: 8
CPU variant	: 0x0
CPU part	: $part
CPU revision	: 3

INFO
}
# Python in there, with the wheels of one runtime. The mounts are gone with the process.
inside() {
    local processor=$1 site=$2
    shift 2
    processor "$processor"
    # shellcheck disable=SC2016 # the inner shell's
    unshare --mount bash -c '
        for folder in dev proc; do mount --rbind "/$folder" "$0/$folder"; done
        mount --bind "$0/cpuinfo" "$0/proc/cpuinfo"
        exec env -i PATH=/usr/sbin:/usr/bin HOME=/tmp LANG=C.UTF-8 QEMU_CPU="$1" PYTHONPATH="/$2" \
            chroot "$0" python3 "${@:3}"
    ' "$root" "$processor" "$site" "$@"
}
models=$(cd "$repository/edge_fer/models" && printf '%s\n' *.tflite | sed 's/\.tflite$//')
verify() {
    inside "$1" "$2" -c 'import platform, sys; print(platform.machine(), sys.version.split()[0])' \
        > "$work/found/machine-$2-$1.txt"
    # shellcheck disable=SC2086 # names
    inside "$1" "$2" -m edge_fer models verify $models --backend "$2" --json \
        > "$work/found/verify-$2-$1.json"
    say "$2 on $1: $(echo "$models" | wc -l) models verified"
}
for site in litert tflite-runtime; do
    verify cortex-a72 $site
    inside cortex-a72 $site -m edge_fer predict /work/face.png --backend $site --json \
        > "$work/found/predict-$site.json"
    inside cortex-a72 $site -m edge_fer run --source 'synthetic?frames=3' --backend $site \
        --sink "jsonl:/work/$site.jsonl" --json > "$work/found/run-$site.json"
    cp "$root/work/$site.jsonl" "$work/found/"
    say "$site: a picture and 3 frames run"
done
# The kernels of a Zero 2 W, and of a Pi 5: it has dot products and half floats.
verify cortex-a53 litert
verify cortex-a76 litert

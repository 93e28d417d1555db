#!/bin/bash
# Installs what a lane of this folder needs; says so, and ends well, where it cannot.
#
#     install.sh arm|device|boot
set -euo pipefail
case "${1:-}" in
arm)
    minutes=2
    packages="mmdebstrap qemu-user-static binfmt-support"
    ;;
device)
    minutes=6
    packages="mmdebstrap qemu-system-x86 busybox-static cpio kmod e2fsprogs util-linux"
    ;;
boot)
    minutes=15
    packages="qemu-user-static binfmt-support qemu-system-arm cpio kmod e2fsprogs dosfstools mtools fdisk
        xz-utils"
    ;;
*)
    echo "usage: install.sh arm|device|boot" >&2
    exit 2
    ;;
esac
echo "lab-$1: about $minutes minutes on two idle cores"
if [ "$(id -u)" != 0 ] || ! grep -qx 'ID=debian' /etc/os-release || ! command -v apt-get > /dev/null; then
    echo "lab-$1: nothing is installed, for that needs root on Debian"
    exit 0
fi
# Somebody else may be installing: wait for them.
apt="apt-get -q -o DPkg::Lock::Timeout=300"
export DEBIAN_FRONTEND=noninteractive
$apt update
# shellcheck disable=SC2086 # words
$apt install -y --no-install-recommends $packages

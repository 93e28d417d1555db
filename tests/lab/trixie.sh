#!/bin/bash
# Debian 13 for this machine's processor: what its programs say of files that were made here.
#
#     trixie.sh WORK                        # builds WORK/trixie: about 1 GB
#     trixie.sh WORK FOLDER COMMAND...      # and runs COMMAND in it; FOLDER is /card there
#
# Root, network and the packages of install.sh are needed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mkdir -p "$1" && cd "$1" && pwd)
root=$work/trixie
# With netplan, as in Raspberry Pi OS: without it cloud-init knows no radios in network-config.
packages=ca-certificates,cloud-init,netplan.io,systemd,udev
# picamera2 is made of these, and of what libcamera.sh adds by pip.
packages+=,gcc,libcamera-ipa,libcap-dev,python3,python3-dev,python3-libcamera,python3-pip,python3-venv

if [ ! -f "$root/ready" ]; then
    rm -rf --one-file-system "$root"
    mmdebstrap -q --variant=minbase --include="$packages" \
        --aptopt='Acquire::Languages "none"' --dpkgopt=force-unsafe-io \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        trixie "$root" "$("$here/mirror.sh")"
    mkdir -p "$root/card"
    touch "$root/ready"
    printf '%4d s  Debian 13: %s\n' "$SECONDS" "$(du -sh "$root" | cut -f1)"
fi
[ $# -ge 3 ] || exit 0
card=$(cd "$2" && pwd)
# The mounts are gone with the process.
exec unshare --mount bash -c '
    for folder in dev proc sys; do mount --rbind "/$folder" "$0/$folder"; done
    mount --bind "$1" "$0/card"
    exec env -i PATH=/usr/sbin:/usr/bin HOME=/tmp LANG=C.UTF-8 chroot "$0" "${@:2}"
' "$root" "$card" "${@:3}"

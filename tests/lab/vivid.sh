#!/bin/bash
# Boots Debian's kernel under emulation, without KVM, and runs vivid_guest.py on its vivid driver.
#
#     vivid.sh WORK     # WORK keeps what was built: about 2 GB
#
# Root, network and Debian are needed, and:
#     apt install qemu-system-x86 busybox-static cpio kmod e2fsprogs debootstrap
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mkdir -p "$1" && cd "$1" && pwd)
mirror=${MIRROR:-http://deb.debian.org/debian}
cd "$work"

# The kernel is only unpacked, never installed: the newest of this machine's Debian.
if [ ! -f kernel/ready ]; then
    package=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image-[0-9]/{print $2; exit}')
    rm -rf kernel
    mkdir kernel
    (cd kernel && apt-get download -q "$package" && dpkg-deb -x ./*.deb .)
    depmod -b kernel "${package#linux-image-}"
    echo "${package#linux-image-}" > kernel/ready
fi
version=$(cat kernel/ready)

# The order in which a module and what it needs have to be loaded.
order() { modprobe -d "$work/kernel" -S "$version" -D "$@" | awk '$1 == "insmod" {print $2}'; }

rm -rf first
mkdir -p first/bin first/mods first/new
cp /bin/busybox first/bin/
{
    echo '#!/bin/busybox sh'
    echo '/bin/busybox mkdir -p /dev /proc /sys; /bin/busybox mount -t devtmpfs d /dev'
    for module in virtio_pci virtio_blk ext4 crc32c_generic; do order $module; done |
        awk '!seen[$0]++' | while read -r file; do
            cp "$file" first/mods/
            echo "/bin/busybox insmod /mods/${file##*/}"
        done
    echo 'for i in 1 2 3 4 5; do [ -b /dev/vda ] && break; /bin/busybox sleep 1; done'
    echo '/bin/busybox mount -t ext4 -o ro /dev/vda /new && /bin/busybox mount --move /dev /new/dev'
    echo 'exec /bin/busybox switch_root /new /start'
} > first/init
chmod +x first/init
(cd first && find . | cpio -o -H newc --quiet | gzip) > first.gz

if [ ! -f system.img ]; then
    rm -rf system
    debootstrap --variant=minbase --include=python3 bookworm system "$mirror"
    mkdir -p system/mods system/site system/test
    "${PIP:-pip}" install -q --only-binary=:all: --python-version 3.11 --target system/site \
        --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 --platform any \
        numpy 'opencv-python-headless>=4.11,<5,!=4.12.*' flatbuffers pydantic-settings rich
    cp /bin/busybox system/busybox
    order vivid | xargs -I{} cp {} system/mods/
    # The last one is vivid itself: two cameras, each with a capture node only.
    order vivid | xargs -n1 basename | sed '$s/$/ n_devs=2 node_types=0x1,0x1/' > system/mods/order
    cat > system/start <<'START'
#!/busybox sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp
/busybox mount -t proc p /proc; /busybox mount -t sysfs s /sys; /busybox mount -t tmpfs t /tmp
/busybox mount -t ext4 -o ro /dev/vdb /test
while read -r module; do /busybox insmod /mods/$module; done < /mods/order
PYTHONPATH=/test:/site PYTHONDONTWRITEBYTECODE=1 python3 -u /test/vivid_guest.py
echo "GUEST $?"
echo o > /proc/sysrq-trigger
/busybox sleep 9
START
    chmod +x system/start
    mke2fs -q -F -t ext4 -d system partial.img 1200M
    mv partial.img system.img
    rm -rf system
fi

rm -rf test
mkdir test
cp -r "$here/../../edge_fer" "$here/vivid_guest.py" test/
mke2fs -q -F -t ext4 -d test test.img 96M
timeout 300 qemu-system-x86_64 -accel tcg -cpu max -m 900 \
    -kernel "kernel/boot/vmlinuz-$version" -initrd first.gz \
    -append "console=ttyS0 panic=-1 quiet" \
    -drive file=system.img,if=virtio,format=raw,snapshot=on \
    -drive file=test.img,if=virtio,format=raw,snapshot=on \
    -nographic -no-reboot -monitor none < /dev/null

#!/bin/bash
# Boots Debian's kernel under emulation, without KVM, with drivers of devices that are not there.
#
#     guest.sh WORK PROGRAM [FILE...]    # WORK keeps what was built: about 1 GB
#
# PROGRAM is a shell script of this folder that the guest runs; edge_fer, this folder, what the tests
# of cameras import, and each FILE lie beside it in /test. Root, network and the packages of
# install.sh are needed; PYTHON has pip.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mkdir -p "$1" && cd "$1" && pwd)
program=$2
mapfile -t files < <(realpath "${@:3}" 2> /dev/null || true)
cd "$work"
say() { printf '%4d s  %s\n' "$SECONDS" "$*"; }

# The kernel is only unpacked, never installed: the newest of this machine's Debian.
if [ ! -f kernel/ready ]; then
    package=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image-[0-9]/{print $2; exit}')
    rm -rf kernel
    mkdir kernel
    (cd kernel && apt-get download -q "$package" && dpkg-deb -x ./*.deb .)
    depmod -b kernel "${package#linux-image-}"
    echo "${package#linux-image-}" > kernel/ready
    say "kernel ${package#linux-image-}"
fi
version=$(cat kernel/ready)

# The order in which modules and what they need have to be loaded.
order() {
    for module; do modprobe -d "$work/kernel" -S "$version" -D "$module"; done |
        awk '$1 == "insmod" && !seen[$2]++ {print $2}'
}

rm -rf first
mkdir -p first/bin first/mods first/new
cp /bin/busybox first/bin/
{
    echo '#!/bin/busybox sh'
    echo '/bin/busybox mkdir -p /dev /proc /sys; /bin/busybox mount -t devtmpfs d /dev'
    order virtio_pci virtio_blk ext4 crc32c_generic | while read -r file; do
        cp "$file" first/mods/
        echo "/bin/busybox insmod /mods/${file##*/}"
    done
    echo 'for i in 1 2 3 4 5; do [ -b /dev/vda ] && break; /bin/busybox sleep 1; done'
    echo '/bin/busybox mount -t ext4 -o ro /dev/vda /new && /bin/busybox mount --move /dev /new/dev'
    echo 'exec /bin/busybox switch_root /new /start'
} > first/init
chmod +x first/init
(cd first && find . | cpio -o -H newc --quiet | gzip) > first.gz

if [ ! system.img -nt "$here/guest.sh" ]; then
    rm -rf system
    # Unpacked only; the accounts are what base-passwd's own script would have copied.
    mmdebstrap -q --variant=extract --include=base-passwd,libstdc++6,python3,udev \
        bookworm system "$("$here/mirror.sh")"
    for file in passwd group; do cp "system/usr/share/base-passwd/$file.master" "system/etc/$file"; done
    mkdir -p system/{dev,proc,sys,tmp,run,mods,site,test}
    "${PYTHON:-python3}" -m pip install -qq --only-binary=:all: --implementation cp \
        --python-version 3.11 --target system/site \
        --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 --platform any \
        numpy 'opencv-python-headless>=4.11,<5,!=4.12.*' flatbuffers typer pydantic-settings rich \
        jinja2 pytest
    cp /bin/busybox system/busybox
    # usb_f_acm is what g_serial asks the kernel for, which has nobody here to ask.
    for set in "vivid vivid" "coral dummy_hcd libcomposite u_serial usb_f_acm g_serial"; do
        read -r name modules <<< "$set"
        # shellcheck disable=SC2086 # words
        order $modules | tee >(xargs -n1 basename > "system/mods/$name") | xargs -I{} cp {} system/mods/
    done
    cat > system/start << 'START'
#!/busybox sh
export PATH=/test/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp
/busybox mount -t proc p /proc; /busybox mount -t sysfs s /sys
/busybox mount -t tmpfs t /tmp; /busybox mount -t tmpfs r /run
/busybox mount -t ext4 -o ro /dev/vdb /test
export PYTHONPATH=/test:/site PYTHONDONTWRITEBYTECODE=1
cd /test && /busybox sh /test/program
echo "GUEST $?"
echo o > /proc/sysrq-trigger
/busybox sleep 9
START
    chmod +x system/start
    mke2fs -q -F -t ext4 -d system partial.img 1000M
    mv partial.img system.img
    rm -rf system
    say "the guest's system"
fi

rm -rf test
mkdir -p test/bin
cp -r "$here/../../edge_fer" "$here"/*.py "$here/../motion_jpeg.py" "$here/../contract/test_camera.py" \
    ${files[@]+"${files[@]}"} test/
cp "$here/$program" test/program
ln -s /busybox test/bin/insmod
ln -s /busybox test/bin/rmmod
mke2fs -q -F -t ext4 -d test test.img 96M
timeout 400 qemu-system-x86_64 -accel tcg -cpu max -m 900 \
    -kernel "kernel/boot/vmlinuz-$version" -initrd first.gz \
    -append "console=ttyS0 panic=-1 quiet" \
    -drive file=system.img,if=virtio,format=raw,snapshot=on \
    -drive file=test.img,if=virtio,format=raw,snapshot=on \
    -nographic -no-reboot -monitor none < /dev/null
say "the guest has ended"

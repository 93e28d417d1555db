#!/bin/bash
# Builds what test_boot.py boots: a stock system for arm64, and cards with it.
#
#     boot.sh WORK system            # Debian trixie for arm64, its kernel, an initramfs: minutes, once
#     boot.sh WORK stock             # WORK/bootfs: a boot folder as it comes with the image
#     boot.sh WORK card IMAGE        # WORK/bootfs and the system as one card image, in seconds
#
# Root, network and Debian are needed; the packages are in install.sh. Nothing is mounted: the kernel
# of a CI machine may know neither FAT nor loop devices.
#
# It stands in for Raspberry Pi OS, whose packages and kernel are not used: the same Debian release,
# the same layout of the card (pi-gen: MBR, bootfs at /boot/firmware, rootfs), cloud-init told where
# to look as in pi-gen's stage2/04-cloud-init/files/99_raspberry-pi.cfg.
set -euo pipefail
work=$(mkdir -p "$1" && cd "$1" && pwd)
disk_id=0xed9efe01
here=$(cd "$(dirname "$0")" && pwd)
mirror=$("$here/mirror.sh")
cd "$work"

step() { echo "$(date +%T) $*" >&2; }

# What Raspberry Pi OS has too, and what the first boot is to find there; nothing else.
packages="systemd-sysv udev dbus python3 python3-venv cloud-init netplan.io e2fsprogs dosfstools
    cloud-guest-utils fdisk kmod sudo"
# Their scripts compile Python and locales, list certificates and ask debconf, for minutes under
# emulation, and set up what nothing here uses.
not_configured="apt ca-certificates debconf debian-archive-keyring dpkg e2fsprogs iproute2 libpam0g
    libpython3.13-minimal libpython3.13-stdlib locales python3.13 python3.13-minimal python3.13-venv
    tzdata util-linux"

# apt as on an empty arm64 machine; what this machine has installed does not count.
apt_for_arm64() {
    rm -rf apt
    mkdir -p apt/lists/partial apt/archives/partial apt/none
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" > apt/sources.list
    : > apt/status
    cat > apt/apt.conf <<CONF
Dir::Etc::sourcelist "$work/apt/sources.list";
Dir::Etc::sourceparts "$work/apt/none";
Dir::Etc::preferencesparts "$work/apt/none";
Dir::State::lists "$work/apt/lists";
Dir::State::status "$work/apt/status";
Dir::State::extended_states "$work/apt/extended_states";
Dir::Cache "$work/apt";
Dir::Cache::archives "$work/apt/archives";
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
CONF
    export APT_CONFIG=$work/apt/apt.conf
    apt-get update -qq
}

# One package, as dpkg leaves it between unpacking and configuring, without its preinst (those that
# there are look after upgrades). dpkg itself takes minutes: as a foreign program, and by its syncs.
unpack() {
    local name info file
    rm -rf control.d
    dpkg-deb --control "$1" control.d
    name=$(awk '$1 == "Package:" {name = $2} $1 == "Architecture:" {arch = ":" $2}
        $0 == "Multi-Arch: same" {same = 1} END {print name (same ? arch : "")}' control.d/control)
    info=root/var/lib/dpkg/info/$name
    dpkg-deb --fsys-tarfile "$1" | tar -xv -C root --keep-directory-symlink \
        --exclude='./usr/share/man/*' --exclude='./usr/share/doc/*' --exclude='./usr/share/locale/*' |
        sed 's,^\.,,; s,/$,,; s,^$,/.,' > "$info.list"
    for file in postinst config templates triggers shlibs symbols; do
        [ ! -f "control.d/$file" ] || cp "control.d/$file" "$info.$file"
    done
    sed 's/^Package: .*/&\nStatus: install ok unpacked/' control.d/control >> root/var/lib/dpkg/status
    echo >> root/var/lib/dpkg/status
}

make_root() {
    local name kernel
    step "arm64 programs run here by qemu-user"
    mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
    update-binfmts --enable qemu-aarch64 2> /dev/null || true
    rm -rf --one-file-system root root.ready kernel
    mkdir root kernel

    step "packages of Debian trixie, arm64"
    apt_for_arm64
    kernel=$(apt-cache depends linux-image-cloud-arm64 | awk '/Depends: linux-image-[0-9]/{print $2; exit}')
    # shellcheck disable=SC2086
    apt-get install -y -qq --download-only '?essential' $packages > /dev/null
    (cd kernel && apt-get download -qq "$kernel" busybox-static)

    set -- apt/archives/*.deb
    step "unpacking $# packages"
    mkdir -p root/var/lib/dpkg/info root/var/lib/dpkg/updates root/var/lib/dpkg/triggers
    # base-files first: it brings the merged /usr.
    unpack apt/archives/base-files_*.deb
    for name in apt/archives/*.deb; do
        case $name in apt/archives/base-files_*) ;; *) unpack "$name" ;; esac
    done
    echo 1 > root/var/lib/dpkg/info/format
    rm -rf --one-file-system control.d
    cp root/usr/share/base-passwd/passwd.master root/etc/passwd
    cp root/usr/share/base-passwd/group.master root/etc/group

    step "configuring them, under emulation"
    for name in $not_configured; do
        rm -f root/var/lib/dpkg/info/"$name".{config,postinst,triggers} \
            root/var/lib/dpkg/info/"$name":arm64.{config,postinst,triggers}
    done
    # Found before their namesakes in /usr/bin; the compiled form is written by whoever imports.
    printf '#!/bin/sh\nexit 101\n' > root/usr/sbin/policy-rc.d
    for name in py3compile systemd-hwdb; do printf '#!/bin/sh\n' > "root/usr/sbin/$name"; done
    (cd root/usr/sbin && chmod +x policy-rc.d py3compile systemd-hwdb)
    export DEBIAN_FRONTEND=noninteractive LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
    # The mount is gone with the process.
    unshare --mount sh -c 'mount -t proc proc root/proc && exec chroot root dpkg --configure -a --force-unsafe-io' \
        > configure.log 2>&1 || { tail -n 20 configure.log && exit 1; }
    # In place of what was left out: a trigger, and the list without which requests does not load.
    chroot root ldconfig
    cat root/usr/share/ca-certificates/mozilla/*.crt > root/etc/ssl/certs/ca-certificates.crt
    rm root/usr/sbin/policy-rc.d root/usr/sbin/py3compile root/usr/sbin/systemd-hwdb
    touch root.ready
}

system() {
    local version unit
    [ -f root.ready ] || make_root

    step "its kernel and modules"
    (cd kernel && for package in ./*.deb; do dpkg-deb -x "$package" .; done)
    version=$(ls kernel/usr/lib/modules)
    cp -a kernel/usr/lib/modules root/usr/lib/
    depmod -b root "$version"
    cp "kernel/boot/vmlinuz-$version" vmlinuz

    step "the initramfs"
    rm -rf first
    mkdir -p first/bin first/new first/dev first/proc first/sys
    cp kernel/usr/bin/busybox first/bin/
    xz -dc "$(find kernel -name virtio_blk.ko.xz)" > first/virtio_blk.ko
    # No more than the kernel of a Pi does by itself: find the root, honour ro, rw and init=.
    cat > first/init <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox insmod /virtio_blk.ko
init=/sbin/init how=ro root=
for word in $(/bin/busybox cat /proc/cmdline); do
    case $word in
        root=PARTUUID=*) root=/dev/vda$((${word##*-})) ;;
        init=*) init=${word#init=} ;;
        ro | rw) how=$word ;;
    esac
done
until [ -b "$root" ]; do /bin/busybox sleep 0.2; done
/bin/busybox mount -t ext4 -o "$how" "$root" /new
/bin/busybox umount /proc
/bin/busybox mount --move /dev /new/dev
exec /bin/busybox switch_root -c /dev/console /new "$init"
INIT
    chmod +x first/init
    (cd first && find . | cpio -o -H newc --quiet | gzip -1) > first.gz

    step "what the image of a Pi would have set"
    cat > root/etc/fstab <<FSTAB
proc /proc proc defaults 0 0
PARTUUID=${disk_id#0x}-01 /boot/firmware vfat defaults 0 2
PARTUUID=${disk_id#0x}-02 / ext4 defaults,noatime 0 1
FSTAB
    mkdir -p root/boot/firmware
    cat > root/etc/cloud/cloud.cfg.d/99_raspberry-pi.cfg <<'CLOUD'
datasource_list: [ NoCloud, None ]
datasource:
  NoCloud:
    seedfrom: file:///boot/firmware
ssh_deletekeys: false
ssh_genkeytypes: []
CLOUD
    for unit in cloud-init-main cloud-init-local; do
        mkdir -p "root/etc/systemd/system/$unit.service.d"
        printf '[Unit]\nRequiresMountsFor=/boot/firmware\n' > "root/etc/systemd/system/$unit.service.d/boot.conf"
    done
    # cloud-init restarts them when it sets the keyboard and turns SSH off; here they do nothing.
    for unit in console-setup ssh; do
        printf '[Service]\nType=oneshot\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n' \
            > "root/etc/systemd/system/$unit.service"
    done
    rm -f root/etc/machine-id
    : > root/etc/machine-id

    step "what only the lab has: the probe, and no work of a first start that nobody needs"
    touch root/etc/.updated root/var/.updated
    for unit in systemd-hwdb-update e2scrub_reap; do
        ln -sf /dev/null "root/etc/systemd/system/$unit.service"
    done
    mkdir -p root/lab
    cp "$here/boot_probe.py" root/lab/
    cat > root/etc/systemd/system/lab-probe.service <<'UNIT'
[Unit]
Description=Answers the host
DefaultDependencies=no
After=systemd-remount-fs.service
[Service]
ExecStart=/usr/bin/python3 -u /lab/boot_probe.py
Restart=always
[Install]
WantedBy=sysinit.target
UNIT
    mkdir -p root/etc/systemd/system/sysinit.target.wants
    ln -s ../lab-probe.service root/etc/systemd/system/sysinit.target.wants/

    step "the file system"
    rm -f rootfs.img
    mke2fs -q -F -t ext4 -L rootfs -d root rootfs.img 2000M
    du -sm root | cut -f1 > root.mb
    rm -rf --one-file-system root root.ready kernel first apt
    touch system.ready
    step "done"
}

# As pi-gen leaves them: stage1/00-boot-files/files, stage2/04-cloud-init/files.
stock() {
    rm -rf bootfs
    mkdir bootfs
    printf '%s\n' "console=serial0,115200 console=tty1 root=PARTUUID=${disk_id#0x}-02 rootfstype=ext4 fsck.repair=yes rootwait resize" > bootfs/cmdline.txt
    cat > bootfs/config.txt <<'CONFIG'
# For more options and information see
# http://rptl.io/configtxt
dtparam=audio=on
camera_auto_detect=1
display_auto_detect=1
auto_initramfs=1
dtoverlay=vc4-kms-v3d
max_framebuffers=2
disable_fw_kms_setup=1
arm_64bit=1
disable_overscan=1
arm_boost=1

[cm4]
otg_mode=1

[cm5]
dtoverlay=dwc2,dr_mode=host

[pi5]
dtoverlay=nospi10

[all]
CONFIG
    printf 'dsmode: local\ninstance_id: rpios-image\n' > bootfs/meta-data
    printf '#cloud-config\n' > bootfs/user-data
    : > bootfs/network-config
}

card() {
    local boot=512 root=2000 disk=6000
    rm -f "$1" boot.img
    truncate -s "${boot}M" boot.img
    mkfs.vfat -F 32 -n bootfs boot.img > /dev/null
    mcopy -s -i boot.img bootfs/* ::
    truncate -s "${disk}M" "$1"
    printf 'label: dos\nlabel-id: %s\nstart=4MiB, size=%dMiB, type=c, bootable\nstart=%dMiB, size=%dMiB, type=83\n' \
        "$disk_id" "$boot" $((4 + boot)) "$root" | sfdisk -q "$1"
    dd if=boot.img of="$1" bs=1M seek=4 conv=notrunc,sparse status=none
    dd if=rootfs.img of="$1" bs=1M seek=$((4 + boot)) conv=notrunc,sparse status=none
    rm boot.img
}

case $2 in
    system) [ -f system.ready ] || system ;;
    stock) stock ;;
    card) card "$3" ;;
    *)
        sed -n '2,6p' "$0"
        exit 2
        ;;
esac

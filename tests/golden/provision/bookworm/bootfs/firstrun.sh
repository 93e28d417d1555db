#!/bin/sh
# The first boot of Raspberry Pi OS bookworm. Made by edge-fer provision render: change the settings, not this file.
# systemd.run= on the kernel's line starts it before anything else; it takes itself away and the
# card boots again, whatever went wrong: what did, is in edge-fer/install.log.
set +e
R=${EDGE_FER_ROOT:-}
BOOT=${EDGE_FER_BOOT:-/boot/firmware}
LOG=$BOOT/edge-fer/install.log
HOST=kiosk-entrance
NAME=edge
HASH=''

say() {
    echo "edge-fer: $*"
    echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) $*" >>"$LOG"
}
# A step that fails is said, and the next one comes: a kiosk with the wrong keyboard still runs.
try() { # try WORDS FUNCTION
    (
        set -e
        "$2"
    ) >/dev/null 2>&1
    # Not their output: they handle secrets.
    [ $? -eq 0 ] || say "FAILED: $1"
}

host() {
    echo "$HOST" >"$R/etc/hostname"
    if grep -q '^127\.0\.1\.1' "$R/etc/hosts"; then
        sed -i "s/^127\.0\.1\.1.*/127.0.1.1\t$HOST/" "$R/etc/hosts"
    else
        printf '127.0.1.1\t%s\n' "$HOST" >>"$R/etc/hosts"
    fi
    hostname "$HOST" || :
}

locale() {
    ln -sf /usr/share/zoneinfo/Europe/Berlin "$R/etc/localtime"
    echo Europe/Berlin >"$R/etc/timezone"
    printf 'XKBMODEL="pc105"\nXKBLAYOUT="%s"\nXKBVARIANT=""\nXKBOPTIONS=""\nBACKSPACE="guess"\n' \
        us >"$R/etc/default/keyboard"
    setupcon --save-only || :
}

user() {
    first=$(getent passwd 1000 | cut -d: -f1)
    if getent passwd "$NAME" >/dev/null; then
        :
    elif [ -n "$first" ]; then
        # The image's own placeholder becomes the user, as userconf-pi does it.
        usermod -l "$NAME" "$first"
        usermod -m -d "/home/$NAME" "$NAME"
        groupmod -n "$NAME" "$first" || :
    else
        useradd -m -s /bin/bash "$NAME"
    fi
    for group in users adm video plugdev render input netdev; do
        if getent group "$group" >/dev/null; then usermod -a -G "$group" "$NAME"; fi
    done
    if [ -n "$HASH" ]; then
        printf '%s:%s\n' "$NAME" "$HASH" | chpasswd -e
    else
        usermod -L "$NAME"
    fi
    # The image lets its user become root without a password.
    rm -f "$R/etc/sudoers.d/010_pi-nopasswd"
    rm -f "$R/etc/sudoers.d/edge-fer-user"
}

remote() {
    mkdir -p "$R/etc/ssh/sshd_config.d"
    printf 'PermitRootLogin no\nPasswordAuthentication no\n' \
        >"$R/etc/ssh/sshd_config.d/edge-fer.conf"
    systemctl disable ssh.service
}

mount -o remount,rw "$BOOT" 2>/dev/null
try "setting the host name" host
try "setting keyboard and time zone" locale
try "making the user" user
try "setting up ssh" remote
sh "$BOOT/edge-fer/install.sh"
if [ $? -eq 0 ]; then
    :
elif systemctl is-enabled --quiet edge-fer-install.service; then
    say "The installation is not complete: the next boot tries again."
else
    say "The installation is not complete. Run it again: sudo sh /boot/firmware/edge-fer/install.sh"
fi

# Whole words, as there may be other parameters behind them. Only now: a power cut starts over.
sed -e 's,\(^\| \)systemd\.run=/boot/firmware/firstrun\.sh\( \|$\),\1,g' -e 's,\(^\| \)systemd\.run_success_action=reboot\( \|$\),\1,g' -e 's,\(^\| \)systemd\.unit=kernel-command-line\.target\( \|$\),\1,g' \
    -e 's/ *$//' "$BOOT/cmdline.txt" >"$BOOT/cmdline.txt.new" &&
    sync "$BOOT/cmdline.txt.new" &&
    mv -f "$BOOT/cmdline.txt.new" "$BOOT/cmdline.txt"
rm -f "$BOOT/firstrun.sh"
sync
# systemd.run_success_action=reboot
exit 0

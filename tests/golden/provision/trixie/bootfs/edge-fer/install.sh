#!/bin/sh
# Makes edge-fer out of what lies beside this file. Made by edge-fer provision render: change the settings, not this file.
# The first boot runs it as root; by hand: sudo sh /boot/firmware/edge-fer/install.sh
# Every step may be repeated. After one that failed the card still boots, writable; the reason is
# in install.log beside this file, and the next boot tries again. No secret is ever written there.
# What the system lacks stands there too, in lines that begin with MISSING:.
set -eu
umask 022
R=${EDGE_FER_ROOT:-}              # tests: another root
BOOT=${EDGE_FER_BOOT:-/boot/firmware}
REBOOT=${EDGE_FER_REBOOT_MARK:-/run/edge-fer-install/reboot} # whoever called this boots again where it is there
CARD=$BOOT/edge-fer
LOG=$CARD/install.log
PREFIX=$R/opt/edge-fer
OURS=$R/usr/lib/edge-fer
LISTED=$OURS/files # what this file has put below /
TAKEN=$CARD/taken  # of these, the secrets that were taken off the boot partition since
RETRY=edge-fer-install.service
CONSOLE=${EDGE_FER_CONSOLE:-/dev/console}
export DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

say() {
    echo "edge-fer: $*"
    echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) $*" >>"$LOG" || :
}

fail() {
    say "FAILED: $1"
    say "Nothing was made read-only. Mend it and run again: sudo sh /boot/firmware/edge-fer/install.sh"
    sync || :
    exit 1
}

# A plain call, never part of a condition: there, sh ignores set -e inside of it.
step() { # step WORDS FUNCTION
    say "$1"
    set +e
    (
        set -e
        "$2"
    ) >>"$LOG" 2>&1
    code=$?
    set -e
    [ "$code" -eq 0 ] || fail "$1 (exit code $code)"
}

put() { # put FILE: from here to its place below /, all of it or nothing
    case $1 in
    ./etc/edge-fer/credentials/* | ./etc/edge-fer/config.toml | ./etc/NetworkManager/system-connections/*) mode=0600 ;;
    ./etc/sudoers.d/*) mode=0440 ;;
    # FAT knows no modes: what starts like a program is one.
    *) if [ "$(head -c 2 "$1" | tr -d '\000')" = "#!" ]; then mode=0755; else mode=0644; fi ;;
    esac
    target=$R/${1#./}
    (
        umask 077
        cp "$1" "$target.edge-fer-new"
    )
    chmod "$mode" "$target.edge-fer-new"
    chown root:root "$target.edge-fer-new"
    sync "$target.edge-fer-new"
    mv -f "$target.edge-fer-new" "$target"
}

# First of all: from here on a failure or a power cut is followed by another try, at the next boot.
# cloud-init does a thing once, and firstrun.sh is gone.
again() {
    cd "$CARD/root"
    mkdir -p "$R/etc/systemd/system"
    put "./etc/systemd/system/$RETRY"
    systemctl enable "$RETRY"
}

files() {
    cd "$CARD/root"
    find . -type d | while IFS= read -r folder; do
        # One that is there keeps its mode: sudoers.d is nobody's but root's.
        [ -d "$R/$folder" ] || mkdir -m 0755 "$R/$folder"
    done
    if [ -d "$R/etc/edge-fer/credentials" ]; then chmod 0700 "$R/etc/edge-fer/credentials"; fi
    find . -type f | while IFS= read -r file; do put "$file"; done
    mkdir -p "$OURS/overlay" "$OURS/lower"
}

# Of an earlier card: a screen or a network that is no longer wanted must not come up again.
leftovers() {
    cd "$CARD/root"
    {
        find . -type f | sed 's,^\.,,'
        if [ -f "$TAKEN" ]; then cat "$TAKEN"; fi
    } | sort -u >"$LISTED.new"
    if [ -f "$LISTED" ]; then
        { grep -Fxv -f "$LISTED.new" "$LISTED" || :; } | while IFS= read -r path; do
            echo "removing $path"
            case $path in
            /etc/systemd/system/*) systemctl disable "${path##*/}" || : ;;
            esac
            rm -f "$R$path"
        done
    fi
    sync "$LISTED.new"
    mv -f "$LISTED.new" "$LISTED"
}

# What the first boot needed and nobody else may read. FAT keeps no secrets, and a card that was
# written to keeps traces: who holds the card and looks for them may find them.
replace() { # replace FILE SED-EXPRESSION
    [ -f "$1" ] || return 0
    sed "$2" "$1" >"$1.new"
    sync "$1.new"
    mv -f "$1.new" "$1"
}
take() { # take FILE
    # Noted first: on another run it still is one of this card's.
    echo "/${1#./}" >>"$TAKEN"
    sync "$TAKEN"
    rm -f "$1"
}
secrets() {
    cd "$CARD/root"
    sync # their copies below / are there for good, before these go
    for file in ./etc/edge-fer/credentials/* ./etc/NetworkManager/system-connections/*; do
        if [ -f "$file" ]; then take "$file"; fi
    done
    replace "$BOOT/user-data" 's/^\( *hashed_passwd: \).*/\1"!"/'
    replace "$BOOT/network-config" 's/^\( *password: \).*/\1"taken-away-after-the-first-boot"/'
    sync "$BOOT"
    # firstrun.sh takes itself away, when it is done: a power cut until then starts it again.
}

account() {
    # Ours alone: what others left undone is not for us to fail by.
    systemd-sysusers edge-fer.conf
    systemd-tmpfiles --create edge-fer.conf
    # Raspberry Pi OS asks for a user on the screen, until it is told that there is one.
    if [ -x "$R/usr/bin/cancel-rename" ]; then cancel-rename edge || :; fi
    if command -v ssh-keygen >/dev/null; then
        # On a read-only root they would be new at every boot.
        if [ -n "$R" ]; then ssh-keygen -A -f "$R"; else ssh-keygen -A; fi
    fi
    if command -v rfkill >/dev/null; then rfkill block wifi || :; fi
}

# The oldest date that can be true: when the card was written. FAT knows no time zone, and
# somebody's is 14 hours ahead.
floor() {
    written=$(($(stat -c %Y "$CARD/install.sh") - 50400))
    [ "$written" -lt 1735689600 ] || echo "$written" >"$OURS/clock-floor"
    if [ -x "$OURS/clock" ]; then "$OURS/clock" restore; fi
}

# Nothing of this ends the installation: the rest works, and an image may bring it later.
needs() {
    for program in cage chromium seatd; do
        command -v "$program" >/dev/null ||
            { [ "$program" = chromium ] && command -v chromium-browser >/dev/null; } ||
            echo "MISSING: $program, for the screen: sudo apt install cage chromium seatd wlr-randr xwayland fonts-noto-core"
    done
    [ -x "$PREFIX/bin/edge-fer" ] || python3 -c 'import ensurepip, venv' 2>/dev/null ||
        echo "MISSING: python3-venv, to install the program: sudo apt install python3-venv"
    python3 -c 'import picamera2' >/dev/null 2>&1 ||
        echo "MISSING: picamera2, for the camera: sudo apt install --no-install-recommends python3-picamera2"
}

package() {
    set -- edge-fer==0.1.0
    if ls "$CARD"/wheels/*.whl >/dev/null 2>&1; then
        venv
        "$PREFIX/bin/pip" install --no-cache-dir --no-index --find-links "$CARD/wheels" "$@"
    elif [ -x "$PREFIX/bin/edge-fer" ]; then
        echo "the card brings no wheels: $PREFIX stays as it is"
    else
        venv
        "$PREFIX/bin/pip" install --no-cache-dir "$@" || {
            echo "The card has no wheels, and no package index could be reached."
            echo "Give wheels to edge-fer provision render (edge-fer provision wheels gets them)."
            exit 1
        }
    fi
    "$PREFIX/bin/edge-fer" --version
}
venv() {
    python3 -m venv --system-site-packages "$PREFIX" || {
        echo "Install python3-venv: sudo apt install python3-venv"
        exit 1
    }
}

DATA=$R/var/lib/edge-fer
storage() {
    "$OURS/prepare-storage"
    mkdir -p "$DATA"
    if ! grep -q '^LABEL=edge-fer-data ' "$R/etc/fstab"; then
        cp -p "$R/etc/fstab" "$R/etc/fstab.new"
        if [ -n "$(tail -c 1 "$R/etc/fstab")" ]; then echo >>"$R/etc/fstab.new"; fi
        echo 'LABEL=edge-fer-data /var/lib/edge-fer ext4 noatime,nodev,nosuid,nofail,errors=remount-ro,x-systemd.device-timeout=5min 0 2' >>"$R/etc/fstab.new"
        sync "$R/etc/fstab.new"
        mv -f "$R/etc/fstab.new" "$R/etc/fstab"
    fi
    systemctl daemon-reload
    mountpoint -q "$DATA" || mount "$DATA"
}

models() {
    ls "$CARD"/models/* >/dev/null 2>&1 || return 0
    mkdir -p "$R/opt/edge-fer/models"
    for model in "$CARD"/models/*; do
        target=$R/opt/edge-fer/models/${model##*/}
        cp "$model" "$target.new"
        chmod 0644 "$target.new"
        sync "$target.new"
        mv -f "$target.new" "$target"
    done
}

# What asks to be installed by having such a section.
wanted() {
    (
        cd "$CARD/root/etc/systemd/system"
        grep -l '^\[Install\]' ./*.service ./*.timer ./*.socket ./*.path ./*.target 2>/dev/null || :
    ) | sed 's,^\./,,' | grep -vx "$RETRY" || :
}
units() {
    systemctl daemon-reload
    for unit in $(wanted); do
        systemctl enable "$unit"
    done
}

read_only() {
    # They would fill the memory that the overlay is made of.
    for unit in dphys-swapfile.service apt-daily.timer apt-daily-upgrade.timer man-db.timer; do
        systemctl disable "$unit" 2>/dev/null || :
    done
    [ -x "$OURS/overlay-init" ]
    sync
    # The last thing: from the next boot on nothing of the system can be changed by accident.
    EDGE_FER_BOOT=$BOOT "$OURS/cmdline" add init=/usr/lib/edge-fer/overlay-init cloud-init=disabled
}

if [ "$(findmnt -n -o FSTYPE "${R:-/}" 2>/dev/null || :)" = overlay ]; then
    echo "edge-fer: this boot keeps nothing. First: sudo /usr/lib/edge-fer/writable on && sudo reboot" >&2
    exit 1
fi
mount -o remount,rw "$BOOT" 2>/dev/null || :
rm -f "$REBOOT" "$OURS/installed"
say 'edge-fer 0.1.0 for @BOARD@, Raspberry Pi OS (64-bit), trixie, storage data-partition'
step "seeing to another try" again
step "copying files" files
step "removing what an earlier card left" leftovers
step "taking secrets off the boot partition" secrets
step "making the account" account
step "setting the clock's lower bound" floor
step "preparing the storage" storage
lacking=$(needs)
if [ -n "$lacking" ]; then echo "$lacking" | tee -a "$LOG"; fi
step "installing the program" package
step "installing models" models
step "enabling the units" units
step "making the card read-only from the next boot on" read_only
systemctl disable "$RETRY" >>"$LOG" 2>&1 || :
echo 0.1.0 >"$OURS/installed"
sync
summary="done; the next boot is the first of the finished card"
if [ -n "$lacking" ]; then
    summary="$summary; $(echo "$lacking" | grep -c .) things are MISSING, see install.log"
fi
say "$summary"
{ echo "edge-fer: $summary" >"$CONSOLE"; } 2>/dev/null || :
mkdir -p "${REBOOT%/*}"
: >"$REBOOT"

#!/bin/sh
# Run by the guest of guest.sh: udev with a card's rules, and then the drivers of a fake USB bus.
mkdir -p /run/udev/rules.d
cp /test/*.rules /run/udev/rules.d/
/lib/systemd/systemd-udevd --daemon
while read -r module; do
    case $module in g_serial.ko*) ;; *) insmod "/mods/$module" ;; esac
done < /mods/coral
python3 -u /test/coral_guest.py

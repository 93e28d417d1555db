#!/bin/sh
# Run by the guest of guest.sh: two cameras of the kernel's vivid driver, with a capture node each.
while read -r module; do
    case $module in vivid.ko*) insmod "/mods/$module" n_devs=2 node_types=0x1,0x1 ;; *) insmod "/mods/$module" ;; esac
done < /mods/vivid
python3 -u /test/vivid_guest.py || exit 1
# Without ini-files of ours, but as strict.
python3 -u -m pytest -q --color=no -p no:cacheprovider -W error --rootdir /tmp -c /dev/null /test/vivid_conformance.py

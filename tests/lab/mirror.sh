#!/bin/bash
# Prints the Debian mirror that this machine's apt uses, else the official one; MIRROR overrides it.
set -euo pipefail
. /etc/os-release
found=$(apt-get indextargets --format '$(RELEASE) $(ORIGIN) $(COMPONENT) $(REPO_URI)' 2>/dev/null |
    awk -v release="${VERSION_CODENAME:-}" '$1 == release && $2 == "Debian" && $3 == "main" {print $4; exit}')
echo "${MIRROR:-${found:-http://deb.debian.org/debian/}}"

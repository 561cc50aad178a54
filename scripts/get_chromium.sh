#!/bin/sh
# Puts a Chromium where the browser tests find it: the one on the PATH, else Debian's, which only root can install.
# Prints the path of the binary.
set -eu

find_browser() {
  for name in chromium chromium-browser google-chrome; do
    command -v "$name" && return 0
  done
  return 1
}

if find_browser; then
  exit 0
fi

if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" != 0 ]; then
  echo "no chromium on PATH: install it (Debian and Ubuntu: apt-get install chromium), or run this as root" >&2
  exit 1
fi

# Its libraries are spread over the system, so unlike redis-server it cannot be unpacked beside it.
install="apt-get install --yes --quiet --no-install-recommends chromium"
if ! DEBIAN_FRONTEND=noninteractive $install >&2; then
  apt-get update --quiet >&2
  DEBIAN_FRONTEND=noninteractive $install >&2
fi
find_browser

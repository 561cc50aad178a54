"""Makes the chart's README from the comments of its values (`## @section …`, `## @param name [type] …`)."""

from __future__ import annotations

import json
import re
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

VALUES = Path(__file__).resolve().parent.parent / "helm" / "convey" / "values.yaml"

HEAD = """# The Convey chart

<!-- Made by scripts/chart_page.py of values.yaml; edit the comments there, then run `make format`. -->

Installs [Convey](../../README.md), a gateway for server-side conversion events, on Kubernetes 1.31 or newer, with
Helm 3.8 or newer. The [documentation](../../docs) says more.

```sh
convey keys new                                       # a key, and its hash for sources below
kubectl create secret generic convey-tokens --from-literal=meta-token="$META_TOKEN"
helm install convey ./helm/convey --values values.yaml
helm test convey
```

```yaml
# values.yaml
sources:
  - {name: shop, keys: ["sha256:PASTE-YOURS-HERE"], default_region: US}
destinations:
  meta: {type: meta, pixel_id: "1234567890", secrets: {access_token: meta-token}}
secrets: {existingSecret: convey-tokens}
```

**Two shapes.** Without more, one pod of a StatefulSet keeps events in SQLite on its own volume: a *single node*, enough
for thousands of events a second, and away while the pod moves. With `externalRedis.host`, Deployments share a Redis or
Valkey; `mode: split` has pods that take events and pods that deliver them. Six sets of values to start from:
[ci](ci).

**Secrets** are never values: name Secrets that exist. They are mounted as files, and a replaced token is read within
seconds of the kubelet bringing it, without a restart. An External Secret or a Sealed Secret goes into `extraObjects`. A
Secret that exists already cannot be part of the pods' checksum: where a restart is wanted all the same (the password of
Redis), give `podAnnotations` of a reloader.

**Redis** is yours to run: `appendonly yes`, `maxmemory-policy noeviction`. Convey checks both at start. To try it:

```sh
kubectl create deployment redis --image=redis:7.4 -- redis-server --appendonly yes --maxmemory-policy noeviction
kubectl expose deployment redis --port=6379           # no volume: for a try only
```

**Names of platforms** are unknown to a NetworkPolicy; `networkPolicy.enabled` lets pods reach port 443 anywhere but
private ranges. With Cilium, allow the names instead:

```yaml
extraObjects:
  - apiVersion: cilium.io/v2
    kind: CiliumNetworkPolicy
    metadata: {name: convey-platforms}
    spec:
      endpointSelector: {matchLabels: {app.kubernetes.io/name: convey}}
      egress:
        - toFQDNs: [{matchName: graph.facebook.com}, {matchName: business-api.tiktok.com},
                    {matchName: api.pinterest.com}, {matchName: tr.snapchat.com}]
          toPorts: [{ports: [{port: "443", protocol: TCP}]}]
```

**Monitoring** is for the Prometheus operator: kube-prometheus-stack selects only objects with its release label, so set
`metrics.podMonitor.additionalLabels` and `metrics.prometheusRule.additionalLabels`, e.g. `{release: monitoring}`. Other
thresholds, by the name of an alert: `metrics.prometheusRule.overrides: {ConveyOutboxNearlyFull: {for: 15m}}`.

**Upgrades.** Versions N and N-1 work side by side on one store, so a rolling update needs no pause. What a major
version changes in the values will stand here.

**What was not verified**: the chart is rendered, linted, checked strictly against the API schemas of Kubernetes 1.31
and 1.37 and the published schemas of its custom resources, held to checkov's policies (`make policy`), and its
containers' commands are run outside a cluster, probed and ended as the kubelet would. It has not been installed on a
cluster, and no HPA, KEDA, NetworkPolicy or admission was seen at work.

## Values
"""

_LINE = re.compile(r"^## @(section|param) (.+)$", re.MULTILINE)
_PARAM = re.compile(r"(\S+) (?:\[\w+\] )?(.+)")


def chart_page() -> str:
    """helm/convey/README.md."""
    text = VALUES.read_text("utf-8")
    values = yaml.safe_load(text)
    lines = [HEAD.rstrip()]
    for kind, rest in _LINE.findall(text):
        if kind == "section":
            lines += ["", f"### {rest}", "", "| value | meaning | default |", "|---|---|---|"]
            continue
        found = _PARAM.fullmatch(rest)
        if found is None:
            raise ValueError(f"values.yaml: a parameter without a meaning: {rest}")
        lines.append(f"| `{found[1]}` | {found[2]} | `{_default(values, found[1])}` |")
    return "\n".join(lines) + "\n"


def _default(values: Any, name: str) -> str:
    return json.dumps(reduce(lambda tree, part: tree[part], name.split("."), values), ensure_ascii=False)

"""What every query of a board is about: the namespaces, jobs, destinations and sources that its reader chose."""

from __future__ import annotations

T = 'namespace=~"$namespace",job=~"$job"'
D = f'{T},destination=~"$destination"'
S = f'{T},source=~"$source"'
HTTP = f'route="/v1/events",method="POST",{T}'

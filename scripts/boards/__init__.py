"""What is on the dashboards: boards, panels, queries. `scripts.dashboards` makes Grafana's JSON of them."""

from __future__ import annotations

from scripts.boards.consent import CONSENT
from scripts.boards.dedup import DEDUP
from scripts.boards.edge import EDGE
from scripts.boards.lanes import LANES
from scripts.boards.saturation import SATURATION

BOARDS = (EDGE, LANES, CONSENT, DEDUP, SATURATION)

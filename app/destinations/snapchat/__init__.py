"""Snapchat Conversions API v3: events of a pixel (web and offline) or of an app.

Documented at developers.snap.com/marketing-api/Conversions-API, read 2026-11-20; the page
`docs/destinations/snapchat.md` has the field tables and says how sure each rule is. The token has no other place
than the query. Snap publishes no list of error codes and one status per request, so a refused batch is taken apart.
"""

from app.destinations.base import Destination
from app.destinations.snapchat.admission import admit, can_limit
from app.destinations.snapchat.exchange import build, read
from app.destinations.snapchat.payload import name_of, pixel_call
from app.destinations.snapchat.settings import SnapchatSettings
from app.destinations.snapchat.tables import LIMITS, PERSONAL_KEYS, STRONG_KEYS, VERSIONS

DESTINATION = Destination(
    name="snapchat",
    settings=SnapchatSettings,
    limits=LIMITS,
    needs=frozenset({*STRONG_KEYS.values(), *PERSONAL_KEYS.values()}),
    is_limited_supported=True,
    has_test_mode=lambda settings: settings.test,
    admit=admit,
    build=build,
    read=read,
    can_limit=can_limit,
    pixel_call=pixel_call,
    pixel_name=name_of,
    versions=VERSIONS,
)

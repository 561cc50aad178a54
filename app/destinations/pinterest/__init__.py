"""Pinterest API for Conversions, v5: events of an ad account.

Documented in pinterest/api-description (v5/openapi.json, 5.23.0) and at developers.pinterest.com, read 2026-11-20;
the page `docs/destinations/pinterest.md` has the field tables and says how sure each rule is. The schema is closed:
one unknown key, null or wrong type refuses the whole request. What passes it is judged event by event.
"""

from app.destinations.base import Destination
from app.destinations.pinterest.admission import admit, can_limit
from app.destinations.pinterest.exchange import build, read
from app.destinations.pinterest.payload import name_of, pixel_call
from app.destinations.pinterest.quality import QUALITY
from app.destinations.pinterest.settings import PinterestSettings
from app.destinations.pinterest.tables import KEPT_KEYS, LIMITS, PERSONAL_KEYS, VERSIONS

DESTINATION = Destination(
    name="pinterest",
    settings=PinterestSettings,
    limits=LIMITS,
    needs=frozenset({*KEPT_KEYS.values(), *PERSONAL_KEYS.values()}),
    is_limited_supported=True,
    has_test_mode=lambda settings: settings.test,
    admit=admit,
    build=build,
    read=read,
    can_limit=can_limit,
    pixel_call=pixel_call,
    pixel_name=name_of,
    versions=VERSIONS,
    quality=QUALITY,
)

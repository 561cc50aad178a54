"""Meta Conversions API: events of a pixel or dataset.

Documented at developers.facebook.com/docs/marketing-api/conversions-api, read 2026-11-20; the page
`docs/destinations/meta.md` has the field tables and says how sure each rule is. A batch is all or nothing at Meta,
so whatever is documented to fail is held back here, and a refused batch is taken apart by the worker.
"""

from app.destinations.base import Destination
from app.destinations.meta.admission import admit, can_limit
from app.destinations.meta.exchange import build, read
from app.destinations.meta.payload import name_of, pixel_call
from app.destinations.meta.quality import QUALITY
from app.destinations.meta.settings import MetaSettings
from app.destinations.meta.tables import LIMITS, PERSONAL_KEYS, STRONG_KEYS, VERSIONS

DESTINATION = Destination(
    name="meta",
    settings=MetaSettings,
    limits=LIMITS,
    needs=frozenset({*STRONG_KEYS.values(), *PERSONAL_KEYS.values()}),
    is_limited_supported=True,
    has_test_mode=lambda settings: settings.test_event_code is not None,
    admit=admit,
    build=build,
    read=read,
    can_limit=can_limit,
    pixel_call=pixel_call,
    pixel_name=name_of,
    takes_test_codes=True,
    versions=VERSIONS,
    quality=QUALITY,
)

"""TikTok Events API 2.0: one endpoint for web, app, offline and CRM events.

Documented at business-api.tiktok.com/portal/docs (id 1771101303285761), read 2026-11-20; the page
`docs/destinations/tiktok.md` has the field tables and says how sure each rule is. TikTok takes unknown keys in
silence and answers most failures with HTTP 200, so the keys are an allow-list and the body's code decides.
"""

from app.destinations.base import Destination
from app.destinations.tiktok.admission import admit, can_limit
from app.destinations.tiktok.exchange import build, read
from app.destinations.tiktok.payload import name_of, pixel_call
from app.destinations.tiktok.settings import TikTokSettings
from app.destinations.tiktok.tables import LIMITS, PERSONAL_FIELDS, VERSIONS
from app.model import Form

DESTINATION = Destination(
    name="tiktok",
    settings=TikTokSettings,
    limits=LIMITS,
    needs=frozenset({Form.EMAIL, Form.PHONE_E164, Form.EXTERNAL_ID, *PERSONAL_FIELDS.values()}),
    is_limited_supported=True,
    has_test_mode=lambda settings: settings.test_event_code is not None,
    admit=admit,
    build=build,
    read=read,
    can_limit=can_limit,
    pixel_call=pixel_call,
    pixel_name=lambda event, settings: name_of(event, settings, "web"),
    takes_test_codes=True,
    versions=VERSIONS,
)

"""The pretend Meta, TikTok, Pinterest, Snapchat and Google: an ASGI app that answers as the platforms document.

It is written from the platforms' own pages and shares no code with the adapters, so that a mistake in an
adapter cannot hide in it. `create_sandbox` gives the app; `app.sandbox.server` runs it over real HTTP.
"""

from app.sandbox.server import create_sandbox

__all__ = ["create_sandbox"]

"""Convey: a self-hosted gateway for server-side conversion events."""

from pathlib import Path

__version__ = "0.1.0"

_stamp = Path(__file__).with_name("revision.txt")
__revision__ = _stamp.read_text("utf-8").strip() if _stamp.exists() else "unknown"
"""The commit an image was built from: the image's build writes the file, a checkout has none."""

"""The way out to the platforms: a proxy, and whose certificates are believed."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Outbound:
    """How every request to a platform leaves. Without a proxy or authorities of its own, as the environment says."""

    proxy: str | None = field(default=None, repr=False)
    """URL of an HTTP proxy; may hold its password."""
    ca_file: Path | None = None
    """The only authorities to believe, in PEM."""

    def client_options(self) -> dict[str, Any]:
        """What an HTTP client is made with. Plain http is not for the proxy: it goes to loopback only.

        Raises: OSError when the file of authorities cannot be read.
        """
        options: dict[str, Any] = {}
        if self.proxy is not None:
            options["proxy"] = self.proxy
        if self.ca_file is not None:
            options["verify"] = ssl.create_default_context(cafile=str(self.ca_file))
        return options

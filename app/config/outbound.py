"""The settings of the way out to the platforms."""

from __future__ import annotations

import ssl
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from app.config.base import Section
from app.delivery.outbound import Outbound


class OutboundConfig(Section):
    """The way out to the platforms. What is absent is as `HTTPS_PROXY`, `NO_PROXY` and `SSL_CERT_FILE` say."""

    proxy: SecretStr | None = Field(
        None,
        description="HTTP proxy for every request to a platform: `http://proxy:3128`, `http://user:${SECRET}@proxy:3128`.",
    )
    ca_file: Path | None = Field(
        None, description="PEM file of the only authorities to believe, for a proxy that looks into TLS."
    )

    @field_validator("proxy")
    @classmethod
    def _is_a_proxy(cls, proxy: SecretStr | None) -> SecretStr | None:
        if proxy is not None:
            parts = urlsplit(proxy.get_secret_value())
            if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/") or parts.query:
                raise ValueError("must be http://host:port or https://host:port, with user:password@ where it asks")
        return proxy

    @field_validator("ca_file")
    @classmethod
    def _holds_authorities(cls, ca_file: Path | None) -> Path | None:
        if ca_file is not None:
            try:
                ssl.create_default_context(cafile=str(ca_file))
            except (OSError, ssl.SSLError) as error:
                raise ValueError("names no PEM file of certificates that can be read") from error
        return ca_file

    def outbound(self) -> Outbound:
        """The same as the sender takes it."""
        return Outbound(self.proxy.get_secret_value() if self.proxy is not None else None, self.ca_file)

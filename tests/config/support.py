from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any, Self

import pytest
import yaml
from pydantic import Field, SecretStr, field_validator, model_validator

from app.config import Settings, load
from app.destinations.base import Destination, DestinationSettings, Limits
from app.errors import ConfigError
from app.units import Duration

KEY = "sha256:" + "ab" * 32
OTHER_KEY = "sha256:" + "cd" * 32
SECRET = "EAAB-very-secret-token"


class AcmeSettings(DestinationSettings):
    """A platform made up for these tests."""

    base_url: str = Field("https://acme.example", description="Origin.")
    pixel_id: str = Field(pattern="^[0-9A-Z]{1,20}$", description="Pixel.")
    access_token: SecretStr = Field(description="Token.")
    fallback_token: SecretStr | None = Field(None, description="Second token.")
    max_age: Duration = Field(timedelta(days=7), gt=timedelta(0), description="Oldest event.")
    grace: Duration | None = Field(None, description="Grace.")
    event_names: dict[str, str] = Field({}, description="Names.")
    skip_events: tuple[str, ...] = Field((), description="Never sent.")
    since: date | None = Field(None, description="A day.")
    account: str | None = Field(None, description="A number.")

    @field_validator("account")
    @classmethod
    def _is_number(cls, value: str | None) -> str | None:
        return None if value is None else str(int(value))

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.account == "13":
            raise ValueError(f"no account {self.access_token.get_secret_value()}")
        return self


def _unused(*_: Any) -> Any:
    raise AssertionError("the configuration calls no adapter")


ACME = Destination(
    name="acme",
    settings=AcmeSettings,
    limits=Limits(max_items=500, max_bytes=1_000_000),
    needs=frozenset(),
    is_limited_supported=False,
    has_test_mode=_unused,
    admit=_unused,
    build=_unused,
    read=_unused,
)


def good() -> dict[str, Any]:
    return {
        "sources": [{"name": "shop", "keys": [KEY]}],
        "destinations": [{"name": "acme", "type": "acme", "pixel_id": "123", "access_token": SECRET}],
    }


class Loader:
    def __init__(self, folder: Path) -> None:
        self.file = folder / "convey.yaml"

    def text(self, text: str, **environ: str) -> Settings:
        self.file.write_text(text, "utf-8")
        return load(self.file, environ)

    def __call__(self, tree: dict[str, Any], **environ: str) -> Settings:
        return self.text(yaml.safe_dump(tree), **environ)

    def faults(self, tree: dict[str, Any] | str, **environ: str) -> dict[str, str]:
        with pytest.raises(ConfigError) as caught:
            if isinstance(tree, str):
                self.text(tree, **environ)
            else:
                self(tree, **environ)
        assert SECRET not in str(caught.value)
        told = {fault.pointer: fault.detail for fault in caught.value.faults}
        assert len(told) == len(caught.value.faults), "one fault per path"
        return told

"""What the tests of privacy share with those of the HTTP service."""

from tests.api.conftest import anyio_backend, clock, service, shared

__all__ = ["anyio_backend", "clock", "service", "shared"]

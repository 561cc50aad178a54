"""Convey: a self-hosted gateway for server-side conversion events."""

__version__ = "0.1.0"

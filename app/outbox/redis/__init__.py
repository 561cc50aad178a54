"""The engine for many processes: one Redis or Valkey server, a Sentinel group, or a cluster."""

from app.outbox.redis.store import RedisStore

__all__ = ["RedisStore"]

"""The store as a PostgreSQL database: many workers side by side, each holding the shards of its batch."""

from edgeloop.store.postgres.reader import PostgresReader
from edgeloop.store.postgres.store import PostgresStore

__all__ = ["PostgresReader", "PostgresStore"]

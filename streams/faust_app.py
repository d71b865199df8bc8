"""The Faust application around the join: its web pages' address, its agent for alerts, and what it publishes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import aiokafka
import faust
import msgspec
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from mode.threads import WorkerThread

from streams.worker import Alert, Join

__all__ = ["JoinWorker", "Publisher", "application"]

_log = logging.getLogger(__name__)

_UPDATE_BYTES = 2 << 20
_CONSUMER_STOPS_S = 5.0


class _LeftBehind(WorkerThread):
    """A thread that the process waits for a little, and then ends without."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.daemon = True

    def stop(self) -> None:
        self.is_stopped.wait(_CONSUMER_STOPS_S)


# A stop that overtakes a rebalance of the agents' group leaves Faust's consumer waiting for an answer that nobody gives
# any more: by default a minute, and then its thread keeps the process. It holds nothing of the join's.
AIOKafkaConsumerThread.shutdown_timeout = _CONSUMER_STOPS_S
AIOKafkaConsumerThread.Worker = _LeftBehind


class JoinWorker(faust.Worker):
    """Runs the application and its join; at the end the join's partitions go to others before anything else stops."""

    def __init__(self, app: faust.App, join: Join) -> None:
        super().__init__(app, join, quiet=True, loglevel="WARNING", override_logging=False)
        self.spinner = None
        self._join = join

    async def stop(self) -> None:
        """Stop the join, then what Faust has."""
        await self._join.stop()
        await super().stop()


def application(
    *,
    name: str,
    brokers: str,
    credentials: Any,
    host: str,
    port: int,
    datadir: str,
    alerts: str,
    on_alert: Callable[[Alert], None],
) -> tuple[faust.App, Callable[[Alert], Awaitable[Any]]]:
    """The Faust application around a `Join`, and how to publish an alert.

    Args:
        name: of the consumer group of its agents.
        brokers: ``host:port,host:port``.
        credentials: Faust's, or None.
        host: where its web pages are.
        port: the same.
        datadir: a folder of its own.
        alerts: the topic of alerts.
        on_alert: called with every alert, of any worker.
    """
    app = faust.App(
        name,
        broker=[f"kafka://{address}" for address in brokers.split(",")],
        broker_credentials=credentials,
        store="memory://",
        datadir=datadir,
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_bind=host,
        web_host=host,
        web_port=port,
        worker_redirect_stdouts=False,
    )
    topic = app.topic(alerts, value_type=bytes, value_serializer="raw", key_serializer="raw")

    @app.agent(topic, name="alerts")
    async def hear(stream: Any) -> None:
        async for raw in stream:
            try:
                on_alert(msgspec.json.decode(raw, type=Alert))
            except msgspec.DecodeError:
                _log.warning("a record of the alerts is none")

    async def publish(alert: Alert) -> None:
        await topic.send(key=alert.where.encode(), value=msgspec.json.encode(alert))

    return app, publish


class Publisher:
    """Sends records to one topic; durable when `send` returns."""

    def __init__(self, options: Mapping[str, Any], topic: str) -> None:
        """``options`` are aiokafka's for the connection."""
        self._options = options
        self._topic = topic
        self._producer: aiokafka.AIOKafkaProducer | None = None

    async def send(self, records: Sequence[tuple[str, bytes]]) -> None:
        """(key, body) of each; all of them are on every broker that must have them when this returns."""
        if self._producer is None:
            producer = aiokafka.AIOKafkaProducer(
                **self._options, acks="all", enable_idempotence=True, linger_ms=5, max_request_size=_UPDATE_BYTES
            )
            await producer.start()
            self._producer = producer
        sent = [await self._producer.send(self._topic, key=key.encode(), value=body) for key, body in records]
        await asyncio.gather(*sent)

    async def close(self) -> None:
        """Close the connection."""
        if self._producer is not None:
            await self._producer.stop()

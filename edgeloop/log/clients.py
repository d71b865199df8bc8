"""kafka-python's clients, made and given up without leaving anything behind.

A client that finds no broker when it is made leaves a thread and its sockets running (kafka-python 3.0.12), and a
producer that still holds records does not close; in a door that tries again and again these would pile up.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import BrokerResponseError, KafkaConnectionError, KafkaTimeoutError

from edgeloop.log.base import LogUnavailableError
from edgeloop.log.connection import kafka_python_options, nobody_answers, why_refused
from edgeloop.settings import KafkaSettings

MAX_MESSAGE_BYTES = 2 << 20
"""``max.message.bytes`` of every topic: a record with its key and frame."""
APPEND_S = 12.0
"""Within so long an append succeeds or fails: a door must answer."""
ANSWER_MS = 8_000
"""Within so long a broker answers anything else."""
FETCH_BYTES = 8 << 20
_CONNECT_MS = 5_000
_LINGER_MS = 2
_BATCH_BYTES = 256 << 10
_CLOSE_S = 2.0
_GIVE_UP_S = 2 * APPEND_S

# The clients repeat the brokers' addresses several times a second while none answers; our own errors tell it once.
logging.getLogger("kafka").setLevel(logging.CRITICAL)


def admin_client(settings: KafkaSettings) -> Any:
    """A client that looks at topics, and makes them.

    Raises:
        LogUnavailableError: no broker lets us in, with the reason.
    """
    return _made(KafkaAdminClient, settings, request_timeout_ms=ANSWER_MS)


def consumer(settings: KafkaSettings) -> Any:
    """A client that reads what is committed, and never goes anywhere by itself.

    Raises:
        LogUnavailableError: no broker lets us in, with the reason.
    """
    return _made(
        KafkaConsumer,
        settings,
        isolation_level="read_committed",
        auto_offset_reset="none",
        enable_auto_commit=False,
        group_id=None,
        allow_auto_create_topics=False,
        max_partition_fetch_bytes=FETCH_BYTES,
        request_timeout_ms=ANSWER_MS,
        metrics_enabled=False,
    )


def producer(settings: KafkaSettings) -> Any:
    """A client that appends, each record once and on all in-sync replicas.

    Raises:
        LogUnavailableError: no broker lets us in, with the reason.
    """
    return _made(
        KafkaProducer,
        settings,
        enable_idempotence=True,
        acks="all",
        compression_type="lz4",
        linger_ms=_LINGER_MS,
        batch_size=_BATCH_BYTES,
        max_request_size=MAX_MESSAGE_BYTES,
        delivery_timeout_ms=int(APPEND_S * 1_000) - 1_000,
        request_timeout_ms=ANSWER_MS - _CONNECT_MS,
        max_block_ms=_CONNECT_MS,
        allow_auto_create_topics=False,
        metrics_enabled=False,
    )


def _made(kind: Any, settings: KafkaSettings, **options: Any) -> Any:
    ours = kafka_python_options(settings)
    problem = nobody_answers(settings)
    if problem is not None:
        raise LogUnavailableError(problem)
    networks: list[Any] = []

    def network(**config: Any) -> Any:
        networks.append(kind.DEFAULT_CONFIG["kafka_client"](**config))
        return networks[-1]

    try:
        return kind(
            **ours,
            **options,
            bootstrap_timeout_ms=_CONNECT_MS,
            reconnect_backoff_max_ms=1_000,
            kafka_client=network,
        )
    except BaseException as error:
        for one in networks:
            with suppress(Exception):
                one.close()
        if isinstance(error, KafkaTimeoutError | KafkaConnectionError | BrokerResponseError | OSError):
            raise LogUnavailableError(why_refused(settings)) from error
        raise


def closed(client: Any) -> None:
    """Close a client that nothing waits for."""
    with suppress(Exception):  # it is given up, whatever it says
        client.close(timeout=_CLOSE_S) if isinstance(client, KafkaProducer) else client.close()


def given_up(producer: Any) -> None:
    """Close a producer that failed, beside everything else: it closes only when what it holds has expired."""
    threading.Thread(target=_give_up, args=(producer,), name="given-up producer", daemon=True).start()


def _give_up(producer: Any) -> None:
    with suppress(Exception):
        producer.close(timeout=_GIVE_UP_S)

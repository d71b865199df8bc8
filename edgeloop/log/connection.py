"""How each client library is told the way to the brokers: addresses, TLS, user and password, in one place."""

from __future__ import annotations

import socket
import ssl
from typing import Any

from edgeloop.errors import UsageError
from edgeloop.settings import KafkaSettings

_TRY_S = 2.0
_TRIED = 3
"""Addresses: each may take that long."""


def tls_context(kafka: KafkaSettings) -> ssl.SSLContext | None:
    """The TLS context that the settings ask for, or None without TLS.

    Raises:
        UsageError: a file of certificates or keys cannot be read.
    """
    if not kafka.security_protocol.endswith("SSL"):
        return None
    try:
        context = ssl.create_default_context(cafile=kafka.ca_file or None)
        if kafka.cert_file:
            context.load_cert_chain(kafka.cert_file, kafka.key_file or None)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(
            f"[kafka] ca_file, cert_file, key_file: {type(error).__name__}: {error}. They name files in PEM form"
        ) from error
    return context


def kafka_python_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Of kafka-python's producer, consumer and admin client."""
    return {
        "bootstrap_servers": [address.strip() for address in kafka.bootstrap.split(",")],
        "security_protocol": kafka.security_protocol,
        "ssl_context": tls_context(kafka),
        **_sasl(kafka),
    }


def aiokafka_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Of aiokafka's producer and consumer."""
    return {
        "bootstrap_servers": kafka.bootstrap,
        "security_protocol": kafka.security_protocol,
        "ssl_context": tls_context(kafka),
        **_sasl(kafka),
    }


def faust_credentials(kafka: KafkaSettings) -> Any:
    """Faust's credentials of a broker, or None where nothing is encrypted and nobody asks who we are."""
    import faust

    if "SASL" in kafka.security_protocol:
        return faust.SASLCredentials(
            username=kafka.sasl_username,
            password=kafka.sasl_password,
            mechanism=kafka.sasl_mechanism,
            ssl_context=tls_context(kafka),
        )
    context = tls_context(kafka)
    return None if context is None else faust.SSLCredentials(context)


def nobody_answers(kafka: KafkaSettings) -> str | None:
    """Why none of the addresses can be connected to; None where one can."""
    found = _first_open(kafka)
    if isinstance(found, str):
        return f"Kafka at {kafka.bootstrap}: {found}"
    found[1].close()
    return None


def why_refused(kafka: KafkaSettings) -> str:
    """Why a broker that can be connected to lets nobody in, found out by trying; never the password."""
    found = _first_open(kafka)
    if not isinstance(found, str):
        host, plain = found
        with plain:
            found = _why_refused(kafka, host, plain)
    return f"Kafka at {kafka.bootstrap}: {found}"


def _first_open(kafka: KafkaSettings) -> tuple[str, socket.socket] | str:
    """A host and a connection to it, or why there is none."""
    said = ""
    for address in kafka.bootstrap.split(",")[:_TRIED]:
        host, _, port = address.strip().rpartition(":")
        host = host.strip("[]")
        try:
            return host, socket.create_connection((host, int(port)), _TRY_S)
        except (ValueError, OverflowError):
            return f"[kafka] bootstrap: {address!r} is no host:port"
        except OSError as error:
            said = error.strerror or type(error).__name__
    return f"no broker answers there ({said}). Is it running, and the way to it open?"


def _why_refused(kafka: KafkaSettings, host: str, plain: socket.socket) -> str:
    context = tls_context(kafka)
    if context is not None:
        try:
            context.wrap_socket(plain, server_hostname=host).close()
        except ssl.SSLCertVerificationError as error:
            return (
                f"its certificate is not accepted ({error.verify_message}). Was it signed by [kafka] ca_file, for this "
                "name?"
            )
        except OSError as error:
            return (
                f"it answers, but not with TLS ({type(error).__name__}). Is [kafka] security_protocol that of this "
                "port?"
            )
    if "SASL" in kafka.security_protocol:
        return (
            "it answers, but does not let us in. Are [kafka] sasl_username, sasl_password and sasl_mechanism "
            f"({kafka.sasl_mechanism}) right?"
        )
    return (
        f"it answers, but not as a broker. Is [kafka] security_protocol ({kafka.security_protocol}) that of this port?"
    )


def _sasl(kafka: KafkaSettings) -> dict[str, Any]:
    if "SASL" not in kafka.security_protocol:
        return {}
    if not kafka.sasl_username or not kafka.sasl_password:
        raise UsageError(
            f"[kafka] security_protocol = {kafka.security_protocol} needs sasl_username and sasl_password "
            "(EDGELOOP_KAFKA_SASL_PASSWORD, or …_FILE)"
        )
    return {
        "sasl_mechanism": kafka.sasl_mechanism,
        "sasl_plain_username": kafka.sasl_username,
        "sasl_plain_password": kafka.sasl_password,
    }

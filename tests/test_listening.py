"""The socket that doors listen on, and what it hands to its connections."""

from __future__ import annotations

import socket

import pytest

from edgeloop.app.serve import listen


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_answers_do_not_wait_for_the_clients_acknowledgement(host: str) -> None:
    with listen(host, 0) as bound, socket.create_connection(bound.getsockname()[:2]):
        accepted, _ = bound.accept()
        with accepted:
            # asyncio looks at the protocol that a socket names, and sets the option where it is TCP.
            assert bound.proto == accepted.proto == socket.IPPROTO_TCP
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

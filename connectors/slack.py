"""Short messages to a channel: an incoming webhook of Slack (``{"text": …}``), or of what takes the same.

Whoever knows the webhook's address may write to the channel, so it is in no error and no log.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import httpx

from edgeloop.errors import EdgeloopError

MOST_TEXT = 3_000
"""Letters of a message; Slack cuts far longer ones."""
TRIES = 3
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 10.0
_TIMEOUT_S = 10.0
# It logs the address of every request.
logging.getLogger("httpx").setLevel(logging.WARNING)


class SlackError(EdgeloopError):
    """A message was not taken, or (``unsure``) it is not known whether it was."""

    def __init__(self, text: str, *, unsure: bool = False) -> None:
        super().__init__(text)
        self.unsure = unsure


def escaped(text: str) -> str:
    """Text that Slack shows as it is: the three letters that begin its markup (mentions, links) are entities."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def send(webhook: str, text: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Post a message; a few tries with a growing pause where the other side is busy or not there.

    Args:
        webhook: the address.
        text: plain text, escaped here.
        sleep: waits for so many seconds.

    Raises:
        SlackError: it was not taken, or no answer came.
    """
    body = {"text": escaped(text if len(text) <= MOST_TEXT else text[: MOST_TEXT - 1] + "…")}
    problem = ""
    with httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False) as client:
        for attempt in range(TRIES):
            wait = _FIRST_WAIT_S * 2**attempt
            try:
                answer = client.post(webhook, json=body)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError):  # nothing was sent
                problem = "the Slack webhook's server cannot be reached: is [slack] webhook right, is the network up?"
            except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
                raise SlackError("[slack] webhook is no address of the form https://…") from error
            except httpx.HTTPError as error:  # it may have been taken
                raise SlackError("the Slack webhook did not answer", unsure=True) from error
            else:
                if answer.is_success:
                    return
                problem = f"the Slack webhook answered {answer.status_code}"
                if answer.status_code != 429 and answer.status_code < 500:
                    raise SlackError(f"{problem}: was it taken away, or is [slack] webhook wrong?")
                wait = max(wait, _asked_wait_s(answer))
            if attempt + 1 < TRIES and wait <= _LONGEST_WAIT_S:
                sleep(wait)
            elif wait > _LONGEST_WAIT_S:
                break
    raise SlackError(problem)


def _asked_wait_s(answer: httpx.Response) -> float:
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isdecimal() and len(text) < 9 else 0.0

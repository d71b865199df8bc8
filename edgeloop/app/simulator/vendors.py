"""What the vendors send: signed Typeform deliveries, and Mixpanel's raw export by month with overlapping days."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from connectors import typeform
from edgeloop.app.simulator.behaviour import CSAT, NPS, WHY, Lived
from edgeloop.app.simulator.cast import AGENT_FORM, CUSTOMER_FORM, END_US, START_US, local_us
from edgeloop.app.simulator.devices import Sending, courier_id, customer_id
from edgeloop.app.simulator.personal_data import Remarks
from edgeloop.app.simulator.world import World
from edgeloop.clock import DAY_US, HOUR_US, SECOND_US, iso

_PARTIAL = 0.08
_WRITES = 0.4
_PERSONAL = 0.12
_TWICE = 0.02
_AGENT_ANSWERS = 0.55
_EXPORTS = (
    ("2026-01-01 00:00", "2026-02-01 00:00"),
    ("2026-01-27 00:00", "2026-03-03 00:00"),
    ("2026-02-24 00:00", "2026-04-01 00:00"),
)
_encode = msgspec.json.Encoder().encode


class Vendors:
    """The vendors' deliveries of one simulated world; ``remarks.planted`` fills while they are made."""

    def __init__(self, world: World, lived: Lived, secret: str) -> None:
        self._world = world
        self._lived = lived
        self._secret = secret
        self._rng = random.Random(f"vendors {world.seed}")
        self.remarks = Remarks(random.Random(f"remarks {world.seed}"))

    def typeform(self) -> Iterator[Sending]:
        """Customers' and delivery agents' responses, each signed."""
        world, answers, u = self._world, self._lived.answers, self._world.u
        rows = zip(
            answers.delivery.tolist(), answers.at.tolist(), answers.csat.tolist(), answers.nps.tolist(), strict=True
        )
        for delivery, at, csat, nps in rows:
            if at >= END_US:  # answered after the last day of the simulation
                continue
            cid = customer_id(int(world.customer[delivery]))
            fields = [_number(CSAT, "rating", csat), _number(NPS, "nps", nps)]
            if u["writes"][delivery] < _WRITES:
                fields.append(_text(self.remarks.customer(csat, cid, bool(u["personal"][delivery] < _PERSONAL))))
            hidden = {"cid": cid, "delivery_id": f"D-{delivery:07d}"}
            token = f"{self._rng.getrandbits(80):020x}"
            if u["partial"][delivery] < _PARTIAL:
                partial = self._response(CUSTOMER_FORM, token, at - 90 * SECOND_US, None, hidden, fields[:1])
                yield self._signed(at - 60 * SECOND_US, partial)
            yield from self._twice(at, self._response(CUSTOMER_FORM, token, at - 90 * SECOND_US, at, hidden, fields))
        for courier, mood in enumerate(world.courier_mood.tolist()):
            for week in range(int((END_US - START_US) / (7 * DAY_US))):
                if self._rng.random() < _AGENT_ANSWERS:
                    at = START_US + (week * 7 + 4) * DAY_US + self._rng.randrange(14 * 3600, 20 * 3600) * SECOND_US
                    rating = min(5, max(1, round(3.6 + mood + self._rng.gauss(0, 0.7))))
                    fields = [_number("week", "rating", rating), _text(self.remarks.agent())]
                    token = f"{self._rng.getrandbits(80):020x}"
                    hidden = {"courier": courier_id(courier)}
                    response = self._response(AGENT_FORM, token, at - 60 * SECOND_US, at, hidden, fields)
                    yield from self._twice(at, response)

    def mixpanel(self, folder: Path) -> list[tuple[int, Path]]:
        """The monthly export files: (when the export was pulled, file)."""
        rows: list[tuple[int, bytes]] = []
        for events in self._lived.events:
            values = [None] * len(events.at) if events.value is None else events.value.tolist()
            for delivery, at, value in zip(events.delivery.tolist(), events.at.tolist(), values, strict=True):
                rows.append((at, _encode(self._exported(events.name, delivery, at, value))))
        rows.sort()
        files = []
        for number, (first, last) in enumerate(_EXPORTS, start=1):
            begin, end = local_us(first), local_us(last)
            path = folder / f"export-{number}.ndjson"
            path.write_bytes(b"".join(line + b"\n" for at, line in rows if begin <= at < end))
            files.append((end + HOUR_US // 2, path))
        return files

    def _exported(self, name: str, delivery: int, at: int, value: float | None) -> dict[str, Any]:
        cid = customer_id(int(self._world.customer[delivery]))
        properties: dict[str, Any] = {
            "time": at // SECOND_US,
            "distinct_id": cid,
            "$insert_id": f"{self._rng.getrandbits(96):024x}",
            "$user_id": cid,
            "$city": "Hamburg",
            "mp_lib": "android",
            "delivery_id": f"D-{delivery:07d}",
        }
        if value is not None:
            properties |= {"value": value, "currency": "EUR"}
        if name == "complaint" and self._rng.random() < 0.1:
            properties |= {"$email": self.remarks.email(), "callback": f"please call {self.remarks.phone()}"}
        return {"event": name, "properties": properties}

    def _response(
        self, form: str, token: str, landed_us: int, submitted_us: int | None, hidden: dict[str, str],
        answers: list[dict[str, Any]],
    ) -> dict[str, Any]:  # fmt: skip
        response: dict[str, Any] = {"form_id": form, "token": token, "landed_at": iso(landed_us)}
        if submitted_us is not None:
            response["submitted_at"] = iso(submitted_us)
        response |= {
            "hidden": hidden,
            "definition": {
                "id": form,
                "title": "How was your delivery?",
                "fields": [
                    {"id": answer["field"]["id"], "type": "rating", "properties": {"steps": 5}}
                    for answer in answers
                    if answer["field"]["type"] == "rating"
                ],
            },
            "answers": answers,
        }
        kind = "form_response" if submitted_us is not None else "form_response_partial"
        return {"event_id": f"{self._rng.getrandbits(104):026x}", "event_type": kind, "form_response": response}

    def _signed(self, at_us: int, payload: dict[str, Any]) -> Sending:
        body = _encode(payload)
        return Sending(at_us, "/hooks/typeform", body, {typeform.SIGNATURE_HEADER: typeform.sign(body, self._secret)})

    def _twice(self, at_us: int, payload: dict[str, Any]) -> Iterator[Sending]:
        """A delivery, and now and then the same once more (our answer got lost)."""
        sending = self._signed(at_us, payload)
        yield sending
        if self._rng.random() < _TWICE:
            yield Sending(at_us + 150 * SECOND_US, sending.path, sending.body, sending.headers)


def _number(ref: str, kind: str, number: int) -> dict[str, Any]:
    return {"type": "number", "number": number, "field": {"id": f"id-{ref}", "type": kind, "ref": ref}}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text, "field": {"id": f"id-{WHY}", "type": "long_text", "ref": WHY}}

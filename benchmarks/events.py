"""Writes the load of the benchmarks: door-form events as NDJSON, in order of time, every contract column filled.

Two thirds are exposures; of the rest four are engagement for each answer. Ids are random UUIDs.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

SUBJECTS = 200_000
COURIERS = 2_000
DAYS = 30
START = datetime(2026, 1, 1, tzinfo=UTC)
_MODELS = (("eta-promise", "app_card"), ("slot-offer", "slot_picker"), ("rebooking", "push"), ("promo", "locker"))
_LINES = 10_000


def lines(
    events: int, subjects: int = SUBJECTS, *, seed: int = 1, days: float = DAYS, first_day: float = 0.0, hot: int = 0
) -> Iterator[bytes]:
    """``events`` events of ``subjects`` customers over ``days``, as lines of JSON; about ``hot`` are of one of them."""
    start = START + timedelta(days=first_day)
    rng = random.Random(seed)
    bits, pick, uniform = rng.getrandbits, rng.randrange, rng.random
    step = days * 86_400_000_000 / events

    def uuid() -> str:
        text = f"{bits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    for number in range(events):
        at = (start + timedelta(microseconds=round(number * step))).isoformat(timespec="milliseconds")[:23] + "Z"
        who = 0 if hot and uniform() < hot / events else pick(subjects)
        chance = uniform()
        delivery = f"D-{who:06d}-{number * 10 // events}"
        if chance < 2 / 3:
            model, touchpoint = _MODELS[pick(4)]
            canary = who % 2
            yield (
                f'{{"type":"exposure","exposure_id":"{uuid()}","occurred_at":"{at}","customer_id":"C-{who:07d}",'
                f'"touchpoint":"{touchpoint}","model_id":"{model}","model_version":"{"2.0" if canary else "1.4"}",'
                f'"arm":"{"canary" if canary else "stable"}","rollout_id":"{model}-2.0",'
                f'"latency_ms":{40 + 200 * uniform():.1f},"fallback":{"true" if uniform() < 0.01 else "false"},'
                f'"features":8,"placement":"edge","site":"hub-{who % 40:02d}","device":"handheld-m",'
                f'"zone":"zone-{who % 16}","segment":"{"new" if who % 5 == 0 else "regular"}",'
                f'"delivery_id":"{delivery}","courier_id":"K-{who % COURIERS:04d}","profile_version":"p-{who % 90}",'
                f'"energy_mj":{3 + 5 * uniform():.2f}}}\n'
            ).encode()
        elif chance < 2 / 3 + 4 / 15:
            yield (
                f'{{"type":"engagement","event_id":"{uuid()}","occurred_at":"{at}","customer_id":"C-{who:07d}",'
                f'"name":"order_placed","source":"app","value":{10 + 50 * uniform():.2f},"currency":"EUR",'
                f'"delivery_id":"{delivery}"}}\n'
            ).encode()
        else:
            yield (
                f'{{"type":"response","response_id":"{uuid()}","occurred_at":"{at}","customer_id":"C-{who:07d}",'
                f'"respondent":"customer","survey_id":"delivery","source":"app","delivery_id":"{delivery}",'
                f'"language":"de","answers":[{{"question":"csat","kind":"csat","value":{1 + pick(5)},"low":1,'
                f'"high":5}}]}}\n'
            ).encode()


def write(
    path: Path,
    events: int,
    subjects: int = SUBJECTS,
    *,
    seed: int = 1,
    days: float = DAYS,
    first_day: float = 0.0,
    hot: int = 0,
) -> None:
    """Write them to a file."""
    with path.open("wb") as file:
        block: list[bytes] = []
        for line in lines(events, subjects, seed=seed, days=days, first_day=first_day, hot=hot):
            block.append(line)
            if len(block) == _LINES:
                file.write(b"".join(block))
                block.clear()
        file.write(b"".join(block))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--subjects", type=int, default=SUBJECTS)
    arguments = parser.parse_args()
    write(arguments.path, arguments.events, arguments.subjects)

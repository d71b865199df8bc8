"""The doctor's check of amounts: which came as text that could not be read, and in what is no currency."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from connectors import is_currency
from edgeloop.app.finding import Finding, Patient

_LATEST_ROWS = 100_000
_MOST_NAMED = 5


def check_amounts(patient: Patient) -> Iterator[Finding]:
    """Amounts are numbers, and currencies are ISO 4217's, in the latest events of each kind."""
    if patient.store is None:
        return
    unread: Counter[str] = Counter()
    for table in ("engagement", "responses"):
        latest = f"SELECT source, extra FROM {table} ORDER BY rowid DESC LIMIT {_LATEST_ROWS}"
        rows = f"SELECT source, extra FROM ({latest}) AS latest WHERE CAST(extra AS TEXT) LIKE '%\"not_read\"%'"
        for source, extra in patient.store.query(rows)[1]:
            kept = msgspec.json.decode(extra) if isinstance(extra, str | bytes) else extra
            names = kept.get("not_read") if isinstance(kept, dict) else None
            unread.update(f"{source} {name}" for name in names or () if isinstance(name, str))
    latest = f"SELECT currency FROM engagement ORDER BY rowid DESC LIMIT {_LATEST_ROWS}"
    rows = f"SELECT currency, count(*) FROM ({latest}) AS latest WHERE currency IS NOT NULL GROUP BY currency"
    unknown = Counter({code: n for code, n in patient.store.query(rows)[1] if not is_currency(code)})
    if unread:
        what = f"text that is no number or no currency: {_named(unread)}"
        do = "send numbers (31.5) and ISO 4217 codes (EUR), or name other properties under `[mixpanel]`"
        yield Finding("warn", "amounts", f"{what}; kept in `extra`", do)
    if unknown:
        do = "send codes such as EUR: amounts in different currencies are never added up"
        yield Finding("warn", "amounts", f"currencies outside ISO 4217: {_named(unknown)}", do)
    if not unread and not unknown:
        yield Finding("ok", "amounts", "numbers, in currencies of ISO 4217")


def _named(counted: Counter[str]) -> str:
    named = ", ".join(
        f"{name} {n:,} times" if n > 1 else f"{name} once" for name, n in counted.most_common(_MOST_NAMED)
    )
    return named + (" …" if len(counted) > _MOST_NAMED else "")

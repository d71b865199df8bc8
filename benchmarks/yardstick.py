"""The least that has to be done: decode each record of a log and insert its row into a bare table."""

from __future__ import annotations

import sys
from pathlib import Path

from edgeloop.events import STORED_TOPICS, TYPES_OF_TOPICS, decode, stamped
from edgeloop.log.local import LocalLog
from edgeloop.sqlite import connect, transaction
from edgeloop.store.schema import EVENT_TABLES, INSERT_COLUMNS, row

AT_ONCE = 50_000


def main(log_path: Path, bare: Path) -> None:
    """From log to bare tables."""
    log = LocalLog(log_path)
    db = connect(bare, synchronous="NORMAL")
    inserts = {}
    for kind, table in EVENT_TABLES.items():
        columns = INSERT_COLUMNS[table.name]
        db.execute(f"CREATE TABLE {table.name}({', '.join(columns)})")
        inserts[kind] = f"INSERT INTO {table.name} VALUES ({', '.join('?' * len(columns))})"
    for (topic, partition), end in log.end_offsets().items():
        if topic not in STORED_TOPICS:
            continue
        kind = TYPES_OF_TOPICS[topic]
        for offset in range(0, end, AT_ONCE):
            events = [decode(value) for value in log.read(topic, partition, offset, AT_ONCE, 1 << 40).values]
            with transaction(db):
                db.executemany(inserts[kind], [row(kind, event, stamped(event)) for event in events])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

"""Writes tests/golden anew: the page, the pack and the JSON of the months of the tests, as the code renders them now.

Read the diff afterwards: it is what a reader of a report will see change.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests import goldens


def main() -> None:
    goldens.FOLDER.mkdir(exist_ok=True)
    made: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        for i, name in enumerate(goldens.MONTHS):
            made |= goldens.month(name, Path(folder) / str(i))
    for path in goldens.FOLDER.iterdir():
        if path.name not in made:
            path.unlink()
    for name, content in made.items():
        (goldens.FOLDER / name).write_bytes(content)


if __name__ == "__main__":
    main()

"""``edgeloop report verify``: is a published report the one that its freeze gives, and is the freeze what it was?"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from edgeloop import __version__
from edgeloop.app.finding import Finding
from edgeloop.app.frozen import all_freezes, checked_file
from edgeloop.app.monthly import render_freeze
from edgeloop.app.publish import Rendered
from edgeloop.app.report_files import FEEDBACK, JSON, PAGE, TABLES, WORKSHOP, file_of
from edgeloop.errors import EdgeloopError
from edgeloop.home import Home
from edgeloop.store.freeze import MANIFEST, Freeze, FreezeError

_HEAD_BYTES = 8_192
_FREEZE = re.compile(rb'<meta name="edgeloop-freeze" content="([^"<>]{1,100})">')
_GENERATOR = re.compile(rb'<meta name="generator" content="Edgeloop ([^"<>]{1,100})">')
_BESIDE = {"json": JSON, "csv": TABLES, "feedback": FEEDBACK, "workshop": WORKSHOP}
_RESTORE = "restore it from your backup"


def verify(home: Home, page: Path, *, beside: bool) -> list[Finding]:
    """One line per check; what a `fail` says needs a person.

    Args:
        home: where the freezes are.
        page: the HTML file, wherever it lies.
        beside: whether the other files of that month in the home are compared too.

    Raises:
        EdgeloopError: there is no such report, or its freeze is not in this home: nothing can be compared.
    """
    home.require()
    try:
        content = page.read_bytes()
    except OSError as error:
        raise EdgeloopError(f"{page} cannot be read: {error.strerror}. `edgeloop report` writes one") from error
    named = _FREEZE.search(content[:_HEAD_BYTES])
    if named is None:
        raise EdgeloopError(
            f"{page} does not say which freeze it was made from: it is no report of Edgeloop, or one of a version that "
            "did not say so"
        )
    freeze = _freeze_of(home, named[1].decode("ascii", "replace"), page)
    found = [_version(content), _manifest(freeze), *_tables(freeze)]
    if all(finding.state != "fail" for finding in found):
        made = render_freeze(freeze)
        found.append(_same("report", page, content, made.files[PAGE]))
        if beside:
            found.extend(_beside(home, made))
    return found


def _freeze_of(home: Home, freeze_id: str, page: Path) -> Freeze:
    for freeze in all_freezes(home):
        if freeze.manifest.freeze_id == freeze_id:
            return freeze
    raise EdgeloopError(
        f"{page} was made from the freeze {freeze_id}, which is not in {home.freezes}: the next look replaces a "
        "provisional one, a final one is in your backup"
    )


def _version(content: bytes) -> Finding:
    named = _GENERATOR.search(content[:_HEAD_BYTES])
    version = named[1].decode("ascii", "replace") if named else "unknown"
    if version == __version__:
        return Finding("ok", "code", f"made by Edgeloop {version}, as this one is")
    return Finding(
        "warn", "code", f"made by Edgeloop {version}, and this is {__version__}, which may write another page",
        f"compare with the version that made it: `pip install edgeloop=={version}` into an environment of its own",
    )  # fmt: skip


def _manifest(freeze: Freeze) -> Finding:
    """Whether the freeze's id is the hash of what its manifest says; of the file as it is, so older ones pass too."""
    said = msgspec.json.decode((freeze.path / MANIFEST).read_bytes())
    digest = hashlib.sha256(msgspec.json.encode({**said, "freeze_id": ""}, order="sorted")).hexdigest()
    manifest = freeze.manifest
    what = f"{manifest.freeze_id}, {'provisional' if manifest.provisional else 'final'}, by {manifest.code_version}"
    if manifest.freeze_id == f"{manifest.month}-{digest[:12]}":
        return Finding("ok", "freeze", what)
    return Finding("fail", "freeze", f"{what}: {MANIFEST} was changed, its id is not the hash of it", _RESTORE)


def _tables(freeze: Freeze) -> Iterator[Finding]:
    wrong = []
    for table in freeze.manifest.tables:
        try:
            checked_file(freeze, table)
        except FreezeError as error:
            wrong.append(Finding("fail", "tables", str(error), _RESTORE))
    yield from wrong
    if not wrong:
        yield Finding("ok", "tables", f"{len(freeze.manifest.tables)} files are those that {MANIFEST} describes")


def _beside(home: Home, made: Rendered) -> Iterator[Finding]:
    for check, ending in _BESIDE.items():
        path = file_of(home, made.month, ending)
        if path.exists():
            yield _same(check, path, path.read_bytes(), made.files[ending])
        else:
            yield Finding("warn", check, f"{path} is not there", f"`edgeloop report --month {made.month}` writes it")


def _same(check: str, path: Path, content: bytes, made: bytes) -> Finding:
    if content == made:
        return Finding("ok", check, f"{path.name} is byte for byte what the freeze gives")
    lines, wanted = content.split(b"\n"), made.split(b"\n")
    first = next(
        (i for i, (a, b) in enumerate(zip(lines, wanted, strict=False), 1) if a != b), min(len(lines), len(wanted))
    )
    where = f", first in line {first}" if path.suffix != ".zip" else ""
    return Finding(
        "fail", check, f"{path.name} is not what the freeze gives{where}",
        "somebody edited it, or another version made it: `edgeloop report` writes it anew",
    )  # fmt: skip

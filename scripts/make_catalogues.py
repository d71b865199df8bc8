"""Writes ``reports/locales/*.po`` anew from the texts in the code and the templates; translations that fit are kept.

``python -m scripts.make_catalogues``, after a text of the report was added, changed or removed. Messages are the
literal first arguments of ``t`` and ``tn`` (`reports.language`), in Python and in Jinja templates.
"""

from __future__ import annotations

import ast
import io
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po
from jinja2 import Environment, nodes

from reports.language import LANGUAGES, SOURCE

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "reports" / "locales"
CODE = ("reports", "edgeloop")
TEMPLATES = ("reports", "edgeloop")
LANGUAGE_MODULE = "reports.language"
HEADER = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n"Language: {language}\\n"\n\n'

Message = str | tuple[str, str]
"""A text, or one in the singular and the plural."""


class NotLiteralError(ValueError):
    """A text that no catalogue can hold, because it is not written down where it is used."""


def messages() -> dict[Message, list[str]]:
    """Every message → the files that use it.

    Raises:
        NotLiteralError: named with its place.
    """
    found: dict[Message, list[str]] = {}
    for path, message in (*_of_code(), *_of_templates()):
        files = found.setdefault(message, [])
        if path not in files:
            files.append(path)
    plurals = {message[0] for message in found if isinstance(message, tuple)}
    both = sorted(plurals & {message for message in found if isinstance(message, str)})
    if both:
        raise NotLiteralError(f"{both[0]!r} is used with `t` and with `tn`: one catalogue entry cannot be both")
    return found


def catalogue(language: str) -> str:
    """The catalogue of a language as it should be, with the translations that the file has."""
    known = _known(language)
    made = Catalog(locale=language, fuzzy=False)
    for message, files in messages().items():
        key = message if isinstance(message, tuple) else (message,)
        made.add(message, string=known.get(key, ""), locations=[(name, None) for name in sorted(files)])  # type: ignore[misc]
    text = io.BytesIO()
    write_po(text, made, omit_header=True, sort_output=True, include_lineno=False, width=110)
    return HEADER.format(language=language) + text.getvalue().decode().lstrip("\n")


def main() -> None:
    """Write them all."""
    for language in LANGUAGES:
        if language != SOURCE:
            (FOLDER / f"{language}.po").write_text(catalogue(language), encoding="utf-8", newline="\n")


def _known(language: str) -> dict[tuple[str, ...], str | tuple[str, ...]]:
    path = FOLDER / f"{language}.po"
    if not path.exists():
        return {}
    with path.open("rb") as file:
        read = read_po(file, locale=language)
    known: dict[tuple[str, ...], str | tuple[str, ...]] = {}
    for message in read:
        key = message.id if isinstance(message.id, tuple) else (message.id,)
        told = message.string
        known[tuple(map(str, key))] = tuple(map(str, told)) if isinstance(told, list | tuple) else told or ""
    return known


def _of_code() -> Iterator[tuple[str, Message]]:
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            names = _imported(tree)
            for node in ast.walk(tree) if names else ():
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                    place = f"{path.relative_to(ROOT).as_posix()}:{node.lineno}"
                    yield place.rpartition(":")[0], _message(node.func.id, [_text(a) for a in node.args[:2]], place)


def _imported(tree: ast.Module) -> set[str]:
    """Which of ``t`` and ``tn`` a module takes from the language module."""
    return {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == LANGUAGE_MODULE
        for alias in node.names
        if alias.name in ("t", "tn")
    }


def _text(argument: ast.expr) -> str | None:
    return argument.value if isinstance(argument, ast.Constant) and isinstance(argument.value, str) else None


def _of_templates() -> Iterator[tuple[str, Message]]:
    environment = Environment(autoescape=True)
    for folder in TEMPLATES:
        for path in sorted((ROOT / folder).rglob("*.j2")):
            tree = environment.parse(path.read_text(encoding="utf-8"))
            for call in tree.find_all(nodes.Call):
                if isinstance(call.node, nodes.Name) and call.node.name in ("t", "tn"):
                    place = f"{path.relative_to(ROOT).as_posix()}:{call.lineno}"
                    texts = [a.value if isinstance(a, nodes.Const) and isinstance(a.value, str) else None
                             for a in call.args[:2]]  # fmt: skip
                    yield place.rpartition(":")[0], _message(call.node.name, texts, place)


def _message(name: str, texts: list[str | None], place: str) -> Message:
    wanted = texts[: 2 if name == "tn" else 1]
    if not wanted or any(text is None for text in wanted):
        raise NotLiteralError(f"{place}: {name}(…) needs its text written out there, for catalogues hold texts only")
    told = [str(text) for text in wanted]
    return (told[0], told[1]) if name == "tn" else told[0]


if __name__ == "__main__":
    main()

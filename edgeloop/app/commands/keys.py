"""Commands for the keys of senders and people, and the settings."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any

import msgspec
from cyclopts import App, Parameter

from edgeloop.app.commands.base import DONE, Common, Flag, app
from edgeloop.app.output import print_json, print_rows, say
from edgeloop.clock import SystemClock, iso
from edgeloop.errors import UsageError
from edgeloop.events import EVENT_TYPES
from edgeloop.settings import SECRETS, Settings, settings_file

keys_app = App(name="keys", help="Keys that senders of events show at the door, and people to sign in.")
app.command(keys_app)


@app.command(name="config")
def config_command(*, common: Common = Common()) -> int:
    """Print every setting with its value in force; secrets are not shown."""
    home, settings = common.open()
    rows: list[tuple[object, ...]] = []
    for name in settings.__struct_fields__:
        value = getattr(settings, name)
        if name == "metrics":
            rows.extend(_metrics(value))
        elif name == "roles":
            rows.extend(
                (f"roles.{role}", key, _shown("roles", key, getattr(held, key)))
                for role, held in value.items()
                for key in held.__struct_fields__
            )
        elif name == "decisions":
            rows.extend(_decisions(settings))
        elif isinstance(value, msgspec.Struct):
            rows.extend((name, key, _shown(name, key, getattr(value, key))) for key in value.__struct_fields__)
        else:
            rows.append(("", name, _shown("", name, value)))
    print_rows(("section", "key", "value"), rows, as_json=common.json)
    say(f"read from {settings_file(home.path) or 'defaults and the environment; there is no edgeloop.toml'}")
    return DONE


def _metrics(sections: dict[str, dict[str, Any]]) -> list[tuple[object, ...]]:
    """Every metric in force, with what it says beyond the defaults."""
    from edgeloop.metrics import MetricSettings, metrics_in_force

    rows: list[tuple[object, ...]] = []
    for metric, found in metrics_in_force(sections).items():
        default = msgspec.to_builtins(MetricSettings())
        said = {key: value for key, value in msgspec.to_builtins(found).items() if value != default[key]}
        rows.extend((f"metrics.{metric}", key, str(value)) for key, value in said.items())
    return rows


def _decisions(settings: Settings) -> list[tuple[object, ...]]:
    """Who answers for each kind of decision, with the defaults."""
    from edgeloop.roles import KINDS, responsibility

    table = responsibility(settings.roles, settings.decisions)
    return [
        (f"decisions.{kind}", letter, _shown("", letter, getattr(table.duty(verdict), letter)))
        for kind, verdict in KINDS.items()
        for letter in table.duty(verdict).__struct_fields__
    ]


def _shown(section: str, key: str, value: object) -> str:
    if (section, key) in SECRETS or (section == "roles" and key.endswith("address")):
        return "(set)" if value else "(not set)"
    if (section, key) == ("mail", "to") and isinstance(value, tuple):  # people's addresses, too
        return f"({len(value)} set)" if value else "(not set)"
    return ", ".join(value) if isinstance(value, tuple) else str(value)


@keys_app.command(name="create")
def keys_create(
    *,
    name: Annotated[str | None, Parameter(help="Who will use it; of a sender `edge` by default.")] = None,
    role: Annotated[str | None, Parameter(help="For a person who holds this role, such as devops_lead.")] = None,
    person: Annotated[bool, Flag, Parameter(help="For a person without a role.", show_default=False)] = False,
    types: Annotated[str | None, Parameter(help="A sender's: only these, such as exposure,telemetry.")] = None,
    until: Annotated[str | None, Parameter(help="A sender's last day, in UTC: 2026-12-31.")] = None,
    rate: Annotated[str | None, Parameter(help="A sender's events a second at most: 200/s.")] = None,
    common: Common = Common(),
) -> int:
    """Make a key, shown this once: for a sender of events, or (--role, --person) for a person to sign in."""
    from edgeloop.app import api_keys
    from edgeloop.roles import ROLES

    home, _ = common.open()
    home.refuse_simulated()
    if role is not None and role not in ROLES:
        raise UsageError(f"{role!r} is no role; there are {', '.join(ROLES)}")
    if role is None and not person:
        limits = _types(types), _until(until), _rate(rate)
        key = api_keys.create(home, name or "edge", types=limits[0], until=limits[1], rate=limits[2])
        how = "Senders show it as `Authorization: Bearer KEY`"
    elif name is None:
        raise UsageError("a person's key has a name, which is kept with what they answer: --name ana")
    elif types or until or rate:
        raise UsageError("--types, --until and --rate are of senders' keys: a person's key sends nothing")
    else:
        key = api_keys.create(home, name, kind="person", role=role or "")
        how = "It signs in on the page /actions of `edgeloop serve` and `edgeloop up`, and sends no events"
    print_json([{"name": name or "edge", "key": key}]) if common.json else print(key)
    say(f"keep it now: only a hash of it is stored. {how}")
    return DONE


@keys_app.command(name="init")
def keys_init(*, common: Common = Common()) -> int:
    """Make the keys of a new home beside a Kafka that holds events already, which no door took.

    A door makes them by itself, unless a producer of your own filled the topics before: only you know that no other
    home has the keys that those were made with.
    """
    from edgeloop.log.opening import make_keys

    home, settings = common.open()
    home.refuse_simulated()
    made = make_keys(home, settings)
    print_json([{"keys": str(home.keys), "made": made}]) if common.json else print(home.keys)
    say("made: back them up" if made else "they are there already, and stay as they are")
    return DONE


@keys_app.command(name="list")
def keys_list(*, common: Common = Common()) -> int:
    """List the keys by name; the keys themselves are not kept."""
    from edgeloop.app import api_keys

    home, _ = common.open()
    rows = [
        (k.name, k.id, k.created, k.kind, k.role, ",".join(k.types), k.until, f"{k.rate}/s" if k.rate else "")
        for k in api_keys.read(home)
    ]
    names = ("name", "ends in", "created", "kind", "role", "types", "until", "rate")
    print_rows(names, rows, as_json=common.json)
    return DONE


def _types(text: str | None) -> tuple[str, ...]:
    types = tuple(part.strip() for part in (text or "").split(",") if part.strip())
    unknown = [part for part in types if part not in EVENT_TYPES]
    if unknown or (text is not None and not types):
        raise UsageError(f"--types {text}: there are {', '.join(EVENT_TYPES)}")
    return types


def _until(text: str | None) -> str:
    if text is None:
        return ""
    try:
        last = date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--until {text} is no date: write it as 2026-12-31") from error
    if last.isoformat() < iso(SystemClock().now_us())[:10]:
        raise UsageError(f"--until {text} is over: such a key would open nothing")
    return last.isoformat()


def _rate(text: str | None) -> int:
    found = re.fullmatch(r"([1-9][0-9]{0,8})(/s)?", text or "1")
    if found is None:
        raise UsageError(f"--rate {text} is no number of events a second: write it as 200/s")
    return int(found[1]) if text else 0


@keys_app.command(name="remove")
def keys_remove(ends_in: str, /, *, common: Common = Common()) -> int:
    """Take a key away: it sends nothing more, and whoever signed in with it is signed out.

    Parameters
    ----------
    ends_in
        Its last characters, as `edgeloop keys list` prints them.
    """
    from edgeloop.app import api_keys

    home, _ = common.open()
    gone = api_keys.remove(home, ends_in)
    print_json([{"name": gone.name, "ends in": gone.id}]) if common.json else print(gone.id)
    say(f"removed: the key of {gone.name}")
    return DONE

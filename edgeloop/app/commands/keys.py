"""Commands for the keys of senders, and the settings."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from cyclopts import App, Parameter

from edgeloop.app.commands.base import DONE, Common, app
from edgeloop.app.output import print_json, print_rows, say
from edgeloop.settings import SECRETS, Settings, settings_file

keys_app = App(name="keys", help="Keys that senders of events show at the door.")
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
    return ", ".join(value) if isinstance(value, tuple) else str(value)


@keys_app.command(name="create")
def keys_create(
    *,
    name: Annotated[str, Parameter(help="Who will use it.")] = "edge",
    common: Common = Common(),
) -> int:
    """Make a key for a sender of events; it is shown this once."""
    from edgeloop.app import api_keys

    home, _ = common.open()
    home.refuse_simulated()
    key = api_keys.create(home, name)
    print_json([{"name": name, "key": key}]) if common.json else print(key)
    say("keep it now: only a hash of it is stored. Senders show it as `Authorization: Bearer KEY`")
    return DONE


@keys_app.command(name="list")
def keys_list(*, common: Common = Common()) -> int:
    """List the keys by name; the keys themselves are not kept."""
    from edgeloop.app import api_keys

    home, _ = common.open()
    rows = [(k.name, k.id, k.created) for k in api_keys.read(home)]
    print_rows(("name", "ends in", "created"), rows, as_json=common.json)
    return DONE

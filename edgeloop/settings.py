"""Settings: flags > environment (``EDGELOOP_…``) > ``edgeloop.toml`` > the defaults below.

``EDGELOOP_SECTION_KEY`` sets ``key`` of ``[section]``; a secret may also come from a file named by ``…_FILE``. An
unknown key is an error that names it.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_type_hints
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import msgspec
from msgspec import Meta

from edgeloop.addresses import address
from edgeloop.clock import to_us
from edgeloop.errors import UsageError
from edgeloop.events import AnswerKind
from edgeloop.metrics import metrics_in_force
from edgeloop.misspelt import meant, misspelt
from edgeloop.roles import DutySettings, RoleSettings, check_ladder, responsibility

CreditRule = Literal["last_touch", "first_touch", "linear", "time_decay", "position_based"]
_ANSWER_KINDS = get_args(AnswerKind)
_SCALED = frozenset({"nps", "csat", "ces", "rating", "number"})
_SCALE = re.compile(
    rf"(?P<kind>{'|'.join(_ANSWER_KINDS)})(?::(?P<low>-?[0-9]{{1,9}}(?:\.[0-9]+)?)-(?P<high>-?[0-9]{{1,9}}(?:\.[0-9]+)?))?"
)
_ON, _OFF = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")
_SWITCH = dict.fromkeys(_ON, True) | dict.fromkeys(_OFF, False)
_HIDDEN = ("customer_id", "courier_id", "delivery_id", "exposure_id", "language")
FILE_NAME = "edgeloop.toml"
PREFIX = "EDGELOOP_"
# Read elsewhere, before there are settings; the last two by scripts/kafka.sh.
_NOT_SETTINGS = frozenset({"HOME", "DEBUG", "KAFKA_PORT", "KAFKA_DATA"})


class _Section(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    pass


class AttributionSettings(_Section, frozen=True):
    """The rules of attribution; a change of any of them is a change of every table (docs/meaning.md)."""

    engagement_window_h: Annotated[float, Meta(gt=0)] = 72.0
    answer_window_days: Annotated[float, Meta(gt=0)] = 14.0
    delivery_window_days: Annotated[float, Meta(ge=0, le=3650)] = 120.0
    """How far back an outcome meets the exposures of the delivery it names, where that is beyond its window."""
    credit_rule: CreditRule = "last_touch"
    max_touches: Annotated[int, Meta(ge=2)] = 50
    whole_second_sources: tuple[str, ...] = ("typeform", "mixpanel")
    """Sources whose times have no fraction; they are matched with one second of tolerance."""


class DoorSettings(_Section, frozen=True):
    """``edgeloop serve``."""

    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8321
    max_body_mb: Annotated[float, Meta(gt=0)] = 20.0
    """Of one request, after unpacking."""
    header_s: Annotated[float, Meta(gt=0)] = 10.0
    """Within so long the head of a request has come, from when its connection waits for one."""
    body_s: Annotated[float, Meta(gt=0)] = 20.0
    """Within so long its body has come; longer while it comes at 4 KB a second."""
    max_connections: Annotated[int, Meta(ge=8, le=60_000)] = 1_000
    """At one time; fewer where the process may not open as many files."""
    max_hook_mb: Annotated[float, Meta(gt=0)] = 1.0
    """Of one webhook: an answered survey is some KB."""
    max_in_flight_mb: Annotated[float, Meta(gt=0)] = 100.0
    """Of all requests that are being read or worked on; beyond it the next are answered 503."""
    max_waiting_mb: Annotated[float, Meta(gt=0)] = 64.0
    """Of records that wait for the log; beyond it requests are answered 503."""
    earliest: date = date(2015, 1, 1)
    """What is stamped before this day (UTC) is a clock that was never set: 1970, or the year 1 of Go and .NET."""

    @property
    def earliest_us(self) -> int:
        """The same in µs."""
        return to_us(datetime.combine(self.earliest, time(), UTC))


class KafkaSettings(_Section, frozen=True):
    """Apache Kafka as the log, for ``edgeloop serve``, ``worker``, ``topics`` and all that appends or reads."""

    bootstrap: str = ""
    """``host:port,host:port``; empty: the local log, a file in the home."""
    topic_prefix: str = ""
    """Before every topic's name: one home, one database and one prefix per company."""
    group: str = "edgeloop"
    """Consumer group of the workers."""
    partitions: Annotated[int, Meta(ge=1, le=1024)] = 4
    """Of each topic that `edgeloop topics create` makes: equal powers of two for all are the fastest."""
    replication_factor: Annotated[int, Meta(ge=1, le=15)] = 1
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = "SCRAM-SHA-512"
    sasl_username: str = ""
    sasl_password: str = ""
    ca_file: str = ""
    """Certificates that the brokers' are checked by; empty: the system's."""
    cert_file: str = ""
    key_file: str = ""
    """Our own certificate and key, where the brokers ask for one."""


class StoreSettings(_Section, frozen=True):
    """Where the tables are."""

    url: str = ""
    """``postgresql://user:password@host:5432/database?sslmode=verify-full``; empty: SQLite, a file in the home."""
    reader_url: str = ""
    """The same for a user who may only read, as whom ``edgeloop sql`` connects; empty: one is made where possible."""
    reader_role: str = "edgeloop_reader"
    """The role of PostgreSQL that may read the tables (never dead letters' bytes) and nothing else."""


class LogSettings(_Section, frozen=True):
    """The local log."""

    partitions: Annotated[int, Meta(ge=1, le=1024)] = 4


class WorkerSettings(_Section, frozen=True):
    """``edgeloop process`` and ``edgeloop worker``."""

    lanes: Annotated[int, Meta(ge=0, le=16)] = 0
    """Processes that drain at once; 0 takes one for a short backlog and one per core (4 at most) for a long one."""
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8322
    """Where ``edgeloop worker`` answers ``/livez``, ``/readyz`` and ``/metrics``."""
    cache_mb: Annotated[float, Meta(gt=0)] = 256.0
    """Of customers' states that ``edgeloop worker`` keeps in memory."""
    gather_ms: Annotated[int, Meta(ge=0, le=5000)] = 200
    """How long a batch is gathered at most, where records come slowly."""
    updates: bool = False
    """Whether changed outcomes are published to ``attribution.updates``."""


class ServiceSettings(_Section, frozen=True):
    """``edgeloop serve`` and ``edgeloop up``."""

    log_format: Literal["auto", "json", "text"] = "auto"
    """``auto``: JSON lines unless stderr is a terminal."""
    min_free_mb: Annotated[float, Meta(ge=0)] = 100.0
    """With less free space on the disk of the home, ``/readyz`` answers 503."""


class ScheduleSettings(_Section, frozen=True):
    """When ``edgeloop up`` freezes the month before and writes its report, in the company's zone."""

    report_day: Annotated[int, Meta(ge=1, le=28)] = 3
    """Day of the month after; days in between are for what arrives late."""
    report_hour: Annotated[int, Meta(ge=0, le=23)] = 6


class ScaleSettings(_Section, frozen=True):
    """``[typeform.questions.REF]``: the two ends of one question's scale."""

    low: float
    high: float


class TypeformSettings(_Section, frozen=True):
    """``POST /hooks/typeform``."""

    secret: str = ""
    """Of the webhook; without one the hook answers 401 to everything."""
    previous_secret: str = ""
    """Still accepted while the secret is being changed."""
    forms: tuple[str, ...] = ()
    """Known forms; empty means every correctly signed form."""
    hidden: dict[str, str] = {}
    """The form's hidden fields: ``customer_id``, ``courier_id``, ``delivery_id``, ``exposure_id`` or ``language`` → the
    name it has in the form. Fields of those names, ``cid`` and ``courier`` are found without."""
    questions: dict[str, ScaleSettings] = {}
    """``[typeform.questions.REF]`` with ``low`` and ``high``: a question's own scale, before what its form says."""
    rating_low: float | None = None
    rating_high: float | None = None
    """Both: the scale of ratings and opinion scales of which neither form nor ``questions`` says their own."""


class ZigpollSettings(_Section, frozen=True):
    """``POST /hooks/zigpoll/TOKEN`` and ``edgeloop ingest --from zigpoll``."""

    token: str = ""
    """The last part of the webhook's path; without one the hook answers 401 to everything."""
    previous_token: str = ""
    """Still accepted while the token is being changed."""
    polls: tuple[str, ...] = ()
    """Known polls; empty means every poll."""
    questions: dict[str, str] = {}
    """What a slide asks for, by slide id: ``nps``, ``csat:1-5``, ``text`` (`scale_of`); otherwise the answer tells."""
    ids: Literal["row", "parts"] = "row"
    """``row``: an answer is known by its ``_id`` where it has one. ``parts``: by poll, participant, slide and day, for
    webhooks without ``_id`` whose answers come by export as well."""
    customer_key: str = "customer_id"
    agent_key: str = "courier_id"
    delivery_key: str = "delivery_id"
    exposure_key: str = "exposure_id"
    """Where in ``metadata`` the company's own ids are."""


class MixpanelSettings(_Section, frozen=True):
    """``edgeloop ingest --from mixpanel``."""

    value_property: str = "value"
    currency_property: str = "currency"
    time_basis: Literal["utc", "project_local"] = "utc"
    """Projects made before 2023 write their local wall clock as if it were UTC (vendors' export documentation)."""
    timezone: str = "UTC"
    """Of the project, where ``time_basis`` is ``project_local``."""


class MailSettings(_Section, frozen=True):
    """The company's mail server, and who gets the month's report."""

    host: str = ""
    """Empty: no mail is sent."""
    port: Annotated[int, Meta(ge=1, le=65535)] = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    """``tls`` from the first byte (port 465); ``none`` only for a server on this machine."""
    username: str = ""
    password: str = ""
    ca_file: str = ""
    """Certificates that the server's is checked by; empty: the system's."""
    sender: str = ""
    """Whom mail is from: ``edgeloop@example.org`` or ``Edgeloop <edgeloop@example.org>``."""
    reply_to: str = ""
    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 30.0
    """Of each step of the conversation with the server; all of it may take four times that, 120 s at most."""
    to: tuple[str, ...] = ()
    """Who gets each month's report."""


class PublishSettings(_Section, frozen=True):
    """``/reports`` of the services, and the report as PDF."""

    public: bool = False
    """Whether whoever reaches the address may read ``/reports``; otherwise with a person's key or session."""
    pdf: bool = False
    """Whether each report is printed as PDF too, by a Chromium that is there."""
    chromium: str = ""
    """Its program; empty: the one on the PATH."""


class SurveySettings(_Section, frozen=True):
    """How a customer comes to a survey: the engagement that says so, for the chain from entry to answer."""

    delivered: str = "delivered"
    invited: str = "survey_sent"


class EscalationSettings(_Section, frozen=True):
    """Who is told after how many days without an answer, and after a date that has passed."""

    ladder: dict[str, int] = msgspec.field(default_factory=lambda: {"owner": 2, "deputy": 4, "feedback_integrator": 7})
    """``owner``, ``deputy`` or a role → days."""


class SlackSettings(_Section, frozen=True):
    """Where reminders go beside mail: an incoming webhook of Slack, or of what takes the same."""

    webhook: str = ""
    """Its address, which is the secret; empty: none."""


class ReportSettings(_Section, frozen=True):
    """How the month's report looks and which language it speaks; kept in the month's freeze."""

    locale: Literal["en", "de", "fr", "pt"] = "en"
    """Language, numbers and dates: English, German, French, Portuguese."""
    brand_name: str = ""
    """Instead of ``company`` at the top."""
    brand_colour: Annotated[str, Meta(pattern=r"^(#[0-9a-fA-F]{6})?$")] = ""
    """``#rrggbb``, for the line at the top and the name; too pale for the paper, it is darkened (on dark paper
    lightened) until its contrast is 4.5:1."""
    logo: str = ""
    """A PNG or SVG file of at most 50 KB, by its path from the folder of ``edgeloop.toml``; it is put into the page."""


class Settings(_Section, frozen=True):
    """Everything a company may set."""

    company: str = "Our company"
    timezone: str = "UTC"
    """The company's zone: months and days of the report are its."""
    attribution: AttributionSettings = AttributionSettings()
    door: DoorSettings = DoorSettings()
    kafka: KafkaSettings = KafkaSettings()
    log: LogSettings = LogSettings()
    store: StoreSettings = StoreSettings()
    worker: WorkerSettings = WorkerSettings()
    service: ServiceSettings = ServiceSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    typeform: TypeformSettings = TypeformSettings()
    zigpoll: ZigpollSettings = ZigpollSettings()
    mixpanel: MixpanelSettings = MixpanelSettings()
    mail: MailSettings = MailSettings()
    publish: PublishSettings = PublishSettings()
    survey: SurveySettings = SurveySettings()
    report: ReportSettings = ReportSettings()
    holidays: list[str] = []
    """Dates (``YYYY-MM-DD``) on which customers behave as on a Sunday, for the month bridge."""
    metrics: dict[str, dict[str, Any]] = {}
    """``[metrics.NAME]`` sections as written; `metrics_in_force` has them over the pack."""
    roles: dict[str, RoleSettings] = {}
    """``[roles.NAME]``: who holds which of the field's roles."""
    decisions: dict[str, DutySettings] = {}
    """``[decisions.KIND]`` as written; `edgeloop.roles.responsibility` has them over the defaults."""
    escalation: EscalationSettings = EscalationSettings()
    slack: SlackSettings = SlackSettings()


SECRETS = frozenset(
    {
        ("kafka", "sasl_password"),
        ("mail", "password"),
        ("slack", "webhook"),
        ("store", "reader_url"),
        ("store", "url"),
        ("typeform", "secret"),
        ("typeform", "previous_secret"),
        ("zigpoll", "token"),
        ("zigpoll", "previous_token"),
    }
)


def load(home: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings in force for a home: its ``edgeloop.toml``, else the current directory's, and the environment.

    Raises:
        UsageError: unknown key, wrong type or unreadable file, named with its place.
    """
    path = settings_file(home)
    tree = _read(path) if path else {}
    _convert(tree, str(path or FILE_NAME))  # before a variable can be blamed for what the file says
    for section, key, value, name in _from_environment(os.environ if environ is None else environ):
        if section is None:
            tree[key] = value
        else:
            tree.setdefault(section, {})[key] = value
        _convert(tree, name)
    settings = _convert(tree, str(path or FILE_NAME))
    for zone in (settings.timezone, settings.mixpanel.timezone):
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            near = meant(zone, available_timezones()) if zone else ""
            hint = near if near.endswith("?") else "use a name such as Europe/Berlin"
            raise UsageError(f"{path or 'settings'}: unknown timezone {zone!r}; {hint}") from error
    try:
        metrics_in_force(settings.metrics)
    except ValueError as error:
        raise UsageError(f"{path or 'settings'}: {error}. `edgeloop config` prints every metric in force") from error
    try:
        responsibility(settings.roles, settings.decisions)
        check_ladder(settings.escalation.ladder)
    except ValueError as error:
        raise UsageError(f"{path or 'settings'}: {error}") from error
    for day in settings.holidays:
        try:
            date.fromisoformat(day)
        except ValueError as error:
            raise UsageError(f"{path or 'settings'}: holidays: {day!r} is no date; write it as 2026-12-25") from error
    _check_mail(settings.mail, str(path or "settings"))
    _check_people(settings, str(path or "settings"))
    _check_typeform(settings.typeform, str(path or "settings"))
    for slide, text in settings.zigpoll.questions.items():
        try:
            scale_of(text)
        except ValueError as error:
            raise UsageError(
                f"{path or 'settings'}: [zigpoll] questions: {slide} = {text!r} is no kind of answer; write one of "
                f"{', '.join(_ANSWER_KINDS)}, or a number's with its scale, such as csat:1-5"
            ) from error
    return settings


def _check_typeform(typeform: TypeformSettings, where: str) -> None:
    for name in typeform.hidden:
        if name not in _HIDDEN:
            raise UsageError(f"{where}: [typeform] hidden: {name} is unknown ({meant(name, _HIDDEN)})")
    scales = [(f"[typeform.questions.{ref}]", scale.low, scale.high) for ref, scale in typeform.questions.items()]
    if (typeform.rating_low is None) != (typeform.rating_high is None):
        raise UsageError(f"{where}: [typeform] rating_low and rating_high are set together: a scale has two ends")
    if typeform.rating_low is not None and typeform.rating_high is not None:
        scales.append(("[typeform] rating_low, rating_high", typeform.rating_low, typeform.rating_high))
    for name, low, high in scales:
        if not low < high:
            raise UsageError(f"{where}: {name}: the lower end of a scale comes first, such as low = 0, high = 10")


def _check_mail(mail: MailSettings, where: str) -> None:
    if mail.security == "none" and mail.host and not _on_this_machine(mail.host):
        raise UsageError(
            f'{where}: [mail] security = "none" is only for a server on this machine (localhost); elsewhere mail and '
            'password could be read on the way: use "starttls" or "tls"'
        )
    for key, texts in (("sender", (mail.sender,)), ("reply_to", (mail.reply_to,)), ("to", mail.to)):
        for number, text in enumerate(texts, start=1):
            try:
                address(text or "nobody@example.org")
            except ValueError as error:  # the address itself is nobody's to see
                which = f"{key}, entry {number} of {len(texts)}," if key == "to" else key
                raise UsageError(f"{where}: [mail] {which} is no address of mail: {error}") from error
    for key, text in (("username", mail.username), ("password", mail.password)):
        if not text.isascii():  # the value itself is nobody's to see
            raise UsageError(
                f"{where}: [mail] {key} has letters outside ASCII, and signing in takes ASCII alone: have another set "
                "at the mail server"
            )
    if not _is_name(mail.host):
        raise UsageError(f"{where}: [mail] host is no name of a server; write it as mail.example.org")
    if mail.host and not mail.sender:
        raise UsageError(f"{where}: [mail] host is set and sender is not: write whom mail is from")


def _check_people(settings: Settings, where: str) -> None:
    for role, held in settings.roles.items():
        for key in ("address", "deputy_address"):
            try:
                address(getattr(held, key) or "nobody@example.org")
            except ValueError as error:  # the address itself is nobody's to see
                raise UsageError(f"{where}: [roles.{role}] {key} is no address of mail: {error}") from error
    if settings.slack.webhook and not _is_webhook(settings.slack.webhook):
        raise UsageError(f"{where}: [slack] webhook has to begin with https:// (http:// only for this machine)")


def _is_webhook(text: str) -> bool:
    try:
        found = urlsplit(text)
        host = found.hostname or ""
    except ValueError:  # brackets around what is no address of IPv6
        return False
    return bool(host) and (found.scheme == "https" or (found.scheme == "http" and _on_this_machine(host)))


def _is_name(host: str) -> bool:
    """Whether it can be looked up at all; an empty one stands for no server."""
    try:
        host.encode("idna")
    except UnicodeError:  # a part is empty or too long
        return False
    return True


def _on_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def scale_of(text: str) -> tuple[str, float | None, float | None]:
    """A kind of answer and the two ends of its scale, as ``[zigpoll] questions`` writes them (``csat:1-5``, ``text``).

    Raises:
        ValueError: no such kind, no such scale, or a scale for words.
    """
    found = _SCALE.fullmatch(text)
    if found is None:
        raise ValueError("a kind of answer, or one with its scale")
    if found["low"] is None:
        return found["kind"], *((0.0, 10.0) if found["kind"] == "nps" else (None, None))
    low, high = float(found["low"]), float(found["high"])
    if not low < high or found["kind"] not in _SCALED:
        raise ValueError("the lower end first, and only for kinds that are numbers")
    return found["kind"], low, high


def settings_file(home: Path) -> Path | None:
    """The file that settings are read from, or None."""
    for path in (home / FILE_NAME, Path(FILE_NAME)):
        if path.is_file():
            return path
    return None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}") from error


def _convert(tree: dict[str, Any], where: str) -> Settings:
    try:
        return msgspec.convert(tree, Settings)
    except msgspec.ValidationError as error:
        wrong = misspelt(tree, Settings) or str(error)
        raise UsageError(f"{where}: {wrong}. `edgeloop config` prints every setting with its value") from error


def _from_environment(environ: Mapping[str, str]) -> list[tuple[str | None, str, Any, str]]:
    """(section or None, key, value, variable) of every ``EDGELOOP_…`` variable."""
    found = []
    hints = get_type_hints(Settings)
    sections = {name: hint for name, hint in hints.items() if isinstance(hint, type) and issubclass(hint, _Section)}
    for name, text in sorted(environ.items()):
        if not name.startswith(PREFIX) or name[len(PREFIX) :] in _NOT_SETTINGS:
            continue
        rest = name[len(PREFIX) :].lower()
        section = next((s for s in sections if rest.startswith(s + "_")), None)
        key = rest[len(section) + 1 :] if section else rest
        cls: type[_Section] = sections[section] if section else Settings
        if key.endswith("_file") and (section, key.removesuffix("_file")) in SECRETS:
            key = key.removesuffix("_file")
            try:
                text = Path(text).read_text(encoding="utf-8").rstrip("\n")
            except OSError as error:
                raise UsageError(f"{name}: cannot read {text}: {error.strerror}") from error
        if key not in cls.__struct_fields__ or (section is None and key in sections):
            near = meant(key, (f for f in cls.__struct_fields__ if section is not None or f not in sections))
            raise UsageError(f"{name}: no such setting ({near}). `edgeloop config` prints every setting with its value")
        found.append((section, key, _parse(cls, key, text), name))
    return found


def _parse(cls: type[_Section], key: str, text: str) -> Any:
    """A variable's text as the setting's type; lists are separated by commas, tables are ``key=value,key=value``."""
    field = next(f for f in msgspec.structs.fields(cls) if f.name == key)
    default = field.default
    if isinstance(default, tuple):
        return [part.strip() for part in text.split(",") if part.strip()]
    if field.type == list[str]:
        return [part.strip() for part in text.split(",") if part.strip()]
    if default is msgspec.NODEFAULT:  # a table
        pairs = [part.strip().split("=", 1) for part in text.split(",") if part.strip()]
        if not all(len(pair) == 2 for pair in pairs):
            return text
        whole = field.type == dict[str, int]
        return {name: int(value) if whole and value.strip().isdecimal() else value for name, value in pairs}
    if isinstance(default, bool):
        return _SWITCH.get(text.strip().lower(), text)
    if isinstance(default, int | float) or field.type == float | None:
        try:
            return float(text) if default is None else type(default)(text)
        except ValueError:
            return text
    return text

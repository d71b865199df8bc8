"""The views an analyst may rely on (docs/contract.md, Views): one text for both stores, a few words of it by dialect.

What SQLite is given runs in the standard library's SQLite too.
"""

from __future__ import annotations

import msgspec

from edgeloop.store.schema import Column, columns_of

LATENCY_BOUNDS_MS = (50, 100, 200, 300, 500, 750, 1000, 2000)
_PERCENTS = (50, 95, 99)


class Dialect(msgspec.Struct, frozen=True):
    """What the stores call differently; ``{0}`` stands for a column."""

    day: str
    """The UTC date of a time column, as text."""
    seconds: str
    """A difference of two time columns."""


SQLITE = Dialect(
    # Division of integers goes towards zero, which is the next second before 1970.
    day="date({0} / 1000000 - ({0} % 1000000 < 0), 'unixepoch')",
    seconds="{0} / 1e6",
)
POSTGRES = Dialect(
    day="to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
    seconds="CAST(extract(epoch FROM {0}) AS double precision)",
)

_histogram = ",\n  ".join(
    [f"count(*) FILTER (WHERE latency_ms <= {b}) AS latency_le_{b}" for b in LATENCY_BOUNDS_MS]
    + ["count(latency_ms) AS latency_count", "sum(latency_ms) AS latency_sum"]
)
# Nearest rank: the smallest value that at least the share p of the values does not exceed.
_percentiles = ",\n  ".join(
    f"min(latency_ms) FILTER (WHERE latency_rank * 100 >= {p} * latency_n) AS latency_p{p}" for p in _PERCENTS
)
# `a:RESPONSE/question` up to the last slash: a question's own slashes are percent-encoded.
_RESPONSE_OF = "rtrim(outcome_id, replace(outcome_id, '/', ''))"
# The links that attribution honoured; any other that a row names is ignored.
_HONOURED = (
    "LEFT JOIN (SELECT DISTINCT subject AS named_by, {stored} AS outcome FROM attributions"
    " WHERE matched_by = 'explicit') AS honoured"
    " ON exposure_id IS NOT NULL AND named_by = subject AND outcome = {named}"
)
_IGNORED = "count(*) FILTER (WHERE exposure_id IS NOT NULL AND outcome IS NULL)"
# What names a delivery, of people who are known: nobody else can have been shown anything of it.
NAMING = """(
  SELECT subject AS naming, 'e:' || event_id AS named FROM engagement WHERE delivery_id IS NOT NULL AND anonymous = 0
  UNION ALL
  SELECT subject, 'a:' || response_id || '/' FROM responses WHERE delivery_id IS NOT NULL AND anonymous = 0
) AS deliveries"""
NAMED = f"naming = subject AND named = CASE outcome_type WHEN 'answer' THEN {_RESPONSE_OF} ELSE outcome_id END"
SEEN = "matched_by IN ('delivery', 'explicit')"
_NPS = "(SELECT DISTINCT survey_id || '/' || question AS nps_question FROM answers WHERE kind = 'nps') AS nps"
_SCORED = "nps_question IS NOT NULL AND value IS NOT NULL"
# An id names an outcome of one person only; pseudonyms have one length.
OUTCOMES = "count(DISTINCT subject || outcome_id)"
_CELL = "day, model_id, model_version, arm, touchpoint"


class View(msgspec.Struct, frozen=True):
    """One view."""

    name: str
    comment: str
    columns: tuple[Column, ...]
    sql: str


_DAY = "day text UTC date\n"
_VERSION = """
model_id text the model
model_version text its version
arm text arm of the exposure
"""
_TOUCHPOINT = "touchpoint text where it was shown\n"
_OUTCOME = """
respondent text customer or agent
outcome_type text engagement or answer
outcome_name text engagement name, or survey_id + / + question
"""
_COLUMNS = {
    "version_daily": _DAY
    + _VERSION
    + _TOUCHPOINT
    + """
exposures int exposures in this cell
subjects int customers among them
errors int exposures that failed
fallbacks int exposures where a default was shown
"""
    + "".join(f"latency_le_{b} int exposures of at most {b} ms\n" for b in LATENCY_BOUNDS_MS)
    + "latency_count int exposures with a latency\nlatency_sum real sum of their latencies in milliseconds\n"
    + "".join(f"latency_p{p} real percentile {p} of the latency in milliseconds\n" for p in _PERCENTS),
    "version_outcomes_daily": "day text UTC date of the outcome\n"
    + _VERSION
    + _TOUCHPOINT
    + _OUTCOME
    + """
currency text of the values
outcomes int outcomes credited, in whole or in part
subjects int people whose they are
credit real sum of the credits
credited_value real sum of credit times value
mean_lag_s real mean seconds from exposure to outcome
""",
    "version_answers": _VERSION
    + """
respondent text customer or agent
survey_question text survey_id + / + question
answers int answers credited, in whole or in part
respondents int people who gave them
credit real sum of the credits
mean_value real mean of the values, weighted by credit
lowest real smallest value
highest real largest value
promoter_score real of a question of kind nps: 100 times (share of 9 and 10 less share of 0 to 6), weighted by credit
promoter_answers int the answers behind promoter_score, each once
""",
    "unattributed": "day text UTC date of the outcome\n"
    + _OUTCOME
    + """
outcomes int outcomes of that day
unattributed int those that no exposure matched
share real unattributed / outcomes
unseen_delivery int those that name a delivery of which nothing was shown to them, matched by something else or not
""",
    "freshness": """
table_name text the table
rows int its rows
anonymous int those that came without a usable id
ignored_links int those that name an exposure which is none of the person's shown ones
latest_occurred_at time when the latest of them happened
latest_received_at time when the latest of them came
greatest_delay_s real longest time from happening to coming, in seconds
""",
}


def views(dialect: Dialect) -> tuple[View, ...]:
    """The views in the SQL of one store."""
    day = dialect.day.format("occurred_at")
    delay_s = dialect.seconds.format("max(received_at - occurred_at)")
    return (
        View(
            "version_daily",
            "per UTC day, model, version, arm and touchpoint: exposures, subjects, errors, latency",
            columns_of(_COLUMNS["version_daily"]),
            f"""
WITH ranked AS (
  SELECT {day} AS day, model_id, model_version, arm, touchpoint, subject, error, fallback,
    latency_ms,
    CASE WHEN latency_ms IS NOT NULL THEN row_number() OVER (cell ORDER BY latency_ms IS NULL, latency_ms) END
      AS latency_rank,
    count(latency_ms) OVER (PARTITION BY {day}, model_id, model_version, arm,
      touchpoint) AS latency_n
  FROM exposures
  WINDOW cell AS (PARTITION BY {day}, model_id, model_version, arm, touchpoint)
)
SELECT {_CELL},
  count(*) AS exposures,
  count(DISTINCT subject) AS subjects,
  count(error) AS errors,
  coalesce(sum(fallback), 0) AS fallbacks,
  {_histogram},
  {_percentiles}
FROM ranked GROUP BY {_CELL}""",
        ),
        View(
            "version_outcomes_daily",
            "per UTC day of the outcome, model, version, arm, touchpoint and outcome: credited outcomes and value",
            columns_of(_COLUMNS["version_outcomes_daily"]),
            f"""
SELECT {day} AS day, model_id, model_version, arm, touchpoint, respondent, outcome_type,
  outcome_name, currency,
  {OUTCOMES} AS outcomes,
  count(DISTINCT subject) AS subjects,
  sum(credit) AS credit,
  sum(credit * value) AS credited_value,
  avg(lag_s) AS mean_lag_s
FROM attributions WHERE model_id <> ''
GROUP BY day, model_id, model_version, arm, touchpoint, respondent, outcome_type, outcome_name, currency""",
        ),
        View(
            "version_answers",
            "per model, version, arm and survey question: answers and their credited mean, customers and agents apart",
            columns_of(_COLUMNS["version_answers"]),
            f"""
SELECT model_id, model_version, arm, respondent, outcome_name AS survey_question,
  {OUTCOMES} AS answers,
  count(DISTINCT subject) AS respondents,
  sum(credit) AS credit,
  sum(credit * value) / nullif(sum(CASE WHEN value IS NOT NULL THEN credit END), 0) AS mean_value,
  min(value) AS lowest,
  max(value) AS highest,
  100.0 * sum(credit * CASE WHEN value >= 9 THEN 1 WHEN value <= 6 THEN -1 ELSE 0 END) FILTER (WHERE {_SCORED})
    / nullif(sum(credit) FILTER (WHERE {_SCORED}), 0) AS promoter_score,
  {OUTCOMES} FILTER (WHERE {_SCORED}) AS promoter_answers
FROM attributions LEFT JOIN {_NPS} ON nps_question = outcome_name
WHERE model_id <> '' AND outcome_type = 'answer'
GROUP BY model_id, model_version, arm, respondent, outcome_name""",
        ),
        View(
            "unattributed",
            "per UTC day and outcome: how many there were and how many nothing matched",
            columns_of(_COLUMNS["unattributed"]),
            f"""
SELECT {day} AS day, respondent, outcome_type, outcome_name,
  {OUTCOMES} AS outcomes,
  {OUTCOMES} FILTER (WHERE model_id = '') AS unattributed,
  CAST({OUTCOMES} FILTER (WHERE model_id = '') AS double precision) / {OUTCOMES}
    AS share,
  {OUTCOMES} FILTER (WHERE naming IS NOT NULL)
    - {OUTCOMES} FILTER (WHERE naming IS NOT NULL AND {SEEN})
    AS unseen_delivery
FROM attributions LEFT JOIN {NAMING} ON {NAMED}
GROUP BY day, respondent, outcome_type, outcome_name""",
        ),
        View(
            "freshness",
            "per table: rows, nameless ones, ignored links, and the latest times in it",
            columns_of(_COLUMNS["freshness"]),
            " UNION ALL ".join(
                f"""
SELECT '{table}' AS table_name, count(*) AS rows,
  coalesce(sum(anonymous), 0) AS anonymous,
  {_IGNORED if links else "0"} AS ignored_links,
  max(occurred_at) AS latest_occurred_at, max(received_at) AS latest_received_at,
  {delay_s} AS greatest_delay_s
FROM {table} {links}"""
                for table, links in (
                    ("exposures", ""),
                    ("responses", _HONOURED.format(stored=_RESPONSE_OF, named="'a:' || response_id || '/'")),
                    ("engagement", _HONOURED.format(stored="outcome_id", named="'e:' || event_id")),
                    ("profiles", ""),
                    ("telemetry", ""),
                    ("changes", ""),
                )
            ),
        ),
    )


VIEWS = views(SQLITE)
"""In the SQL of SQLite."""

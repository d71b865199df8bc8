"""The views an analyst may rely on (docs/contract.md, Views), in SQL that the standard library's SQLite runs too."""

from __future__ import annotations

import msgspec

_DAY = "date({0} / 1000000, 'unixepoch')"
LATENCY_BOUNDS_MS = (50, 100, 200, 300, 500, 750, 1000, 2000)

_histogram = ",\n  ".join(
    [f"count(*) FILTER (WHERE latency_ms <= {b}) AS latency_le_{b}" for b in LATENCY_BOUNDS_MS]
    + ["count(latency_ms) AS latency_count", "sum(latency_ms) AS latency_sum"]
)
# Nearest rank: the smallest value that at least the share p of the values does not exceed.
_percentiles = ",\n  ".join(
    f"min(latency_ms) FILTER (WHERE latency_rank >= {p} / 100.0 * latency_n) AS latency_p{p}" for p in (50, 95, 99)
)
# `a:RESPONSE/question` up to the last slash: a question's own slashes are percent-encoded.
_RESPONSE_OF = "rtrim(outcome_id, replace(outcome_id, '/', ''))"


def _ignored(outcome: str, stored: str) -> str:
    """Rows that name an exposure which attribution could not honour."""
    return (
        f"coalesce(sum(exposure_id IS NOT NULL AND (subject, {outcome}) NOT IN"
        f" (SELECT subject, {stored} FROM attributions WHERE matched_by = 'explicit')), 0)"
    )


_CELL = "day, model_id, model_version, arm, touchpoint"


class View(msgspec.Struct, frozen=True):
    """One view."""

    name: str
    comment: str
    sql: str


VIEWS = (
    View(
        "version_daily",
        "per UTC day, model, version, arm and touchpoint: exposures, subjects, errors, latency",
        f"""
WITH ranked AS (
  SELECT {_DAY.format("occurred_at")} AS day, model_id, model_version, arm, touchpoint, subject, error, fallback,
    latency_ms,
    CASE WHEN latency_ms IS NOT NULL THEN row_number() OVER (cell ORDER BY latency_ms IS NULL, latency_ms) END
      AS latency_rank,
    count(latency_ms) OVER (PARTITION BY date(occurred_at / 1000000, 'unixepoch'), model_id, model_version, arm,
      touchpoint) AS latency_n
  FROM exposures
  WINDOW cell AS (PARTITION BY date(occurred_at / 1000000, 'unixepoch'), model_id, model_version, arm, touchpoint)
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
        f"""
SELECT {_DAY.format("occurred_at")} AS day, model_id, model_version, arm, touchpoint, respondent, outcome_type,
  outcome_name, currency,
  count(DISTINCT outcome_id) AS outcomes,
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
        """
SELECT model_id, model_version, arm, respondent, outcome_name AS survey_question,
  count(DISTINCT outcome_id) AS answers,
  count(DISTINCT subject) AS respondents,
  sum(credit) AS credit,
  sum(credit * value) / sum(CASE WHEN value IS NOT NULL THEN credit END) AS mean_value,
  min(value) AS lowest,
  max(value) AS highest
FROM attributions WHERE model_id <> '' AND outcome_type = 'answer'
GROUP BY model_id, model_version, arm, respondent, outcome_name""",
    ),
    View(
        "unattributed",
        "per UTC day and outcome: how many there were and how many nothing matched",
        f"""
SELECT {_DAY.format("occurred_at")} AS day, respondent, outcome_type, outcome_name,
  count(DISTINCT outcome_id) AS outcomes,
  count(DISTINCT outcome_id) FILTER (WHERE model_id = '') AS unattributed,
  1.0 * count(DISTINCT outcome_id) FILTER (WHERE model_id = '') / count(DISTINCT outcome_id) AS share
FROM attributions GROUP BY day, respondent, outcome_type, outcome_name""",
    ),
    View(
        "freshness",
        "per table: rows, nameless ones, ignored links, and the latest times in it",
        " UNION ALL ".join(
            f"""
SELECT '{table}' AS table_name, count(*) AS rows,
  coalesce(sum(anonymous), 0) AS anonymous,
  {links} AS ignored_links,
  max(occurred_at) AS latest_occurred_at, max(received_at) AS latest_received_at,
  max(received_at - occurred_at) / 1e6 AS greatest_delay_s
FROM {table}"""
            for table, links in (
                ("exposures", "0"),
                ("responses", _ignored("'a:' || response_id || '/'", _RESPONSE_OF)),
                ("engagement", _ignored("'e:' || event_id", "outcome_id")),
                ("profiles", "0"),
                ("telemetry", "0"),
                ("changes", "0"),
            )
        ),
    ),
)

"""Edgeloop's tables by brute force: their meaning, read literally, over log records in any order."""

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from urllib.parse import quote

_SPEC = """type, table, id, key, other fields
exposure exposures exposure_id subject touchpoint model_id model_version arm rollout_id latency_ms error \
    fallback features placement site device zone segment delivery_id courier profile_version energy_mj
response responses response_id subject respondent survey_id source delivery_id exposure_id language partial
engagement engagement event_id subject name source value currency delivery_id exposure_id
profile profiles profile_id subject side profile_version site fields
telemetry telemetry telemetry_id site kind message_id message_sent_at message_delivered_at battery cpu \
    free_mb energy_mj
change changes change_id model_id to_version kind from_version title rollout_id ended_at allocation unit \
    assignment planned_units planned_stages zones features shares_capacity owner note"""
TABLES = {line.split()[0]: line.split()[1] for line in _SPEC.splitlines()[1:]}
TAIL = ("occurred_at", "occurred_at_raw", "revision", "anonymous", "extra")
LATE = {"changes": ("cluster", "strata", "block_h", "starts")}  # what came in later stands last
COLUMNS = {t: (*own, *TAIL, *LATE.get(t, ())) for _, t, *own in map(str.split, _SPEC.splitlines()[1:])}
ANSWER = ("question", "kind", "value", "low", "high", "label", "text")
DEFAULTS = {"revision": 0, "anonymous": 0, "partial": 0, "shares_capacity": 0, "unit": "subject"}
compact = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode


def micros(text):
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def cell(body, column):
    value = body.get(column, body["occurred_at"] if column == "occurred_at_raw" else DEFAULTS.get(column))
    if isinstance(value, list | dict):
        return compact(value) if value else None
    return micros(value) if "_at" in column and value else int(value) if isinstance(value, bool) else value


def rank(body):
    """Lowest for the winner of an identity; the last two only tell deliveries of one body apart."""
    raw_text, at = body.get("occurred_at_raw", body["occurred_at"]), micros(body["occurred_at"])
    sent = {k: v for k, v in body.items() if k not in ("occurred_at", "occurred_at_raw", "received_at")}
    sha, raw = sha256(compact(sent | {"occurred_at": raw_text}).encode()).hexdigest(), micros(raw_text)
    return body.get("partial", False), -body.get("revision", 0), raw, sha, abs(at - raw), at


def touches(o, exposures, rules):
    """(exposure, credit, matched_by, lag_s) of every exposure that outcome `o` credits."""
    key, at, rule = o["subject"], micros(o["occurred_at"]), rules["credit_rule"]
    mine = [e for e in exposures if e["subject"] == key and not e.get("anonymous")]
    if o.get("respondent") == "agent":  # of exposures with one id, the winner
        ranked = sorted((e for e in exposures if e.get("courier") == key), key=rank, reverse=True)
        mine = list({e["exposure_id"]: e for e in ranked}.values())
    shown = [e for e in mine if e.get("arm") != "holdout" and not e.get("fallback") and not e.get("error")]
    shown.sort(key=lambda e: (micros(e["occurred_at"]), e["exposure_id"]))
    start = at - rules["answer_window_us" if o["type"] == "response" else "engagement_window_us"]
    end = at + (1_000_000 if o["source"] in rules["whole_second_sources"] else 0)
    for model in {e["model_id"] for e in shown if not o.get("anonymous")}:
        linked = [e for e in shown if e["model_id"] == model and e["exposure_id"] == o.get("exposure_id")]
        past = [e for e in shown if e["model_id"] == model and micros(e["occurred_at"]) <= end]
        near = [e for e in past if micros(e["occurred_at"]) >= start]
        back = min(start, at - rules["delivery_window_us"])  # a delivery that is named reaches further back
        named = [e for e in past if micros(e["occurred_at"]) >= back and e.get("delivery_id") is not None]
        named = [e for e in named if e["delivery_id"] == o.get("delivery_id")]
        by, chosen = ("explicit", linked) if linked else ("delivery", named) if named else ("window", near)
        head = 1 if rule in ("first_touch", "position_based") else 0
        chosen = chosen[:head] + chosen[max(head, len(chosen) - rules["max_touches"] + head) :]
        chosen = {"first_touch": chosen[:1], "last_touch": chosen[-1:]}.get(rule, chosen)
        lags, n = [at - micros(e["occurred_at"]) for e in chosen], len(chosen)  # n = 1 must not underflow
        weights = [2.0 ** -(t / 86_400_000_000 / 7) if rule == "time_decay" and n > 1 else 1.0 for t in lags]
        credit = [weight / sum(weights) for weight in weights]
        if rule == "position_based" and n > 2:
            credit = [0.4, *[0.2 / (n - 2)] * (n - 2), 0.4]
        yield from zip(chosen, credit, [by] * n, [lag / 1e6 for lag in lags], strict=True)


def oracle(bodies: list[dict], rules: dict) -> dict[str, list[tuple]]:
    tables = {table: [] for table in (*COLUMNS, "answers", "superseded", "attributions")}
    deliveries, winners = {}, []
    for body in bodies:
        id_column, key_column, *_ = COLUMNS[TABLES[body["type"]]]
        deliveries.setdefault((body["type"], body[key_column], body[id_column]), []).append(body)
    for (kind, *key_and_id), same in deliveries.items():
        winners.append(min(same, key=rank))
        tables[TABLES[kind]].append(tuple(cell(winners[-1], column) for column in COLUMNS[TABLES[kind]]))
        lost = {rank(body)[1:4] for body in same} - {rank(winners[-1])[1:4]}
        tables["superseded"] += [(kind, *key_and_id, sha, -revision, raw) for revision, raw, sha in lost]
    for o in (w for w in winners if w["type"] in ("response", "engagement")):
        at, who, key, outcomes = micros(o["occurred_at"]), o.get("respondent", "customer"), o["subject"], []
        for i, a in enumerate(o.get("answers", [])):
            about = (o["response_id"], key, who, o["survey_id"], o["source"], at, i)
            tables["answers"].append((*about, *map(a.get, ANSWER)))
            nth = [b["question"] for b in o["answers"][: i + 1]].count(a["question"])
            oid = f"a:{o['response_id']}/{quote(a['question'], safe='')}" + (f"#{nth}" if nth > 1 else "")
            value = None if a["kind"] in ("text", "choice") else a.get("value")
            outcomes.append((oid, "answer", f"{o['survey_id']}/{a['question']}", value, None))
        if o["type"] == "engagement":
            outcomes = [(f"e:{o['event_id']}", "engagement", o["name"], o.get("value"), o.get("currency"))]
        credited = list(touches(o, [w for w in winners if w["type"] == "exposure"], rules))
        for oid, kind, name, value, currency in outcomes:
            for e, credit, by, lag in credited or [({"model_id": "", "exposure_id": ""}, 0.0, None, None)]:
                row = (oid, kind, name, e["model_id"], e["exposure_id"], key, who, at, value, currency)
                row += tuple(map(e.get, ("model_version", "arm", "rollout_id", "touchpoint")))
                tables["attributions"].append((*row, credit, rules["credit_rule"], by, lag))
    return {t: sorted(rows, key=lambda row: [(v is not None, v) for v in row]) for t, rows in tables.items()}

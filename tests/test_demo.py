"""The demo at its own size and seed: verdicts, speed, and that no planted personal data is anywhere."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from analysis import ledger
from edgeloop.app.commands.loop import DEFAULT_SEED
from edgeloop.app.monthly import analyse_freeze
from edgeloop.app.simulator import planted
from edgeloop.clock import HOUR_US
from edgeloop.log.local import LocalLog
from edgeloop.settings import Settings
from edgeloop.store.freeze import Freeze
from edgeloop.store.reader import SqliteReader
from tests.conftest import Demo

pytestmark = pytest.mark.slow

MONTH = "2026-03"
_PAGE_BYTES = 4_096


def test_both_canaries_get_the_right_verdict(demo: Demo) -> None:
    verdicts = {row["change_id"]: (row["verdict"], row["expected_verdict"]) for row in demo.findings}
    assert verdicts == {
        "eta-switch": ("keep testing", None),
        "slot-canary": ("promote", "promote"),
        "rebooking-canary": ("roll back", "roll back"),
        "promo-ramp": ("stop, no effect", None),
    }


def test_randomised_engagement_effects_lie_inside_their_intervals(demo: Demo) -> None:
    rows = [r for r in demo.findings if r["grade"] == "randomised" and r["metric"] not in ("csat", "nps")]
    assert len(rows) == 18
    assert sum(bool(r["inside"]) for r in rows) >= 15, rows


def test_the_ramp_is_estimated_in_the_stage_of_which_most_can_be_told(demo: Demo) -> None:
    rows = {str(r["metric"]): r for r in demo.findings if r["change_id"] == "promo-ramp"}
    assert msgspec.convert(rows["offer_redeemed"]["planted"], float) > 0.05
    assert rows["offer_redeemed"]["grade"] == "randomised"
    assert msgspec.convert(rows["offer_redeemed"]["low"], float) > 0.03
    assert not any(r["refused"] for r in demo.findings)
    frames = analyse_freeze(Freeze(demo.home.freezes / MONTH)).estimates
    deciding = {e.stage for e in frames if e.change_id == "promo-ramp" and e.decided_by is not None}
    assert deciding == {3}


def test_the_ramp_is_one_change_with_its_stages_as_they_were_declared(demo: Demo) -> None:
    frames = Freeze(demo.home.freezes / MONTH).frames()
    (ramp,) = [c for c in ledger(frames, timezone="Europe/Berlin") if c.change_id == "promo-ramp"]
    assert ramp.declared
    assert [(s.number, s.allocation, s.zones) for s in ramp.stages] == [
        (1, {"1.1": 0.99, "2.0": 0.01}, ("north", "east")),
        (2, {"1.1": 0.9, "2.0": 0.1}, ("north", "east")),
        (3, {"1.1": 0.5, "2.0": 0.5}, ("north", "east")),
    ]
    ends = [s.end_us for s in ramp.stages]
    assert ends == [ramp.stages[1].start_us, ramp.stages[2].start_us, None]
    told = frames["changes"].set_index("change_id")["ended_at"]
    assert [int(told["promo-ramp"]), int(told["promo-ramp-2"])] == ends[:2], "the ends were told, not only inferred"


def test_the_held_out_are_in_neither_arm_and_their_ratio_is_checked(demo: Demo) -> None:
    """Once more in SQL: the first exposure of everybody in the rollout, by arm."""
    reader = SqliteReader(demo.home.store)
    as_of = Freeze(demo.home.freezes / MONTH).manifest.as_of_us
    first = """SELECT arm, min(occurred_at) AS at FROM exposures
        WHERE rollout_id = 'rebooking-prompt-6.0' AND anonymous = 0 GROUP BY subject"""
    entered = dict(
        reader.query(f"SELECT arm, count(*) FROM ({first}) WHERE at <= {as_of - 72 * HOUR_US} GROUP BY 1")[1]
    )
    _, credited = reader.query("SELECT count(*) FROM attributions WHERE arm = 'holdout'")
    _, held = reader.query("SELECT count(*) FROM exposures WHERE arm = 'holdout'")
    reader.close()
    assert entered.keys() == {"stable", "canary", "holdout"}
    assert credited == [(0,)]
    assert held[0][0] > 300
    analysis = analyse_freeze(Freeze(demo.home.freezes / MONTH))
    whole = [e for e in analysis.estimates if e.change_id == "rebooking-canary" and e.dimension == "all"]
    own = [e for e in whole if e.metric == "card_opened"]
    assert [(e.control_arm, e.n_control, e.treated_arm, e.n_treated) for e in own] == [
        ("stable", entered["stable"], "canary", entered["canary"])
    ]
    share = entered["holdout"] / sum(entered.values())
    assert abs(share - 0.08) < 0.015
    (srm,) = [c for c in analysis.checks if c.change_id == "rebooking-canary" and c.check == "srm"]
    # Three versions were drawn: χ² of two degrees of freedom is −2 ln p.
    assert srm.p is not None
    assert srm.value == pytest.approx(-2 * math.log(srm.p))
    assert srm.state == "ok"


def test_it_says_where_the_report_is(demo: Demo) -> None:
    report = demo.home.reports / f"{MONTH}.html"
    assert report.stat().st_size < 300_000
    assert str(report.name) in demo.stderr


def test_nothing_was_lost(demo: Demo) -> None:
    reader = SqliteReader(demo.home.store)
    stored = 0
    for table in (
        "exposures",
        "responses",
        "engagement",
        "profiles",
        "telemetry",
        "changes",
        "superseded",
        "dead_letters",
    ):
        ((n,),) = reader.query(f"SELECT count(*) FROM {table}")[1]
        stored += n
    ((duplicates, offsets),) = reader.query("SELECT sum(duplicates), sum(next_offset) FROM offsets")[1]
    reader.close()
    assert stored + duplicates == offsets
    assert duplicates > 1_000


def texts(demo: Demo) -> Iterator[tuple[str, bytes]]:
    """Everything that the demo left behind, unpacked: log, tables, freezes, reports, truth, and the raw files too."""
    log = LocalLog(demo.home.log)
    for (topic, partition), end in log.end_offsets().items():
        for value in log.read(topic, partition, 0, end + 1, 1 << 40).values:
            yield f"log {topic}", value
    log.close()
    reader = SqliteReader(demo.home.store)
    names = [n for (n,) in reader.query("SELECT name FROM sqlite_schema WHERE type = 'table'")[1]]
    for name in names:
        for row in reader.query(f"SELECT * FROM {name}")[1]:
            yield f"table {name}", b" ".join(c if isinstance(c, bytes) else str(c).encode() for c in row)
    reader.close()
    for folder in demo.home.freezes.iterdir():
        freeze = Freeze(folder)
        for name, frame in freeze.frames().items():
            yield f"freeze {name}", frame.to_csv(index=False).encode()
    for path in demo.home.path.rglob("*"):
        # Not the packed bytes of Parquet, which stand above unpacked: in them pieces of different words lie side by
        # side, and one run in ten had a "K-0031" that is in no word.
        if path.is_file() and path.suffix == ".sqlite":
            # Page by page, without the number of the next page that a long value's page begins with: "K" can be one.
            content = path.read_bytes()
            for begin in range(0, len(content), _PAGE_BYTES):
                yield path.name, content[begin + 4 : begin + _PAGE_BYTES]
        elif path.is_file() and path.suffix != ".parquet":
            yield str(path), path.read_bytes()


def hits(patterns: list[str], text: Path, folder: Path) -> list[str]:
    """The patterns that occur in a file, by grep, which looks for thousands at once."""
    listed = folder / "patterns"
    listed.write_text("\n".join(patterns) + "\n", encoding="utf-8")
    found = subprocess.run(
        ["grep", "-a", "-o", "-F", "-f", str(listed), str(text)], capture_output=True, text=True, check=False,
        env={"LC_ALL": "C"},
    )  # fmt: skip
    assert found.returncode in (0, 1), found.stderr
    return sorted(set(found.stdout.splitlines()))


def test_no_planted_personal_data_is_left_anywhere(demo: Demo, tmp_path: Path) -> None:
    secrets = planted(DEFAULT_SEED, 1.0)
    assert len(secrets) > 12_000
    everything = tmp_path / "everything"
    with everything.open("wb") as out:
        for where, text in texts(demo):
            out.write(where.encode() + b": " + text + b"\n")
    assert everything.stat().st_size > 50_000_000, "the search must have looked at something"
    assert hits(secrets, everything, tmp_path) == []
    assert hits(["[email]", "[phone]", "[card]", "[iban]", "[id]"], everything, tmp_path) == [
        "[card]", "[email]", "[iban]", "[id]", "[phone]",
    ]  # fmt: skip


def test_the_search_would_find_something(demo: Demo) -> None:
    """The dead letters hold raw ids, sealed: opened with the key they are there, so the search above can fail."""
    from edgeloop.app.dead_letters import every_letter, open_letter

    letters = every_letter(demo.home, Settings())
    assert len(letters) == 147
    assert any(b"C-0" in open_letter(demo.home, Settings(), letter.dead_letter_id)[1] for letter in letters[:9])


def test_the_same_freeze_gives_the_same_report_twice(demo: Demo) -> None:
    from reports import build, render

    freeze = Freeze(demo.home.freezes / MONTH)
    written = (demo.home.reports / f"{MONTH}.html").read_bytes()
    assert render(build(freeze, analyse_freeze(freeze))).encode() == written


def test_agents_and_customers_are_never_pooled(demo: Demo) -> None:
    reader = SqliteReader(demo.home.store)
    _, rows = reader.query("SELECT survey_question, count(DISTINCT respondent) FROM version_answers GROUP BY 1")
    assert rows
    assert {n for _, n in rows} == {1}
    ((agents,),) = reader.query("SELECT count(*) FROM attributions WHERE respondent = 'agent' AND model_id <> ''")[1]
    assert agents > 100, "agents' answers are matched by their courier"
    reader.close()


def test_every_home_file_is_private(demo: Demo) -> None:
    for path in (demo.home.path / "keys").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    assert Path(demo.home.path).stat().st_mode & 0o077 == 0

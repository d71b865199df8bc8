"""One world for a person to read: parameters, truth, rows, words, and where they contradict each other."""

from __future__ import annotations

from benchmarks.verdicts import hold, pipe
from benchmarks.verdicts.truth import truths
from benchmarks.verdicts.worlds import World, draw


def shown(number: int) -> str:
    """The world of that number, drawn and run."""
    world = draw(number)
    lines = [*_drawn(world), "", "TRUE"]
    lines += [f"  {t.words()}" for t in truths(world)]
    told = pipe.told(world)
    lines += ["", "ROWS (deciding stage first: effect ± SE, 95 %, p; deciding interval, adjusted p, by)"]
    for e in told.estimates:
        if e["dimension"] == "all":
            lines.append(_row(e))
    lines += ["", "CHECKS"]
    lines += [
        f"  {c['state']:<7} {c['change_id']} stage {c['stage']} {c['check']}: {_n(c['value'])} p {_n(c['p'])}"
        for c in told.checks
        if c["state"] != "ok"
    ]
    lines += ["", "PAGE"]
    findings = told.record["findings"]
    lines.append(f"  {findings['title']}")
    for d in findings["decisions"]:
        lines += [f"  DECISION {d['verdict']}: {d['action']}", f"    why: {d['why']}", f"    sure: {d['sure']}",
                  f"    waiting: {d['waiting']}"]  # fmt: skip
    for c in findings["changes"]:
        lines += [f"  CHANGE {c['change_id']}: {c['verdict']} ({c['grade']})", f"    {c['design']}",
                  f"    {c['summary']}", *(f"    note: {n}" for n in c["notes"])]  # fmt: skip
        for e in c["effects"]:
            lines.append(
                f"    {e['role']:<9} {e['metric']}: {e['control']} → {e['treated']}, {e['difference']} "
                f"({e['between']}) {e['words']} [{e['direction']}] {e['guard']} {'; '.join(e['notes'])}"
            )
    lines += ["", "CONTRADICTIONS"]
    lines += [f"  {c.kind}: {c.change} {c.what}" for c in hold.contradictions(world, told)] or ["  none"]
    return "\n".join(lines)


def _drawn(world: World) -> list[str]:
    quirks = ", ".join(sorted(world.quirks)) or "none"
    lines = [
        f"WORLD {world.number}: {world.design}",
        f"  {world.crowd.told}",
        f"  planned units {world.plan}, history {world.history:.0%}, further exposures {world.more}, quirks: {quirks}",
    ]
    for m in world.metrics:
        figures = [f"{m.kind.figure(level):.5g}" for level in m.levels]
        sample = world.samples[0][m.name]
        lines.append(
            f"  {m.role:<9} {m.name} ({m.source}{', headline' if m.headline else ''}, {'up' if m.up else 'down'} is "
            f"better, {m.window_us / 3.6e9:g} h): {' / '.join(figures)}; margin {_n(m.margin)}, practical "
            f"{_n(m.practical)}, answers {m.answer:.0%}, rows {sample.arms[0].rows:.0f} and {sample.arms[1].rows:.0f}, "
            f"between {m.between}, shock {m.shock}"
        )
    lines += [f"  {version}: {found}" for version, found in zip(world.crowd.versions[1:], world.effects, strict=True)]
    return lines


def _row(e: dict[str, object]) -> str:
    of = f"{e['change_id']} stage {e['stage']} {e['metric']} [{e['estimator']}, {e['grade']}]"
    levels = f"n {e['n_control']}/{e['n_treated']}: {_n(e['control'])} → {_n(e['treated'])}"
    effect = f"{_n(e['effect'])} ± {_n(e['se'])} ({_n(e['effect_low'])} to {_n(e['effect_high'])}), p {_n(e['p'])}"
    decides = f"{_n(e['decision_low'])} to {_n(e['decision_high'])}, {_n(e['p_adjusted'])}, {e['decided_by']}"
    mark = "*" if e["verdict"] is not None else " "
    return f"  {mark} {of} {levels}, {effect}; {decides}\n      {e['reason']}"


def _n(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

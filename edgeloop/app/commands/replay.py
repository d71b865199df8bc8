"""The command that moves a log: out of one home, into another."""

from __future__ import annotations

from pathlib import Path

from edgeloop.app.commands.base import DONE, NEEDS_A_PERSON, Common, InputFile, app
from edgeloop.app.output import counted, print_json, progress_bars, say, say_problems
from edgeloop.errors import UsageError


@app.command
def replay(
    *files: InputFile,
    export: Path | None = None,
    topic: str | None = None,
    since: str | None = None,
    until: str | None = None,
    common: Common = Common(),
) -> int:
    """Append records in log form (NDJSON, gzip too) to the log; or, with --export, write the log to such a file.

    The keys are not in the file: copy the folder keys/ of the old home into the new one first.

    Parameters
    ----------
    files
        Files that `--export` wrote, or values dumped from Kafka, one a line; `-` is standard input.
    export
        Write this home's log to a new file instead; gzip where the name ends in .gz.
    topic
        With --export: only this topic.
    since
        With --export: only what the log took from then on; a date (UTC), or a time with its zone.
    until
        With --export: only what the log took before then.
    """
    if export is not None:
        if files:
            raise UsageError("either files to append, or --export FILE")
        return _export(export, topic, since, until, common)
    if not files:
        raise UsageError("name at least one file, - for standard input, or --export FILE")
    if topic or since or until:
        raise UsageError("--topic, --since and --until belong to --export FILE")
    from edgeloop.app.replay import replay_files

    home, settings = common.open()
    with progress_bars() as bar:
        report = replay_files(home, settings, files, bar("reading"))
    if common.json:
        print_json([report])
    say(
        f"appended: {counted(report.appended, 'record')}"
        + (f"; {counted(report.dead_letters, 'dead letter')}" if report.dead_letters else "")
    )
    say_problems(report.problems, report.dead_letters, "what could not be appended")
    return NEEDS_A_PERSON if report.dead_letters else DONE


def _export(path: Path, topic: str | None, since: str | None, until: str | None, common: Common) -> int:
    from edgeloop.app.export import export_log

    home, settings = common.open()
    with progress_bars() as bar:
        done = export_log(home, settings, path, topic=topic, since=since, until=until, progress=bar("records"))
    print_json([done]) if common.json else print(path)
    say(f"written: {counted(done.records, 'record')}")
    if done.before_the_log:
        say(f"{done.before_the_log:,} older records are not in the log any more, so they are not in the file")
    say(f"the keys are not in it: copy {home.keys} to the new home before `edgeloop replay`, and keep both from others")
    return DONE

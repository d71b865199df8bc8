"""Commands for Kafka's topics."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from edgeloop.app.commands.base import DONE, NEEDS_A_PERSON, Common, Flag, app
from edgeloop.app.output import print_json, print_rows, say

topics_app = App(name="topics", help="Kafka's topics: check them, make the missing ones. Nothing is ever deleted.")
app.command(topics_app)


@topics_app.default
@topics_app.command(name="check")
def topics_check(*, common: Common = Common()) -> int:
    """Check every topic against what is needed; changes nothing."""
    from edgeloop.app.topics import check_topics

    _, settings = common.open()
    findings = check_topics(settings)
    if common.json:
        print_json(findings)
    else:
        rows = [(found.state, found.check, found.what, found.do) for found in findings]
        print_rows(("state", "topic", "what", "what to do"), rows, as_json=False)
    return NEEDS_A_PERSON if any(found.state == "fail" for found in findings) else DONE


@topics_app.command(name="create")
def topics_create(
    *,
    partitions: Annotated[int | None, Parameter(show_default=False)] = None,
    backfill: Annotated[bool, Flag, Parameter(show_default=False)] = False,
    common: Common = Common(),
) -> int:
    """Make the topics that are missing; those that are there stay as they are, unless they are to grow.

    Parameters
    ----------
    partitions
        Of each topic; one that has fewer grows to it. A power of two is the fastest.
    backfill
        Topics for backfilled events too, which wait behind those of today.
    """
    from edgeloop.app.topics import create_topics

    _, settings = common.open()
    made = create_topics(settings, partitions=partitions, backfill=backfill)
    if common.json:
        print_json(made)
    else:
        print_rows(
            ("topic", "did", "partitions"), [(one.topic, one.did, one.partitions) for one in made], as_json=False
        )
    if any(one.did.startswith("grew") for one in made):
        say(
            "a customer's later events may now lie in another partition than the earlier ones: the tables come out the "
            "same. Producers see the new partitions within some minutes, and workers share them without a restart"
        )
    if partitions is not None and any(one.partitions > partitions for one in made):
        say(f"topics with more than {partitions} partitions keep them: partitions are never taken away")
    return DONE


@topics_app.command(name="skip")
def topics_skip(
    place: Annotated[str, Parameter(name="TOPIC/PARTITION")],
    /,
    *,
    to: int,
    yes: Annotated[bool, Flag, Parameter(show_default=False)] = False,
    common: Common = Common(),
) -> int:
    """Accept that records were deleted before a worker drained them, and let workers go on behind them.

    Parameters
    ----------
    place
        The partition, such as edge.exposures/0.
    to
        The offset to go on from: the first that the topic still has, as the worker's error says it.
    yes
        The records cannot be brought back, and the tables shall go on without them.
    """
    from edgeloop.app.topics_skip import skip

    home, settings = common.open()
    done = skip(home, settings, place, to, accepted=yes)
    print_json([done]) if common.json else print(done.says)
    return DONE

"""Commands of running Edgeloop: everything in one process, and what is wrong with a home."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from edgeloop.app.commands.base import DONE, FAILED, NEEDS_A_PERSON, Common, a_port, app
from edgeloop.app.output import print_json, print_rows
from edgeloop.errors import UsageError
from edgeloop.home import Home


@app.command
def up(
    *,
    host: Annotated[str | None, Parameter(help="Address to listen on.")] = None,
    port: Annotated[int | None, Parameter(validator=a_port, help="Port to listen on; 0 takes a free one.")] = None,
    common: Common = Common(),
) -> int:
    """Run it all in one process: the door, the worker behind it, and the report of each month when it is over."""
    from edgeloop.app.up import up as run

    home, settings = common.open()
    home.refuse_simulated()
    if settings.kafka.bootstrap:
        raise UsageError(
            "`edgeloop up` is for the local log, and [kafka] bootstrap is set: run `edgeloop serve` and "
            "`edgeloop worker`, each as often as you like, or take EDGELOOP_KAFKA_BOOTSTRAP away"
        )
    if settings.store.url:
        raise UsageError(
            "`edgeloop up` keeps its tables in the home, and [store] url is set: run `edgeloop serve`, and `edgeloop "
            "process` as often as the tables shall be new, or take EDGELOOP_STORE_URL away"
        )
    stopped = run(home, settings, host or settings.door.host, settings.door.port if port is None else port)
    return DONE if stopped else FAILED


@app.command
def worker(
    *,
    host: Annotated[str | None, Parameter(help="Address of /livez, /readyz and /metrics.")] = None,
    port: Annotated[int | None, Parameter(validator=a_port, help="Port of the same.")] = None,
    common: Common = Common(),
) -> int:
    """Join Kafka's streams into the tables, beside as many other workers as there are partitions."""
    from edgeloop.app.faust_worker import work

    home, settings = common.open()
    home.refuse_simulated()
    ended_well = work(home, settings, host or settings.worker.host, settings.worker.port if port is None else port)
    return DONE if ended_well else FAILED


@app.command
def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
    """Print what makes a shell complete commands and flags.

    bash: `source <(edgeloop completion bash)` in ~/.bashrc. zsh: into a file `_edgeloop` on $fpath. fish: into
    ~/.config/fish/completions/edgeloop.fish.

    Parameters
    ----------
    shell
        Which shell.
    """
    print(app.generate_completion(shell=shell), end="")
    return DONE


@app.command
def doctor(*, common: Common = Common()) -> int:
    """Check this home and say what to do about what is wrong; changes nothing."""
    from edgeloop.app.doctor import examine

    findings = examine(Home(common.home))
    if common.json:
        print_json(findings)
    else:
        rows = [(found.state, found.check, found.what, found.do) for found in findings]
        print_rows(("state", "check", "what", "what to do"), rows, as_json=False)
    return NEEDS_A_PERSON if any(finding.state == "fail" for finding in findings) else DONE

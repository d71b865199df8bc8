"""The command line. Data on stdout, words on stderr; exit 0 done, 1 failed, 2 wrong use, 3 done but needs a person."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import apsw
from cyclopts import CycloptsError

from edgeloop.app.commands import DONE, FAILED, WRONG_USE, app
from edgeloop.app.output import say
from edgeloop.errors import EdgeloopError
from edgeloop.log.base import LogUnavailableError
from edgeloop.store.base import StoreUnavailableError

_GO_ON = {
    "ingest": "What was read so far is taken in; run the same command again for the rest: nothing counts twice",
    "process": "What was drained so far is in the tables; run it again for the rest",
    "dead-letters": "What was sent so far is taken in; run the same command again for the rest: nothing counts twice",
}
"""How somebody goes on who stopped a command, by the command."""


def run(tokens: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    arguments = list(sys.argv[1:] if tokens is None else tokens)
    debug = "--debug" in arguments or bool(os.environ.get("EDGELOOP_DEBUG"))
    try:
        result: Any = app(arguments, exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except EdgeloopError as error:
        return _failed(error, debug, str(error), error.exit_code)
    except (LogUnavailableError, StoreUnavailableError) as error:
        return _failed(error, debug, f"{error}{'' if str(error).endswith('?') else '.'} Try again", FAILED)
    except CycloptsError as error:
        return _failed(error, debug, f"{error} See `edgeloop --help`.", WRONG_USE)
    except KeyboardInterrupt:
        say(f"edgeloop: stopped. {_GO_ON.get(next(iter(arguments), ''), 'Run it again to go on')}")
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`edgeloop sql … | head`): nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        return _failed(error, debug, f"{error.filename or 'the system'}: {error.strerror}", FAILED)
    except (apsw.FullError, apsw.ReadOnlyError, apsw.IOError, apsw.CantOpenError) as error:
        sentence = f"a database of the home cannot be used: {error}. Is its disk full, or may it only be read?"
        return _failed(error, debug, sentence, FAILED)
    except Exception as error:  # the last resort: a person gets a sentence, --debug gets the traceback
        return _failed(
            error, debug, f"unexpected {type(error).__name__}: {error}. Run again with --debug and report it", FAILED
        )
    return result if isinstance(result, int) else DONE


def _failed(error: BaseException, debug: bool, text: str, code: int) -> int:
    if debug:
        traceback.print_exception(error)
    say(f"edgeloop: {text}")
    return code

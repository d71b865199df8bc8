"""The month's report as PDF, printed by a Chromium that is there already: no network, a profile of its own.

Other than the page's, the bytes are the browser's and differ from one printing to the next.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from edgeloop.app.report_files import PDF, replace_file
from edgeloop.errors import EdgeloopError
from edgeloop.settings import PublishSettings

NAMES = (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge",
    "microsoft-edge-stable",
)  # fmt: skip
_PRINT_S = 90.0
_FLAGS = (
    "--headless",
    "--no-pdf-header-footer",
    "--disable-gpu",
    "--disable-dev-shm-usage",  # containers have little of it
    "--no-first-run",
    "--disable-extensions",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    # No name is looked up, and what needs none meets a proxy that nobody runs.
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--proxy-server=http://127.0.0.1:9",
    "--proxy-bypass-list=<-loopback>",
)


class NoBrowserError(EdgeloopError):
    """There is no Chromium here."""


def browser(own: PublishSettings) -> str:
    """The program that prints.

    Raises:
        NoBrowserError: there is none.
    """
    names = (own.chromium,) if own.chromium else NAMES
    for name in names:
        found = shutil.which(name)
        if found is not None:
            return found
    if own.chromium:
        raise NoBrowserError(f"[publish] chromium = {own.chromium!r} is no program that can be run: no PDF was printed")
    raise NoBrowserError(
        "no Chromium is on the PATH, so no PDF was printed: install it (Debian: the package chromium), or name one in "
        "[publish] chromium"
    )


def print_pdf(page: Path, own: PublishSettings, *, within_s: float = _PRINT_S) -> Path:
    """Print a page into a PDF beside it, on the paper that its style names; the PDF's path.

    Raises:
        NoBrowserError: there is no Chromium. EdgeloopError: it did not print, or took too long.
    """
    program = browser(own)
    with tempfile.TemporaryDirectory(prefix="edgeloop-pdf-", ignore_cleanup_errors=True) as folder:
        printed = Path(folder) / "page.pdf"
        command = [program, *_FLAGS, f"--user-data-dir={folder}/profile", f"--print-to-pdf={printed}"]
        if os.geteuid() == 0:  # its sandbox refuses root, as in most containers
            command.append("--no-sandbox")
        _run([*command, page.resolve().as_uri()], folder, within_s)
        content = printed.read_bytes() if printed.exists() else b""
    if not content.startswith(b"%PDF-"):
        raise EdgeloopError(
            f"{program} printed nothing of {page}: try it by hand with --print-to-pdf. The page is whole"
        )
    path = page.with_name(page.name.removesuffix(page.suffix) + PDF)
    replace_file(path, content)
    return path


def _run(command: list[str], folder: str, within_s: float) -> None:
    environ = {"PATH": os.environ.get("PATH", os.defpath), "HOME": folder, "LANG": "C.UTF-8"}
    try:
        process = subprocess.Popen(  # noqa: S603 -- a program of the settings or the PATH
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=environ, cwd=folder, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise EdgeloopError(f"{command[0]} cannot be started: {error.strerror}. No PDF was printed") from error
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired as error:
        raise EdgeloopError(
            f"{command[0]} did not print within {within_s:g} s and was ended. The page is whole; print it by hand"
        ) from error
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with its children, of which none may stay
        process.wait()

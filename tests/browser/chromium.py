"""A real Chromium without a screen: it opens one page and stays on it until it is closed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.redis_server import require_binary

HOW_TO_GET_IT = "no chromium: run scripts/get_chromium.sh as root, or install Chromium"
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    # It is to talk to the pages of the test and to nobody else.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A shopper's: that of a headless browser is taken for a bot's, and left out.
    "--user-agent=Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0",
    "--remote-debugging-port=0",  # nobody connects; without it a page is closed once it has loaded
)


def find_chromium() -> str:
    """Its path. Without one the test is skipped, in CI it fails."""
    return require_binary(next(filter(None, map(shutil.which, NAMES)), None), HOW_TO_GET_IT)


@contextmanager
def on_page(url: str) -> Iterator[Path]:
    """A shopper's browser on this page, with cookies of its own; yields the file with what it had to say."""
    with tempfile.TemporaryDirectory(prefix="convey-chromium-", ignore_cleanup_errors=True) as folder:
        said = Path(folder) / "chromium.log"
        # Root has no sandbox there; the pages are the test's own.
        flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else []), f"--user-data-dir={folder}/profile"]
        with said.open("wb") as log:
            process = subprocess.Popen([find_chromium(), *flags, url], stdout=log, stderr=log)
        try:
            yield said
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

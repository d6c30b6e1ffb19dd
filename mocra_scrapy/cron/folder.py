"""``MOCRA_CRON_DIR``: making it, and the kernel's locks on its files."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path
from typing import Any

from mocra_scrapy.exceptions import ConfigurationError


def locked(lock: Any, how: int = fcntl.LOCK_EX, tries: int = 5) -> bool:
    """Whether the lock could be had. Whoever looks for a runner holds it for a moment: try again."""
    for last in (*[False] * (tries - 1), True):
        try:
            fcntl.flock(lock, how | fcntl.LOCK_NB)
        except OSError:
            if not last:
                time.sleep(0.02)
        else:
            return True
    return False


def make_usable(folder: Path) -> None:
    """Make *folder*, for state and logs.

    Raises:
        ConfigurationError: it can't be made, or not be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise unusable(folder, error) from error


def unusable(folder: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"MOCRA_CRON_DIR = {folder}",
        f"it can't be used: {error.strerror}",
        "Name a folder that this user may write to",
    )

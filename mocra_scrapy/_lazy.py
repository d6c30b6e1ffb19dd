"""Packages that show what their modules hold, and import a module when somebody first asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazily(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` of *package* (PEP 562).

    Args:
        package: its name, ``__name__`` there.
        homes: module of it -> the names that it gives, with blanks between them.

    What annotations alone name (``if TYPE_CHECKING``) is then not imported at a worker's start: a dataclass
    costs half a millisecond, and there are two hundred.
    """
    home_of = {name: module for module, names in homes.items() for name in names.split()}

    def __getattr__(name: str) -> Any:  # noqa: N807 - it becomes the module's
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{home_of[name]}"), name)
        vars(import_module(package))[name] = value  # asked once
        return value

    return __getattr__

"""Makes ``crewai`` and its public submodules importable: a finder on ``sys.meta_path``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from quarterdeck.compat.names import FACADES, LEFT_OUT, SAME, home, left_out, resolve
from quarterdeck.errors import ConfigError

ROOTS = ("crewai", "crewai_tools")


class Facade(ModuleType):
    """A module of CrewAI whose names live in several of ours. Each is looked up when it is first used."""

    def __getattr__(self, name: str) -> Any:
        where = self.__name__
        if reason := left_out(where, name):
            raise ImportError(f"{where}.{name}: {reason}", name=where)
        if f"{where}.{name}" in SAME or f"{where}.{name}" in FACADES:
            return importlib.import_module(f"{where}.{name}")
        target = home(where, name)
        if target is None:
            raise AttributeError(f"module {where!r}, as Quarterdeck has it, has no {name!r}")
        value = resolve(target)
        setattr(self, name, value)
        return value

    def __dir__(self) -> list[str]:
        return sorted(FACADES[self.__name__])


class Finder(MetaPathFinder, Loader):
    """Finds every ``crewai`` module, and no other; none of them is ever looked for on disk."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a module of CrewAI.

        Raises:
            ModuleNotFoundError: It is one that Quarterdeck leaves out, or has none for.
        """
        if fullname.partition(".")[0] not in ROOTS:
            return None
        if fullname in SAME:
            ours = importlib.util.find_spec(f"quarterdeck.{SAME[fullname]}")
            return ModuleSpec(
                fullname, self, is_package=ours is not None and ours.submodule_search_locations is not None
            )
        if fullname in FACADES:
            return ModuleSpec(fullname, self, is_package=True)
        prefixes = [prefix for prefix in LEFT_OUT if fullname == prefix or fullname.startswith(f"{prefix}.")]
        reason = LEFT_OUT[prefixes[0]] if prefixes else "Quarterdeck has nothing under this name"
        raise ModuleNotFoundError(f"{fullname}: {reason}", name=fullname)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Our module of that name, or a facade of names from several."""
        if spec.name in SAME:
            module = importlib.import_module(f"quarterdeck.{SAME[spec.name]}")
            spec.loader_state = module.__spec__
            return module
        return Facade(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Gives a module that has two names its own spec back, which the import system has just replaced."""
        spec = module.__spec__
        if spec is not None and spec.name in SAME:
            module.__spec__ = spec.loader_state
        elif isinstance(module, Facade):
            module.__all__ = sorted(FACADES[module.__name__])  # pyright: ignore[reportAttributeAccessIssue]


def install() -> None:
    """Puts the finder first; a second time does nothing.

    Raises:
        ConfigError: The real package has been imported already.
    """
    if any(isinstance(finder, Finder) for finder in sys.meta_path):
        return
    loaded = [root for root in ROOTS if root in sys.modules]
    if loaded:
        raise ConfigError(f"{loaded[0]} has been imported already: import quarterdeck.compat before it")
    sys.meta_path.insert(0, Finder())

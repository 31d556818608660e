"""Importing users' modules and files, each from its own folder."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Generator
from pathlib import Path
from types import ModuleType

from quarterdeck.errors import ConfigError


def import_module(name: str, base: Path, target: str) -> ModuleType:
    """Imports a module, first from a folder and its ``src``.

    Raises:
        ConfigError: There is no such module, or its import failed.
    """
    try:
        with first_on_path(base), first_on_path(base / "src"):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigError(f"target {target!r}: there is no module {name!r} in {base} or the environment") from None
        raise ConfigError(f"target {target!r}: its import needs {error.name!r}, {_way_out(error.name)}") from error
    except Exception as error:
        raise ConfigError(f"target {target!r}: its import failed: {type(error).__name__}: {error}") from error


def _way_out(module: str | None) -> str:
    if module and module.partition(".")[0] in ("crewai", "crewai_tools"):
        return (
            "which is not installed: 'quarterdeck run --compat' answers it, 'quarterdeck migrate' rewrites the imports"
        )
    return "which is not installed"


def import_file(path: Path) -> ModuleType:
    """Imports a file under a name of its own, so that two files of one name can be served side by side.

    Modules beside it that it imports are its own too: they are forgotten afterwards, and another version with modules
    of the same names gets those of its own folder. In a package, the package's other modules are found too.

    Raises:
        ConfigError: Its import failed.
    """
    path = path.resolve()
    name = f"quarterdeck_target_{hashlib.blake2b(str(path).encode(), digest_size=6).hexdigest()}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with first_on_path(_root(path.parent)), first_on_path(path.parent), _forgetting(path.parent):
            spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        del sys.modules[name]
        raise ConfigError(f"{path}: its import needs {error.name!r}, {_way_out(error.name)}") from error
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(f"{path}: its import failed: {type(error).__name__}: {error}") from error
    return module


def _root(folder: Path) -> Path:
    """The folder that a package is in."""
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


@contextlib.contextmanager
def first_on_path(folder: Path) -> Generator[None]:
    """Lets imports look into a folder first."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(folder))


@contextlib.contextmanager
def _forgetting(folder: Path) -> Generator[None]:
    before = set(sys.modules)
    try:
        yield
    finally:
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            beside = file and Path(file).is_relative_to(folder) and "site-packages" not in Path(file).parts
            if beside and not name.startswith("quarterdeck_target_"):
                del sys.modules[name]

"""``@persist``: a flow's state is saved after its methods, to be restored by its id or forked."""

from __future__ import annotations

import abc
import contextlib
import json
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from quarterdeck.errors import ConfigError, JournalError
from quarterdeck.flow.decorators import marked

if TYPE_CHECKING:
    import sqlite3

C = TypeVar("C")

DEFAULT_PATH = ".quarterdeck/flow_states.db"
"""Where states are kept by default, relative to the current folder."""


class FlowPersistence(abc.ABC):
    """Where states of flows are kept (CrewAI: ``FlowPersistence``). Its methods are called in worker threads."""

    def init_db(self) -> None:  # noqa: B027 - there may be nothing to do
        """Makes what is needed; called when it is first used."""

    @abc.abstractmethod
    def save_state(self, flow_uuid: str, method_name: str, state_data: dict[str, Any]) -> None:
        """Keeps a state, which is JSON, after a method."""

    @abc.abstractmethod
    def load_state(self, flow_uuid: str) -> dict[str, Any] | None:
        """The state that was kept last under an id; None where there is none."""

    def save_pending_feedback(self, flow_uuid: str, context: dict[str, Any], state_data: dict[str, Any]) -> None:
        """Keeps a question to a person, with what the flow needs to go on."""
        del flow_uuid, context, state_data
        raise ConfigError(f"{type(self).__name__} keeps no questions: it has no save_pending_feedback")

    def load_pending_feedback(self, flow_uuid: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The state and the question that were kept; None where there are none."""
        del flow_uuid
        return None

    def clear_pending_feedback(self, flow_uuid: str) -> None:  # noqa: B027 - there may be none
        """Forgets a question that is answered."""


_TABLES = """
CREATE TABLE IF NOT EXISTS flow_states (
    id INTEGER PRIMARY KEY AUTOINCREMENT, flow_uuid TEXT NOT NULL, method_name TEXT NOT NULL,
    timestamp REAL NOT NULL, state_json TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS idx_flow_states_uuid ON flow_states (flow_uuid, id);
CREATE TABLE IF NOT EXISTS pending_feedback (
    flow_uuid TEXT PRIMARY KEY, context_json TEXT NOT NULL, state_json TEXT NOT NULL, created_at REAL NOT NULL);
"""


class SQLiteFlowPersistence(FlowPersistence):
    """States in an SQLite file (CrewAI: ``SQLiteFlowPersistence``).

    Args:
        db_path: The file; made where there is none. Default ``.quarterdeck/flow_states.db``.

    Raises:
        JournalError: The file cannot be read or written.
    """

    def __init__(self, db_path: str | Path | None = None) -> None:
        self.db_path = str(db_path or DEFAULT_PATH)
        self._is_made = False

    def init_db(self) -> None:
        """Makes the file and its tables."""
        try:
            Path(self.db_path).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JournalError(f"flow states: {self.db_path!r} cannot be made: {error}") from None
        self._is_made = True
        with self._connect() as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.executescript(_TABLES)

    @contextlib.contextmanager
    def _connect(self) -> Generator[sqlite3.Connection]:
        import sqlite3  # takes longer to load than most programs need

        if not self._is_made:
            self.init_db()
        try:
            database = sqlite3.connect(self.db_path, timeout=30)
            try:
                with database:
                    yield database
            finally:
                database.close()
        except sqlite3.Error as error:
            raise JournalError(f"flow states: {self.db_path!r} cannot be used: {error}") from error

    def save_state(self, flow_uuid: str, method_name: str, state_data: dict[str, Any]) -> None:
        """Keeps a state after a method."""
        row = (flow_uuid, method_name, time.time(), json.dumps(state_data))
        with self._connect() as database:
            database.execute(
                "INSERT INTO flow_states (flow_uuid, method_name, timestamp, state_json) VALUES (?, ?, ?, ?)", row
            )

    def load_state(self, flow_uuid: str) -> dict[str, Any] | None:
        """The state that was kept last under an id."""
        with self._connect() as database:
            query = "SELECT state_json FROM flow_states WHERE flow_uuid = ? ORDER BY id DESC LIMIT 1"
            row = database.execute(query, (flow_uuid,)).fetchone()
        return json.loads(row[0]) if row else None

    def save_pending_feedback(self, flow_uuid: str, context: dict[str, Any], state_data: dict[str, Any]) -> None:
        """Keeps a question to a person, and the state with it."""
        self.save_state(flow_uuid, str(context.get("method_name", "")), state_data)
        row = (flow_uuid, json.dumps(context), json.dumps(state_data), time.time())
        with self._connect() as database:
            database.execute("INSERT OR REPLACE INTO pending_feedback VALUES (?, ?, ?, ?)", row)

    def load_pending_feedback(self, flow_uuid: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The state and the question that were kept."""
        with self._connect() as database:
            query = "SELECT state_json, context_json FROM pending_feedback WHERE flow_uuid = ?"
            row = database.execute(query, (flow_uuid,)).fetchone()
        return (json.loads(row[0]), json.loads(row[1])) if row else None

    def clear_pending_feedback(self, flow_uuid: str) -> None:
        """Forgets a question that is answered."""
        with self._connect() as database:
            database.execute("DELETE FROM pending_feedback WHERE flow_uuid = ?", (flow_uuid,))


_factory: list[Callable[[], FlowPersistence]] = [SQLiteFlowPersistence]


def set_flow_persistence_factory(factory: Callable[[], FlowPersistence] | None) -> None:
    """What makes the persistence of flows that name none (CrewAI: ``set_flow_persistence_factory``).

    Args:
        factory: Called once for each flow class; None: ``SQLiteFlowPersistence``.
    """
    _factory[0] = factory or SQLiteFlowPersistence


def default_persistence() -> FlowPersistence:
    """A persistence where none is named."""
    return _factory[0]()


@dataclass(slots=True)
class Persisting:
    """That a flow's state is saved after each of its methods.

    Args:
        persistence: Where; None: in the default place.
        verbose: Whether each time is logged.
    """

    persistence: FlowPersistence | None = None
    verbose: bool = False

    def store(self) -> FlowPersistence:
        """Where the state is saved."""
        if self.persistence is None:
            self.persistence = default_persistence()
        return self.persistence


@overload
def persist(persistence: type[C], verbose: bool = False) -> type[C]: ...


@overload
def persist(persistence: FlowPersistence | None = None, verbose: bool = False) -> Callable[[C], C]: ...


@overload
def persist(persistence: Callable[..., Any], verbose: bool = False) -> Any: ...


def persist(persistence: Any = None, verbose: bool = False) -> Any:
    """Saves a flow's state: on a class after each method, on a method after that one (CrewAI: ``persist``).

    ``kickoff(inputs={"id": ...})`` goes on with a state under its id; ``kickoff(restore_from_state_id=...)`` begins
    with it under a new one.

    Args:
        persistence: Where; None: ``SQLiteFlowPersistence()``.
        verbose: Whether each time is logged.

    Raises:
        ConfigError: ``persistence`` is no ``FlowPersistence``.
    """
    if persistence is None or isinstance(persistence, FlowPersistence):
        return partial(_mark, Persisting(persistence, verbose))
    given: Any = persistence
    if isinstance(given, type) and issubclass(given, FlowPersistence):
        raise ConfigError(f"@persist takes an object: write {given.__name__}()")
    if callable(cast("Any", given)):  # without brackets
        return _mark(Persisting(), given)
    raise ConfigError(f"@persist takes a FlowPersistence, got {given!r}")


def _mark(persisting: Persisting, target: Any) -> Any:
    if isinstance(target, type):
        target.persisting = persisting  # pyright: ignore[reportAttributeAccessIssue]
    else:
        marked(target, "persist").persisting = persisting
    return target

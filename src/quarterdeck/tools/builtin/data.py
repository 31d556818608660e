"""QueryData: SQL over CSV and JSON files."""

from __future__ import annotations

import asyncio
import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from quarterdeck.concurrency import call_in_thread
from quarterdeck.errors import ConfigError, ToolError
from quarterdeck.tools.builtin.files import FileTool

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_READERS = {
    ".csv": "read_csv",
    ".tsv": "read_csv",
    ".json": "read_json",
    ".jsonl": "read_json",
    ".ndjson": "read_json",
}


class QueryData(FileTool):
    """Answers SQL queries over CSV and JSON files within ``root``, with DuckDB (extra ``data``).

    Each call reads the named files into tables in memory; then DuckDB is cut off from files, network and extensions,
    its settings are locked, and one SELECT is run. Nothing is written.

    Args:
        root: The directory; it must exist.
        max_bytes: The most that one file may hold.
        max_rows: The most rows that are given back.
        max_memory: The most memory that one query may use, as DuckDB writes it.
        timeout: Time limit of one call in seconds; the query is then interrupted.

    Raises:
        ConfigError: DuckDB is not installed.
    """

    name: str = "query_data"
    description: str = (
        "Runs one SQL SELECT (DuckDB) over CSV or JSON files. Each file is a table with the file's name without its "
        "ending: sales.csv is the table sales."
    )
    timeout: float | None = 60.0
    max_bytes: int = Field(default=50_000_000, gt=0)
    max_rows: int = Field(default=100, gt=0)
    max_memory: str = Field(default="512MB", pattern=r"^\d+(\.\d+)? ?[KMGT]i?B$")

    def __init__(self, /, **data: Any) -> None:
        if importlib.util.find_spec("duckdb") is None:
            raise ConfigError("QueryData needs DuckDB: pip install 'quarterdeck[data]'")
        super().__init__(**data)

    async def _arun(self, sql: str, files: list[str]) -> dict[str, Any]:
        """Queries.

        Args:
            sql: One SELECT statement.
            files: The files that it reads.
        """
        query = _Query(sql, self._tables(files), self.max_rows, self.max_memory)
        try:
            return await call_in_thread(query.run)
        except asyncio.CancelledError:
            query.stop()
            raise

    def _tables(self, files: list[str]) -> dict[str, Path]:
        if not files:
            raise ToolError("Name the files that the query reads.")
        tables: dict[str, Path] = {}
        for file in files:
            path = self.locate_file(file)
            if path.suffix.lower() not in _READERS:
                raise ToolError(f"{file!r} is not one of {', '.join(_READERS)}.")
            if (size := path.stat().st_size) > self.max_bytes:
                raise ToolError(f"{file!r} has {size:,} bytes; the limit is {self.max_bytes:,}.")
            name = re.sub(r"\W", "_", path.stem)
            if tables.setdefault(name, path) != path:
                raise ToolError(f"{file!r} and {tables[name].name!r} would both be the table {name}.")
        return tables


class _Query:
    """One query in a database of its own, which another thread can stop."""

    def __init__(self, sql: str, tables: dict[str, Path], max_rows: int, max_memory: str) -> None:
        self._sql = sql
        self._tables = tables
        self._max_rows = max_rows
        self._max_memory = max_memory
        self._connection: DuckDBPyConnection | None = None
        self._stopped = False

    def stop(self) -> None:
        """Interrupts the query, or keeps it from being begun."""
        self._stopped = True
        if self._connection is not None:
            self._connection.interrupt()

    def run(self) -> dict[str, Any]:
        """Makes the database, reads the files into it, and gives the query's columns and rows."""
        import duckdb

        with duckdb.connect(
            ":memory:",
            config={
                "max_memory": self._max_memory,
                "threads": 2,
                "temp_directory": "",  # a query that needs more memory fails; it does not fill the disk
                "python_enable_replacements": False,
                "autoinstall_known_extensions": False,
            },
        ) as connection:
            self._connection = connection
            try:
                self._load(connection)
                return self._select(connection)
            except duckdb.Error as error:
                raise ToolError(f"{str(error)[:500]}\nThe tables are: {self._described(connection)}") from error

    def _load(self, connection: DuckDBPyConnection) -> None:
        for name, path in self._tables.items():
            self._check()
            reader = _READERS[path.suffix.lower()]
            connection.execute(f'CREATE TABLE "{name}" AS SELECT * FROM {reader}(?)', [str(path)])
        for setting in ("enable_external_access=false", "lock_configuration=true"):
            connection.execute(f"SET {setting}")

    def _select(self, connection: DuckDBPyConnection) -> dict[str, Any]:
        from duckdb import StatementType

        statements = connection.extract_statements(self._sql)
        if len(statements) != 1 or statements[0].type != StatementType.SELECT:
            raise ToolError("Give exactly one SELECT statement.")
        self._check()
        connection.execute(statements[0])
        columns = [column[0] for column in connection.description or ()]
        rows = connection.fetchmany(self._max_rows + 1)
        result: dict[str, Any] = {"columns": columns, "rows": rows[: self._max_rows]}
        if len(rows) > self._max_rows:
            result["note"] = f"only the first {self._max_rows} rows; use LIMIT, WHERE or GROUP BY"
        return result

    def _check(self) -> None:
        if self._stopped:
            raise ToolError("The query was stopped.")

    def _described(self, connection: DuckDBPyConnection) -> str:
        rows = connection.execute(
            "SELECT table_name, string_agg(column_name || ' ' || data_type, ', ') "
            "FROM information_schema.columns GROUP BY table_name"
        ).fetchall()
        known = {str(name): str(columns) for name, columns in rows}
        return "; ".join(f"{name}({known.get(name, 'could not be read')})" for name in self._tables)

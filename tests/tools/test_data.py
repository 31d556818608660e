"""QueryData: SQL over files, and over nothing else."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from quarterdeck.tools import QueryData


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "root"
    directory.mkdir()
    (directory / "sales.csv").write_text("id,city,amount,day\n1,Delft,10.5,2026-01-02\n2,Gouda,4,2026-01-03\n")
    (directory / "people.json").write_text('[{"id": 1, "name": "An", "tags": ["a", "b"]}, {"id": 2, "name": "Bo"}]')
    (directory / "log lines.jsonl").write_text('{"n": 1}\n{"n": 2}\n')
    (tmp_path / "secret.csv").write_text("word\nhidden\n")
    (directory / "link.csv").symlink_to(tmp_path / "secret.csv")
    return directory


def files_in(directory: Path) -> list[Path]:
    return sorted(directory.iterdir())


async def test_a_join_over_two_files(root: Path, call: Any):
    result = await call(
        QueryData(root=root),
        {
            "sql": "SELECT city, amount, day, tags FROM sales JOIN people USING (id) WHERE amount > 5",
            "files": ["sales.csv", "people.json"],
        },
    )
    assert result.output == '{"columns":["city","amount","day","tags"],"rows":[["Delft",10.5,"2026-01-02",["a","b"]]]}'


async def test_a_name_that_is_no_table_name_and_a_statement_before_select(root: Path, call: Any):
    arguments = {"sql": "WITH x AS (SELECT sum(n) AS total FROM log_lines) FROM x", "files": ["log lines.jsonl"]}
    assert (await call(QueryData(root=root), arguments)).value == {"columns": ["total"], "rows": [(3,)]}


async def test_the_row_limit_is_told(root: Path, call: Any):
    result = await call(QueryData(root=root, max_rows=1), {"sql": "SELECT id FROM sales", "files": ["sales.csv"]})
    assert result.output == (
        '{"columns":["id"],"rows":[[1]],"note":"only the first 1 rows; use LIMIT, WHERE or GROUP BY"}'
    )


async def test_a_mistake_is_answered_with_the_tables(root: Path, call: Any):
    result = await call(QueryData(root=root), {"sql": "SELECT town FROM sales", "files": ["sales.csv"]})
    assert not result.ok
    assert "town" in result.output
    assert "The tables are: sales(id BIGINT, city VARCHAR, amount DOUBLE, day DATE)" in result.output


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM '{outside}'",
        "SELECT * FROM read_csv('{outside}')",
        "SELECT * FROM read_text('{outside}')",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM read_csv('{root}/people.json')",
        "COPY sales TO '{root}/copy.csv'",
        "ATTACH '{root}/new.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SELECT 1; SELECT 2",
        "SELECT 1; SET enable_external_access = true; SELECT * FROM '{outside}'",
        "DROP TABLE sales",
        "UPDATE sales SET amount = 0",
        "CREATE TABLE x AS SELECT 1",
        "EXPORT DATABASE '{root}/out'",
        "SELECT getenv('HOME')",
        "SELECT * FROM root",
        "",
    ],
)
async def test_nothing_but_a_select_over_the_named_files(root: Path, call: Any, sql: str):
    before = files_in(root)
    text = sql.format(outside=root.parent / "secret.csv", root=root)
    result = await call(QueryData(root=root), {"sql": text, "files": ["sales.csv"]})
    assert not result.ok
    assert "hidden" not in result.output
    assert files_in(root) == before


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "Name the files"),
        (["missing.csv"], "does not exist"),
        (["../secret.csv"], "outside of the directory"),
        (["link.csv"], "outside of the directory"),
        (["notes.txt"], "'notes.txt' is not one of .csv, .tsv, .json"),
        (["big.csv"], "'big.csv' has 101 bytes; the limit is 100"),
        (["a b.csv", "a_b.csv"], "would both be the table a_b"),
        (["broken.json"], "broken(could not be read)"),
    ],
)
async def test_files_that_cannot_be_used(root: Path, call: Any, files: list[str], said: str):
    (root / "notes.txt").write_text("x")
    (root / "big.csv").write_text("x" * 101)
    (root / "broken.json").write_text('{"a": [}')
    for name in ("a b.csv", "a_b.csv"):
        (root / name).write_text("x\n1\n")
    result = await call(QueryData(root=root, max_bytes=100), {"sql": "SELECT 1", "files": files})
    assert not result.ok
    assert said in result.output


async def test_a_query_that_takes_too_long_is_stopped(root: Path, call: Any):
    sql = "SELECT count(*) FROM range(100000000000) a, range(1000000) b"
    result = await call(QueryData(root=root, timeout=0.5), {"sql": sql, "files": ["sales.csv"]})
    assert "time limit of 0.5 s" in result.output
    begun = time.process_time()
    await asyncio.sleep(0.3)  # had the query gone on, it would use two cores meanwhile
    assert time.process_time() - begun < 0.2


def test_without_duckdb_the_error_says_what_to_install():
    code = (
        "import sys; sys.modules['duckdb'] = None\n"
        "from quarterdeck.errors import ConfigError\n"
        "from quarterdeck.tools import QueryData\n"
        "try: QueryData()\n"
        "except ConfigError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "QueryData needs DuckDB: pip install 'quarterdeck[data]'"

"""What a journal promises, on both databases."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from quarterdeck.errors import ConfigError, FencedError, JournalError
from quarterdeck.events import Event, LLMFinished, RunFinished, RunStarted, TaskFinished
from quarterdeck.runtime.journal import Journal, OpenRun, open_journal

Query = Callable[[str], list[tuple[object, ...]]]


def answer(seq: int, text: str = "hi", run_id: str = "r1", path: str = "") -> LLMFinished:
    return LLMFinished(model="m", text=text, path=path or f"t/1/llm/{seq}").stamped(run_id, seq)


async def append_answers(run: OpenRun, seqs: range) -> None:
    for seq in seqs:
        await run.append(answer(seq, run_id=run.run_id))


def seqs(events: list[Event]) -> list[int | None]:
    return [event.seq for event in events]


async def test_what_is_appended_is_read_back(journal: Journal) -> None:
    run = await journal.open_run("r1")
    events = [
        RunStarted(crew="c", inputs={"topic": "tea", "$ref": "x" * 300}).stamped("r1", 1),
        answer(2, "long " * 100),
        TaskFinished(task="t", output={"raw": "long " * 100}).stamped("r1", 3),
    ]
    for event in events:
        await run.append(event)
    assert (run.epoch, run.events) == (1, [])
    assert await journal.events("r1") == events
    assert await journal.events("r1", after=2) == events[2:]
    assert await journal.events("r1", after=3) == []
    assert await journal.events("nobody") == []


async def test_a_run_opened_again_has_its_events_and_goes_on(journal: Journal) -> None:
    await append_answers(await journal.open_run("r1"), range(1, 4))
    again = await journal.open_run("r1")
    assert (again.epoch, seqs(again.events)) == (2, [1, 2, 3])
    await append_answers(again, range(4, 6))
    assert seqs(await journal.events("r1")) == [1, 2, 3, 4, 5]


async def test_an_event_must_follow_the_last_one(journal: Journal) -> None:
    run = await journal.open_run("r1")
    await run.append(answer(1))
    for wrong in (1, 3):
        with pytest.raises(JournalError, match=f"'r1': event {wrong} cannot follow event 1"):
            await run.append(answer(wrong))
    await run.append(answer(2))
    again = await journal.open_run("r1")
    with pytest.raises(JournalError, match="event 1 cannot follow event 2"):
        await again.append(answer(1))


async def test_appends_in_flight_share_transactions(journal: Journal) -> None:
    runs = await asyncio.gather(*(journal.open_run(f"r{n}") for n in range(100)))
    before = journal.commits
    await asyncio.gather(*(append_answers(run, range(1, 6)) for run in runs))
    assert 5 <= journal.commits - before < 100  # 500 appends
    for run in runs:
        assert seqs(await journal.events(run.run_id)) == [1, 2, 3, 4, 5]


async def test_append_soon_rides_along(journal: Journal) -> None:
    run = await journal.open_run("r1")
    for seq in range(1, 50):
        run.append_soon(answer(seq))
    await run.append(answer(50))
    assert seqs(await journal.events("r1")) == list(range(1, 51))


# -- fencing ----------------------------------------------------------------------------------------------------


async def test_a_run_taken_over_refuses_its_old_owner(journal: Journal) -> None:
    old = await journal.open_run("r1")
    await old.append(answer(1))
    new = await journal.open_run("r1")
    with pytest.raises(FencedError, match="its epoch is 2, and this process has 1"):
        await old.append(answer(2, "the old owner's"))
    with pytest.raises(FencedError):
        old.append_soon(answer(2))
    await new.append(answer(2, "the new owner's"))
    assert [event.text for event in await journal.events("r1") if isinstance(event, LLMFinished)] == [
        "hi",
        "the new owner's",
    ]


async def test_a_fenced_run_does_not_disturb_the_others_of_its_batch(journal: Journal) -> None:
    old = await journal.open_run("r1")
    others = [await journal.open_run(f"other{n}") for n in range(20)]
    await journal.open_run("r1")
    before = journal.commits
    results = await asyncio.gather(
        *(append_answers(run, range(1, 2)) for run in others[:10]),
        old.append(answer(1)),
        *(append_answers(run, range(1, 2)) for run in others[10:]),
        return_exceptions=True,
    )
    assert [type(result) for result in results if result is not None] == [FencedError]
    assert journal.commits - before < 15  # one batch, or a few: not a transaction for each
    assert [seqs(await journal.events(run.run_id)) for run in others] == [[1]] * 20


async def test_of_many_owners_at_once_only_the_last_can_append(journal: Journal) -> None:
    runs = await asyncio.gather(*(journal.open_run("r1") for _ in range(20)))
    assert sorted(run.epoch for run in runs) == list(range(1, 21))
    results = await asyncio.gather(*(run.append(answer(1, f"{run.epoch}")) for run in runs), return_exceptions=True)
    assert [run.epoch for run, result in zip(runs, results, strict=True) if result is None] == [20]


# -- failures ---------------------------------------------------------------------------------------------------


async def test_a_row_that_the_database_refuses_fails_its_own_run_alone(journal: Journal) -> None:
    good = [await journal.open_run(f"good{n}") for n in range(10)]
    bad = await journal.open_run("bad")
    results = await asyncio.gather(
        *(append_answers(run, range(1, 4)) for run in good),
        bad.append(answer(1, run_id="bad", path="not unicode: \ud800")),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [type(None)] * 10 + [JournalError]
    assert [seqs(await journal.events(run.run_id)) for run in good] == [[1, 2, 3]] * 10
    assert await journal.events("bad") == []
    with pytest.raises(JournalError, match="surrogates not allowed"):  # no gap: nothing can follow a failure
        await bad.append(answer(2, run_id="bad"))


async def test_the_failure_of_append_soon_comes_with_the_next_append(journal: Journal) -> None:
    run = await journal.open_run("r1")
    run.append_soon(answer(1, path="not unicode: \ud800"))
    with pytest.raises(JournalError, match="surrogates not allowed"):
        await run.append(answer(2))
    assert await journal.events("r1") == []


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", {("a", "b"): 1}], ids=["object", "set", "bytes", "key"])
async def test_a_value_that_is_not_json_is_named(journal: Journal, value: object) -> None:
    run = await journal.open_run("r1")
    with pytest.raises(JournalError, match=r"event run\.started, field 'inputs' cannot be written .* must be JSON"):
        await run.append(RunStarted(crew="c", inputs={"ok": 1, "deep": [{"er": value}]}).stamped("r1", 1))
    await run.append(RunStarted(crew="c").stamped("r1", 1))


async def test_a_value_that_holds_itself_is_named(journal: Journal) -> None:
    circle: dict[str, object] = {}
    circle["again"] = circle
    run = await journal.open_run("r1")
    with pytest.raises(JournalError, match=r"event run\.started, field 'inputs' cannot be written"):
        await run.append(RunStarted(crew="c", inputs=circle).stamped("r1", 1))


async def test_a_caller_that_gives_up_loses_nothing(journal: Journal) -> None:
    run = await journal.open_run("r1")
    task = asyncio.ensure_future(run.append(answer(1)))
    await asyncio.sleep(0)  # the event is handed over
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await run.append(answer(2))
    assert seqs(await journal.events("r1")) == [1, 2]


# -- runs -------------------------------------------------------------------------------------------------------


async def test_runs_are_listed_newest_first_with_their_status(journal: Journal) -> None:
    first = await journal.open_run("first")
    await first.append(RunStarted(crew="c").stamped("first", 1))
    await first.append(RunFinished(status="failed", time=1234.5).stamped("first", 2))
    await journal.open_run("second")
    (second, one) = await journal.runs()
    assert (second.run_id, second.status, second.finished) == ("second", "running", None)
    assert (one.run_id, one.status, one.finished) == ("first", "failed", 1234.5)
    assert one.started <= second.started
    assert [run.run_id for run in await journal.runs(limit=1)] == ["second"]

    again = await journal.open_run("first")
    assert (await journal.runs())[1].status == "failed"  # looking at it does not change it
    await again.append(RunStarted(crew="c", segment=2).stamped("first", 3))
    assert (await journal.runs())[1][1:] == ("running", one.started, None)


async def test_a_deleted_run_leaves_nothing(journal: Journal, query: Query) -> None:
    kept, gone = await journal.open_run("kept"), await journal.open_run("gone")
    for run in (kept, gone):
        await run.append(answer(1, "the same long text " * 50, run_id=run.run_id))
    await journal.delete_run("gone")
    await journal.delete_run("never there")
    for table in ("qd_runs", "qd_events", "qd_payloads"):
        assert query(f"SELECT run_id FROM {table}") == [("kept",)]
    (event,) = await journal.events("kept")
    assert isinstance(event, LLMFinished)
    assert event.text == "the same long text " * 50
    with pytest.raises(FencedError, match="'gone' was deleted"):
        await gone.append(answer(2, run_id="gone"))


async def test_the_owner_of_a_deleted_run_cannot_write_into_its_successor(journal: Journal) -> None:
    old = await journal.open_run("r1")
    await journal.delete_run("r1")
    new = await journal.open_run("r1")
    assert new.epoch == old.epoch == 1
    with pytest.raises(FencedError, match="was deleted"):
        await old.append(answer(1))
    await new.append(answer(1))


@pytest.mark.parametrize("run_id", ["", "a" * 201, "line\nbreak", "nul\0", "\ud800"])
async def test_a_run_id_that_is_no_name(journal: Journal, run_id: str) -> None:
    with pytest.raises(ConfigError, match="run_id: expected 1 to 200 printable characters"):
        await journal.open_run(run_id)


# -- loops, threads, closing ------------------------------------------------------------------------------------


def test_event_loops_in_two_threads_share_a_journal(journal: Journal) -> None:
    async def work(name: str) -> None:
        runs = await asyncio.gather(*(journal.open_run(f"{name}{n}") for n in range(20)))
        await asyncio.gather(*(append_answers(run, range(1, 11)) for run in runs))
        assert [seqs(await journal.events(run.run_id)) for run in runs] == [list(range(1, 11))] * 20

    failures: list[BaseException] = []

    def thread(name: str) -> None:
        try:
            asyncio.run(work(name))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=thread, args=(name,)) for name in "ab"]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert failures == []
    assert len(asyncio.run(journal.runs())) == 40


def test_a_loop_that_is_gone_does_not_stop_the_writer(journal: Journal) -> None:
    async def leave() -> None:
        run = await journal.open_run("left")
        task = asyncio.ensure_future(run.append(answer(1, run_id="left")))
        await asyncio.sleep(0)
        del task  # asyncio.run cancels it and closes the loop, perhaps before the commit

    asyncio.run(leave())
    asyncio.run(append_answers(asyncio.run(journal.open_run("r1")), range(1, 3)))
    assert seqs(asyncio.run(journal.events("left"))) == [1]


async def test_closing_writes_what_is_under_way_and_then_refuses(journal_url: str) -> None:
    journal = open_journal(journal_url)
    assert open_journal(journal_url) is journal
    assert open_journal(journal) is journal
    run = await journal.open_run("r1")
    for seq in range(1, 201):
        run.append_soon(answer(seq))
    journal.close()
    journal.close()
    for use in (run.append(answer(201)), journal.open_run("r1"), journal.events("r1"), journal.delete_run("r1")):
        with pytest.raises(JournalError, match="is closed"):
            await use
    reopened = open_journal(journal_url)
    assert reopened is not journal
    assert len(await reopened.events("r1")) == 200
    reopened.close()


def test_the_end_of_the_process_closes_it(journal_url: str, query: Query) -> None:
    code = """
import asyncio, sys
from quarterdeck.events import LLMFinished
from quarterdeck.runtime.journal import open_journal
async def main():
    run = await open_journal(sys.argv[1]).open_run("r1")
    for seq in range(1, 101):
        run.append_soon(LLMFinished(model="m").stamped("r1", seq))
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code, journal_url], capture_output=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, b"")
    assert query("SELECT count(*) FROM qd_events") == [(100,)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_opens_its_own(journal: Journal, journal_url: str) -> None:
    code = """
import asyncio, os, sys
from quarterdeck.errors import JournalError
from quarterdeck.runtime.journal import open_journal
journal = open_journal(sys.argv[1])
asyncio.run(journal.open_run("parent"))
child = os.fork()
if child == 0:
    try:
        asyncio.run(journal.open_run("child, with its parent's"))
    except JournalError as error:
        print(error, flush=True)
    asyncio.run(open_journal(sys.argv[1]).open_run("child"))
    sys.exit()
os.waitpid(child, 0)
asyncio.run(journal.open_run("parent again"))
"""
    done = subprocess.run([sys.executable, "-c", code, journal_url], capture_output=True, timeout=30, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "was opened before this process was forked" in done.stdout
    names = {run.run_id for run in asyncio.run(journal.runs())}
    assert names == {"parent", "child", "parent again"}


# -- where it is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "says"),
    [
        (":memory:", "a journal must outlive its process: give a path"),
        ("sqlite:///:memory:", "a journal must outlive its process: give a path"),
        ("sqlite://", "'' is not a file"),
        ("", "'' is not a file"),
        ("mysql://root@localhost/runs", "mysql:// is not known; give a path, sqlite:///path or postgresql://"),
        ("postgresql://me:se%cret@host/db", "the form is postgresql://user:password@host:5432/database"),
    ],
)
def test_a_place_that_cannot_hold_a_journal(where: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        open_journal(where)
    assert "cret" not in str(caught.value)


async def test_the_forms_of_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    journal = open_journal("runs.db")
    for same in (tmp_path / "runs.db", "sqlite:///runs.db", f"sqlite:///{tmp_path}/runs.db", "./x/../runs.db"):
        assert open_journal(same) is journal
    assert not (tmp_path / "runs.db").exists()  # nothing is opened before it is used
    await journal.open_run("r1")
    assert (tmp_path / "runs.db").exists()
    journal.close()


def test_postgresql_without_its_extra() -> None:
    code = """
import sys
sys.modules["psycopg"] = None
from quarterdeck.runtime.journal import open_journal
open_journal("postgresql://localhost/runs")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30, text=True)
    assert "ConfigError: journal: PostgreSQL needs psycopg 3, which is not installed" in done.stderr
    assert "pip install 'quarterdeck[postgres]'" in done.stderr


def test_no_database_is_loaded_before_a_journal_is_opened() -> None:
    code = "import sys, quarterdeck.runtime.journal; print({'sqlite3', 'psycopg'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30, text=True)
    assert done.stdout == "set()\n"


async def test_tables_of_a_newer_version(journal: Journal, journal_url: str, query: Query) -> None:
    await journal.open_run("r1")
    journal.close()
    query("UPDATE qd_schema SET version = 99")
    newer = open_journal(journal_url)
    for use in (newer.open_run("r1"), newer.events("r1")):
        with pytest.raises(ConfigError, match="its tables have version 99, this version knows 1: upgrade quarterdeck"):
            await use
    newer.close()

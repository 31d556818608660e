"""States that are saved after methods: restored by id, forked, and what is not there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from quarterdeck.errors import ConfigError, InputError, JournalError
from quarterdeck.flow import Flow, FlowPersistence, SQLiteFlowPersistence, persist, set_flow_persistence_factory
from quarterdeck.flow.flow import listen, start
from quarterdeck.runtime.journal import Journal


class Item(BaseModel):
    name: str


class Counter(BaseModel):
    count: int = 0
    items: list[Item] = []


class Memory(FlowPersistence):
    """A persistence of the test's own."""

    def __init__(self) -> None:
        self.saved: list[tuple[str, str, dict[str, Any]]] = []

    def save_state(self, flow_uuid: str, method_name: str, state_data: dict[str, Any]) -> None:
        self.saved.append((flow_uuid, method_name, state_data))

    def load_state(self, flow_uuid: str) -> dict[str, Any] | None:
        return next((state for uuid, _, state in reversed(self.saved) if uuid == flow_uuid), None)


def counting(store: FlowPersistence | None) -> type[Flow[Counter]]:
    @persist(store)
    class Counting(Flow[Counter]):
        @start()
        def count(self) -> int:
            self.state.count += 1
            self.state.items.append(Item(name=f"item {self.state.count}"))
            return self.state.count

        @listen(count)
        def double(self) -> int:
            self.state.count *= 2
            return self.state.count

    return Counting


def test_a_state_is_restored_by_its_id_and_forked_under_a_new_one(tmp_path: Path) -> None:
    flow_class = counting(SQLiteFlowPersistence(tmp_path / "deep" / "states.db"))
    first = flow_class()
    assert first.kickoff() == 2
    again = counting(SQLiteFlowPersistence(tmp_path / "deep" / "states.db"))()
    assert again.kickoff(inputs={"id": first.flow_id}) == 6
    assert again.flow_id == first.flow_id
    assert again.state.items == [Item(name="item 1"), Item(name="item 3")]
    fork = flow_class()
    assert fork.kickoff(restore_from_state_id=first.flow_id) == 14
    assert fork.flow_id != first.flow_id
    assert fork.kickoff(inputs={"count": 100}, restore_from_state_id=first.flow_id) == 202
    assert flow_class().kickoff(inputs={"id": first.flow_id}) == 14  # the forks have left it alone


def test_an_unknown_id_is_an_error(tmp_path: Path) -> None:
    flow_class = counting(SQLiteFlowPersistence(tmp_path / "states.db"))
    with pytest.raises(InputError, match="no state with the id 'nobody' in its persistence"):
        flow_class().kickoff(inputs={"id": "nobody"})
    with pytest.raises(InputError, match="no state with the id 'nobody'"):
        flow_class().kickoff(restore_from_state_id="nobody")

    class Plain(Flow):
        @start()
        def begin(self) -> None: ...

    with pytest.raises(InputError, match=r"put @persist\(\) on the class"):
        Plain().kickoff(restore_from_state_id="nobody")
    assert Plain().kickoff(inputs={"id": "mine"}) is None


async def test_a_run_of_the_journal_is_forked_without_persist(journal: Journal) -> None:
    class Plain(Flow):
        @start()
        def begin(self) -> int:
            self.state["n"] = self.state.get("n", 0) + 1
            self.state["item"] = self.state.get("item") or Item(name="x")
            return self.state["n"]

    assert await Plain().akickoff(journal=journal, run_id="a") == 1
    fork = Plain()
    assert await fork.akickoff(restore_from_state_id="a", journal=journal, run_id="b") == 2
    assert (fork.flow_id, fork.state["item"]) == ("b", Item(name="x"))
    with pytest.raises(InputError, match="no state with the id 'c' in its journal"):
        await Plain().akickoff(restore_from_state_id="c", journal=journal, run_id="d")


def test_a_method_alone_may_be_saved_after() -> None:
    store = Memory()

    class Partly(Flow):
        @start()
        def one(self) -> None:
            self.state["n"] = 1

        @persist(store)
        @listen(one)
        def two(self) -> None:
            self.state["n"] = 2

        @listen(two)
        def three(self) -> None:
            self.state["n"] = 3

    flow = Partly()
    flow.kickoff()
    assert store.saved == [(flow.flow_id, "two", {"n": 2, "id": flow.flow_id})]


def test_persistence_may_be_given_to_the_object() -> None:
    store = Memory()

    class Plain(Flow):
        @start()
        def begin(self) -> None: ...

    Plain(persistence=store).kickoff()
    assert [name for _, name, _ in store.saved] == ["begin"]


@pytest.fixture
def _default(tmp_path: Path) -> Iterator[None]:
    set_flow_persistence_factory(lambda: SQLiteFlowPersistence(tmp_path / "default.db"))
    yield
    set_flow_persistence_factory(None)


@pytest.mark.usefixtures("_default")
def test_the_default_is_what_the_factory_makes(tmp_path: Path) -> None:
    @persist
    class Plain(Flow):
        @start()
        def begin(self) -> None: ...

    Plain().kickoff()
    assert (tmp_path / "default.db").is_file()


def test_wrong_arguments_and_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"write SQLiteFlowPersistence\(\)"):
        persist(SQLiteFlowPersistence)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="takes a FlowPersistence"):
        persist("states.db")  # pyright: ignore[reportArgumentType, reportCallIssue]
    (tmp_path / "file").write_text("no database" * 100)
    with pytest.raises(JournalError, match="cannot be used"):
        counting(SQLiteFlowPersistence(tmp_path / "file"))().kickoff()

"""What is wrong with a flow is said when its class is made."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from quarterdeck.errors import ConfigError
from quarterdeck.flow import Flow, and_, listen, or_, router, start


def test_unknown_names_are_named_all_at_once() -> None:
    with pytest.raises(ConfigError) as caught:

        class Wrong(Flow):
            @start()
            def begin(self) -> None: ...

            @listen("begn")
            def one(self) -> None: ...

            @listen(and_("begin", or_("two", "nowhere")))
            def two(self) -> None: ...

    assert "flow Wrong" in str(caught.value)
    assert "one waits for 'begn', which is no method and no router's label; did you mean 'begin'?" in str(caught.value)
    assert "'nowhere'" in str(caught.value)
    assert "two waits for 'two', which is itself" in str(caught.value)


def test_labels_are_known_by_emit_annotation_and_returns() -> None:
    class Known(Flow):
        @start()
        def begin(self) -> None: ...

        @router(begin, emit=["a", "b"])
        def one(self) -> Any:
            return input()

        @router(begin)
        def two(self) -> Literal["c"] | None:
            return None

        @router(begin)
        def three(self):
            if self.state:
                return "d"
            return "e" if self.name else None

        @listen(or_("a", "b", "c", "d", "e"))
        def end(self) -> None: ...

    assert Known.graph.methods["one"].labels == ("a", "b")
    assert Known.graph.methods["two"].labels == ("c",)
    assert Known.graph.methods["three"].labels == ("d", "e")


def test_any_name_may_be_a_label_of_a_router_that_computes_them() -> None:
    class Open(Flow):
        @start()
        def begin(self) -> None: ...

        @router(begin)
        def pick(self):
            return self.state["where"]

        @listen("somewhere")
        def end(self) -> str:
            return "there"

    assert Open().kickoff({"where": "somewhere"}) == "there"


def test_other_mistakes() -> None:
    with pytest.raises(ConfigError, match="no method is a start"):

        class NoStart(Flow):
            @listen("x")
            def end(self) -> None: ...

    with pytest.raises(ConfigError, match=r"needs brackets: write @start\(\)"):

        class Bare(Flow):
            @start  # pyright: ignore[reportArgumentType]
            def begin(self) -> None: ...

    with pytest.raises(ConfigError, match="emit must be a list of different labels"):
        router("x", emit="label")
    with pytest.raises(ConfigError, match="two conditions"):

        class Two(Flow):
            @start()
            def begin(self) -> None: ...

            @listen(begin)
            @listen("begin")
            def end(self) -> None: ...

    with pytest.raises(ConfigError, match="pick has @router and is called by nothing"):

        class Lost(Flow):
            @start()
            def begin(self) -> None: ...

            @router()
            def pick(self) -> str:
                return "x"

    with pytest.raises(ConfigError, match="takes a method"):
        listen(3)(lambda self: None)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match="at least one"):
        or_()


def test_unreachable_methods_warn() -> None:
    with pytest.warns(UserWarning, match="flow Islands: one, two can never be called"):

        class Islands(Flow):
            @start()
            def begin(self) -> None: ...

            @listen("two")
            def one(self) -> None: ...

            @listen(one)
            def two(self) -> None: ...


def test_subclasses_inherit_methods_and_may_replace_what_they_do() -> None:
    class Base(Flow):
        @start()
        def begin(self) -> str:
            return "base"

        @listen(begin)
        def end(self, given: str) -> str:
            return f"end of {given}"

    class Derived(Base):
        def begin(self) -> str:
            return "derived"

    assert Base().kickoff() == "end of base"
    assert Derived().kickoff() == "end of derived"


def test_what_has_no_meaning_is_refused() -> None:
    class Plain(Flow):
        @start()
        def begin(self) -> None: ...

    with pytest.raises(ConfigError, match="tracing would send data"):
        Plain(tracing=True)
    with pytest.raises(ConfigError, match="goes on from the last step"):
        Plain().kickoff(from_checkpoint="x")
    with pytest.raises(ConfigError, match="has no methods"):
        Flow[dict[str, Any]]().kickoff()

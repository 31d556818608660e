"""BaseTool, @tool and CrewStructuredTool: how tools are made, and how code that is no agent calls them."""

from __future__ import annotations

import asyncio
import copy
import traceback
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from quarterdeck.errors import ConfigError, ToolArgumentsError, ToolUsageLimitError
from quarterdeck.tools import BaseTool, CrewStructuredTool, EnvVar, Tool, tool
from quarterdeck.tools.base import tool_spec


class Place(BaseModel):
    city: str
    country: str = "NL"


class Weather(BaseTool):
    name: str = "Weather Report"
    description: str = "Tells the weather."

    def _run(self, city: str, days: int = 1) -> str:
        return f"{city}: {days}"


class QueryInput(BaseModel):
    """Input schema for Search."""

    query: str = Field(..., description="What to look for")
    places: list[Place] = []


class Search(BaseTool):
    name: str = "Search"
    description: str = "Searches."
    args_schema: type[BaseModel] = QueryInput
    site: str = "example.org"

    def _run(self, query: str, places: list[dict[str, Any]]) -> str:
        return f"{self.site}: {query} {[place['city'] for place in places]}"


def test_a_subclass_runs_with_names_positions_and_defaults():
    assert Weather().run("Delft") == "Delft: 1"
    assert Weather().run(city="Delft", days="3") == "Delft: 3"


def test_own_fields_and_an_explicit_schema_give_plain_data_as_crewai_does():
    assert Search(site="a.nl").run(query="x", places=[{"city": "Delft"}]) == "a.nl: x ['Delft']"


def test_a_hint_that_names_a_model_gets_the_model():
    class ByModel(Search):
        def _run(self, query: str, places: list[Place]) -> str:
            return " ".join(place.country for place in places)

    assert ByModel().run(query="x", places=[{"city": "Delft"}]) == "NL"


def test_an_inferred_schema_gives_models_and_dataclasses():
    @dataclass
    class Point:
        x: int

    @tool
    def move(place: Place, point: Point) -> str:
        """Moves."""
        return f"{place.city} {point.x}"

    assert move.run(place={"city": "Delft"}, point={"x": 3}) == "Delft 3"


async def test_arun_runs_a_sync_tool_in_a_thread_and_an_async_one_on_the_loop():
    @tool
    async def here() -> bool:
        """Says whether it runs on a loop."""
        return asyncio.get_running_loop() is loop

    @tool
    def there() -> bool:
        """Says whether it runs on a loop."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return False
        return True

    loop = asyncio.get_running_loop()
    assert await here.arun() is True
    assert await there.arun() is False


def test_run_of_an_async_tool():
    class Async(BaseTool):
        name: str = "a"
        description: str = "d"

        async def _arun(self, n: int) -> int:
            await asyncio.sleep(0)
            return n + 1

    class AsyncRun(BaseTool):
        name: str = "a"
        description: str = "d"

        async def _run(self, n: int) -> int:
            await asyncio.sleep(0)
            return n + 2

    assert Async().run(n=1) == 2
    assert AsyncRun().run(1) == 3
    assert asyncio.run(AsyncRun().arun(1)) == 3


def test_run_says_which_argument_is_wrong():
    with pytest.raises(ToolArgumentsError, match=r'days: got "many"; input should be a valid integer'):
        Weather().run(city="Delft", days="many")
    with pytest.raises(ToolArgumentsError, match="city: is missing; expected string"):
        Weather().run()
    with pytest.raises(ToolArgumentsError, match="dais: is not an argument; did you mean 'days'"):
        Weather().run("Delft", dais=2)
    with pytest.raises(ToolArgumentsError, match="3 values"):
        Weather().run(1, 2, 3)
    with pytest.raises(ToolArgumentsError, match=r"given both by position and by name: \['city'\]"):
        Weather().run("Delft", city="Delft")


def test_the_usage_of_own_calls_is_counted_limited_and_reset():
    weather = Weather(max_usage_count=1)
    weather.run("Delft")
    assert weather.current_usage_count == 1
    with pytest.raises(ToolUsageLimitError, match="max_usage_count=1"):
        weather.run("Delft")
    weather.reset_usage_count()
    assert weather.run("Delft") == "Delft: 1"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_usage": 3}, "'max_usage' is not an argument, did you mean 'max_usage_count'?"),
        ({"nonsense": 3}, "'nonsense' is not an argument, known are name, description"),
        ({"max_usage_count": 0}, "'max_usage_count' must be at least 1, or None, got 0"),
        ({"timeout": -1}, "'timeout' must be at least 0.001, or None, got -1"),
        ({"retry": "sometimes"}, "'retry': Input should be 'safe' or 'never', got str 'sometimes'"),
        ({"max_result_chars": 3}, "'max_result_chars' must be at least 200, or None, got 3"),
        ({"name": ""}, "'name' must not be empty"),
        ({"tool_failure_policy": "shrug"}, "'tool_failure_policy': Input should be 'ignore', 'warn' or 'raise'"),
        ({"args_schema": 3}, "'args_schema': Input should be a subclass of BaseModel"),
    ],
)
def test_a_wrong_constructor_argument_is_named(arguments: dict[str, Any], message: str):
    with pytest.raises(ConfigError) as caught:
        Weather(**arguments)
    assert message in str(caught.value)
    assert str(caught.value).startswith("Weather: ")


def test_the_value_of_an_own_field_is_not_shown():
    class Keyed(Weather):
        api_key: int

    with pytest.raises(ConfigError, match="'api_key': Input should be a valid integer") as caught:
        Keyed(api_key="-".join(["sk", "secret"]))  # the traceback shows this line
    assert "sk-secret" not in "".join(traceback.format_exception(caught.value))


def test_name_and_description_are_needed():
    with pytest.raises(ConfigError, match="'name' is missing; 'description' is missing"):
        BaseTool()
    with pytest.raises(ConfigError, match="implements neither _run nor _arun"):
        BaseTool(name="x", description="y")


class TestSchemaThatDoesNotFit:
    def test_a_field_that_the_function_does_not_take(self):
        class Wrong(Search):
            def _run(self, query: str) -> str:
                return query

        with pytest.raises(ConfigError, match=r"'Search': args_schema has \['places'\], which the function does not"):
            Wrong()

    def test_a_parameter_that_the_schema_does_not_have(self):
        class Wrong(Search):
            def _run(self, query: str, places: Any, limit: int) -> str:
                return query

        with pytest.raises(ConfigError, match=r"the function needs \['limit'\], which args_schema does not have"):
            Wrong()

    def test_a_function_that_takes_anything_fits(self):
        class Anything(Search):
            def _run(self, **kwargs: Any) -> str:
                return str(kwargs)

        assert Anything().run(query="x") == "{'query': 'x', 'places': []}"


class TestDecorator:
    def test_the_three_forms(self):
        @tool
        def bare(x: int) -> int:
            """Bare."""
            return x

        @tool("A Name")
        def named(x: int) -> int:
            """Named."""
            return x

        @tool(result_as_answer=True, max_usage_count=2, timeout=5, retry="never", max_result_chars=None)
        def with_settings(x: int) -> int:
            """Set."""
            return x

        assert (bare.name, bare.description, bare(3)) == ("bare", "Bare.", 3)
        assert named.name == "A Name"
        assert with_settings.result_as_answer
        assert with_settings.retry == "never"
        assert (with_settings.max_usage_count, with_settings.timeout) == (2, 5)
        assert with_settings.max_result_chars is None
        assert all(isinstance(made, Tool) and isinstance(made, BaseTool) for made in (bare, named, with_settings))

    def test_a_tool_is_called_like_its_function(self):
        @tool
        def join(*parts: str, by: str = "-") -> str:
            """Joins."""
            return by.join(parts)

        assert join("a", "b", by="+") == "a+b"

    async def test_an_async_function_stays_awaitable(self):
        @tool
        async def later(x: int) -> int:
            """Later."""
            return x

        assert await later(3) == 3

    def test_the_docstring_is_needed(self):
        with pytest.raises(ConfigError, match="the function 'silent' needs a docstring"):

            @tool
            def silent(x: int) -> int:
                return x

    def test_only_a_function_or_a_name(self):
        with pytest.raises(ConfigError, match="takes a function or a name, got int 3"):
            tool(3)  # type: ignore[call-overload]

    def test_an_unknown_setting(self):
        with pytest.raises(ConfigError, match="'time_out' is not an argument, did you mean 'timeout'"):

            @tool(time_out=3)  # type: ignore[call-overload]
            def f(x: int) -> int:
                """F."""
                return x


class TestDescriptions:
    def test_from_the_docstring_and_taken_out_of_it(self):
        @tool
        def google(city: str, days: int = 1) -> str:
            """Tells the weather.

            Args:
                city (str): The city,
                    with its country.
                days: How many days.

            Returns:
                A text.
            """
            return ""

        properties = tool_spec(google).parameters["properties"]
        assert properties["city"]["description"] == "The city, with its country."
        assert properties["days"]["description"] == "How many days."
        assert google.description == "Tells the weather.\n\nReturns:\n    A text."

    def test_numpy_style(self):
        @tool
        def numpy(city: str, days: int = 1) -> str:
            """Tells the weather.

            Parameters
            ----------
            city : str
                The city.
            days : int, optional
                How many days.

            Returns
            -------
            str
                A text.
            """
            return ""

        properties = tool_spec(numpy).parameters["properties"]
        assert [properties[name]["description"] for name in ("city", "days")] == ["The city.", "How many days."]
        assert numpy.description == "Tells the weather.\n\nReturns\n-------\nstr\n    A text."

    def test_sphinx_style(self):
        @tool
        def sphinx(city: str, days: int = 1) -> str:
            """Tells the weather.

            :param city: The city,
                with its country.
            :type city: str
            :param int days: How many days.
            :returns: A text.
            """
            return ""

        properties = tool_spec(sphinx).parameters["properties"]
        assert properties["city"]["description"] == "The city, with its country."
        assert properties["days"]["description"] == "How many days."
        assert sphinx.description == "Tells the weather.\n\n:returns: A text."

    def test_what_is_said_nearest_to_the_parameter_wins(self):
        @tool
        def order(
            a: Annotated[str, "from a text"],
            b: Annotated[str, Field(description="from a field")],
            c: str = Field(default="x", description="from a default"),
            d: Annotated[int, Field(gt=0)] = 1,
        ) -> str:
            """Orders.

            Args:
                a: no
                b: no
                c: no
                d: from the docstring
            """
            return f"{a}{b}{c}{d}"

        properties = tool_spec(order).parameters["properties"]
        texts = [properties[name]["description"] for name in "abcd"]
        assert texts == ["from a text", "from a field", "from a default", "from the docstring"]
        assert properties["d"]["exclusiveMinimum"] == 0
        assert order.run(a="1", b="2") == "12x1"


class TestSignatures:
    def test_names_that_pydantic_keeps_for_itself(self):
        @tool
        def keeps(schema: str, copy: bool = False, _hidden: int = 0, model_name: str = "m", json: str = "") -> str:
            """Keeps."""
            return f"{schema} {copy} {_hidden} {model_name}"

        assert list(tool_spec(keeps).parameters["properties"]) == ["schema", "copy", "_hidden", "model_name", "json"]
        assert keeps.run(schema="s", _hidden=3) == "s False 3 m"
        assert keeps.run("s", True) == "s True 0 m"

    def test_such_names_stay_apart(self):
        @tool
        def apart(schema: str, _schema: str, argument_0: str, _: str) -> str:
            """Apart."""
            return schema + _schema + argument_0 + _

        assert apart.run(schema="a", _schema="b", argument_0="c", _="d") == "abcd"

    def test_none_as_default_permits_none(self):
        @tool
        def f(x: str = None) -> str:  # type: ignore[assignment]  # noqa: RUF013
            """F."""
            return repr(x)

        assert f.run(x=None) == "None"

    def test_positional_only_parameters_are_refused(self):
        with pytest.raises(ConfigError, match="takes 'x' by position only"):

            @tool
            def f(x: int, /) -> int:
                """F."""
                return x

    def test_a_type_that_json_cannot_hold_is_refused(self):
        class Connection:
            pass

        with pytest.raises(
            ConfigError, match="cannot be described to a model: Unable to generate pydantic-core schema"
        ):

            @tool
            def f(x: Connection) -> int:
                """F."""
                return 1

    def test_a_type_without_json_schema_is_refused_when_it_is_described(self):
        @tool
        def f(x: complex) -> int:
            """F."""
            return 1

        @tool
        def g(x: type) -> int:
            """F."""
            return 1

        with pytest.raises(ConfigError, match="g_arguments have no JSON Schema"):
            tool_spec(g)

    def test_a_hint_that_nobody_can_resolve(self):
        with pytest.raises(ConfigError, match="name 'Missing' is not defined; define or import the type at module"):

            @tool
            def f(x: Missing) -> int:  # type: ignore[name-defined] # noqa: F821
                """F."""
                return 1

    def test_a_return_type_that_nobody_can_resolve_does_no_harm(self):
        @tool
        def f(x: int) -> Missing:  # type: ignore[name-defined] # noqa: F821
            """F."""
            return x

        assert f.run(x="3") == 3


class TestStructuredTool:
    def test_from_function(self):
        def add(a: int, b: int = 2) -> int:
            """Adds."""
            return a + b

        made = CrewStructuredTool.from_function(add, name="Add Numbers", return_direct=True)
        assert (made.name, made.description, made.result_as_answer) == ("Add Numbers", "Adds.", True)
        assert made.invoke({"a": 1}) == 3
        assert made.invoke('{"a": "1", "b": 5}') == 6
        assert asyncio.run(made.ainvoke({"a": 1})) == 3

    def test_it_needs_a_description_and_a_schema(self):
        def silent(a: int) -> int:
            return a

        with pytest.raises(ConfigError, match="needs a docstring"):
            CrewStructuredTool.from_function(silent)
        with pytest.raises(ConfigError, match="infer_schema=False needs an args_schema"):
            CrewStructuredTool.from_function(silent, description="d", infer_schema=False)

    def test_to_structured_tool_keeps_the_settings(self):
        made = Weather(max_usage_count=3, timeout=2).to_structured_tool()
        assert isinstance(made, CrewStructuredTool)
        assert (made.name, made.max_usage_count, made.timeout) == ("Weather Report", 3, 2)
        assert made.invoke({"city": "Delft"}) == "Delft: 1"


class TestFromLangchain:
    def test_an_object_with_a_function(self):
        class Foreign:
            name = "foreign"
            description = "A foreign tool."
            args_schema = None

            @staticmethod
            def func(x: int) -> int:
                return x + 1

        made = BaseTool.from_langchain(Foreign())
        assert (made.name, made.description, made.run(x="1")) == ("foreign", "A foreign tool.", 2)

    def test_an_object_with_invoke_and_a_schema(self):
        class Foreign:
            name = "foreign"
            description = "A foreign tool."
            args_schema = Place

            def invoke(self, input: dict[str, Any]) -> str:
                return f"{input['city']}, {input['country']}"

        assert BaseTool.from_langchain(Foreign()).run(city="Delft") == "Delft, NL"

    def test_an_object_with_run(self):
        class Foreign:
            name = "foreign"
            description = "A foreign tool."

            def _run(self, x: int) -> int:
                return x + 1

        assert BaseTool.from_langchain(Foreign()).run(x=1) == 2

    def test_an_object_that_is_no_tool(self):
        with pytest.raises(ConfigError, match="object cannot be made a tool: it needs a name and one of func"):
            BaseTool.from_langchain(object())


def test_the_formatted_description_names_everything():
    text = Weather().formatted_description
    assert text.splitlines()[0] == "Tool Name: weather_report"
    assert '"city": {"type": "string"}' in text
    assert text.endswith("Tool Description: Tells the weather.")


def test_copies_call_their_own_fields():
    first = Search(site="a")
    first.run(query="x")
    for second in (first.model_copy(update={"site": "b"}), copy.deepcopy(first)):
        second.site = "b"
        assert second.run(query="x") == "b: x []"
    assert first.run(query="x") == "a: x []"


def test_a_schema_replaced_later_is_used():
    class Wide(QueryInput):
        query: str = "default"

    search = Search()
    assert tool_spec(search).parameters["required"] == ["query"]
    search.args_schema = Wide
    assert search.run() == "example.org: default []"
    assert "required" not in tool_spec(search).parameters


def test_env_vars_are_described():
    search = Search(env_vars=[EnvVar(name="SEARCH_KEY", description="The key")])
    assert search.env_vars[0].required

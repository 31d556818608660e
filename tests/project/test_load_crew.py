"""Crews wholly in YAML or JSON."""

from __future__ import annotations

import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.errors import ConfigError, InputError
from quarterdeck.project import Registry, load_agent, load_crew, load_crew_and_kickoff, load_target
from quarterdeck.testing import LoopbackServer, ScriptedLLM, call

YAML = """\
    name: harbour-report
    inputs:
      harbour: Bergen
      year: null
    agents:
      surveyor:
        role: Surveyor of {harbour}
        goal: Measure
        llm: openai/gpt-4o-mini
        tools:
          - custom:depth
          - calculator
          - ReadFile: {root: data}
      writer: {role: Writer, goal: Write, llm: openai/gpt-4o-mini}
    tasks:
      survey:
        description: Measure {harbour} in {year}.
        expected_output: A depth
        agent: surveyor
      report:
        description: >
          Write about it.
        expected_output: A sentence
        agent: writer
        context: [survey]
        guardrail: {python: rules.has_a_figure}
    """
DEPTH = """\
    from quarterdeck.tools import tool

    @tool("depth")
    def depth(harbour: str) -> str:
        "The depth of a harbour."
        return f"{harbour}: 14.5 m"
    """
RULES = """\
    def has_a_figure(output):
        return (True, output) if "14" in output.raw else (False, "give a figure")
    """
FILES = {"crew.yaml": YAML, "tools/depth.py": DEPTH, "rules.py": RULES, "data/a.txt": "a"}

JSONC = """\
    // CrewAI's form
    {
      "name": "Harbour crew",
      "agents": ["surveyor"], /* agents/surveyor.jsonc */
      "tasks": [
        {"name": "survey", "description": "Measure {harbour}.", "expected_output": "A depth", "agent": "surveyor"},
        {"description": "Again, \\u2713 \\ud83d\\ude80.", "expected_output": "A depth", "agent": "surveyor",
         "context": ["survey"]},
      ],
      "inputs": {"harbour": "Bergen"},
      "process": "sequential",
    }
    """
SURVEYOR = """\
    {
      // who measures
      "role": "Surveyor", "goal": "Measure", "backstory": "Old.", "llm": "openai/gpt-4o-mini",
      "tools": ["custom:depth"],
    }
    """
JSON_FILES = {"crew.jsonc": JSONC, "agents/surveyor.jsonc": SURVEYOR, "tools/depth.py": DEPTH}


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[object]], LoopbackServer]:
    def start(answers: list[object]) -> LoopbackServer:
        server = LoopbackServer(answers)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        return server

    return start


def test_a_crew_in_yaml(write: Callable[..., Path]) -> None:
    """Agents, tasks, tools of its own and built-in ones, functions, and default inputs."""
    crew, defaults = load_crew(write(FILES))
    assert defaults == {"harbour": "Bergen"}
    assert (crew.name, crew.steps) == ("harbour-report", ["survey", "report"])
    surveyor, writer = crew.agents
    assert [tool.name for tool in surveyor.tools] == ["depth", "calculator", "read_file"]
    assert surveyor.tools[2].root.name == "data"
    surveyor.llm = ScriptedLLM([call("depth", harbour="Bergen"), "14.5 m"])
    writer.llm = ScriptedLLM(["It is deep.", "It is 14.5 m."])
    output = crew.kickoff({"year": 2024})
    assert output.raw == "It is 14.5 m."
    prompt = str(surveyor.llm.requests[0].messages)
    assert "Surveyor of Bergen" in prompt
    assert "Measure Bergen in 2024." in prompt


def test_a_conditional_task_and_a_guardrail_in_words(write: Callable[..., Path]) -> None:
    """The condition is a function of the project; a sentence is the guardrail."""
    text = YAML.replace(
        "guardrail: {python: rules.has_a_figure}", "type: ConditionalTask\n        condition: {python: deep_rules.deep}"
    )
    rules = "def deep(output):\n    return 'deep' in output.raw\n"
    text = text.replace("agent: surveyor\n", "agent: surveyor\n        guardrail: It has a unit\n")
    crew, _ = load_crew(write(FILES | {"crew.yaml": text, "deep_rules.py": rules}))
    crew.agents[0].llm = ScriptedLLM(["14.5 m", '{"valid": true}'])
    assert [task.raw for task in crew.kickoff({"year": 2024}).tasks_output] == ["14.5 m", ""]


def test_two_crews_have_modules_and_tools_of_their_own(write: Callable[..., Path]) -> None:
    """Also where the files are called the same, as in two versions of one crew."""
    other = {"rules.py": RULES.replace('"14"', '"15"'), "tools/depth.py": DEPTH.replace("14.5", "15.5")}
    write({f"one/{name}": text for name, text in FILES.items()})
    folder = write({f"two/{name}": text for name, text in (FILES | other).items()})
    one, two = (load_crew(folder / name)[0] for name in ("one", "two"))
    for crew, depth in ((one, "14.5"), (two, "15.5")):
        crew.agents[0].llm = ScriptedLLM([call("depth", harbour="x"), f"{depth} m"])
        crew.agents[1].llm = ScriptedLLM([f"{depth} m"])
        output = crew.kickoff({"year": 1})
        assert output.raw == f"{depth} m"
        assert f"x: {depth} m" in str(crew.agents[0].llm.requests[1].messages)


def test_its_contract(write: Callable[..., Path]) -> None:
    """An input with a default need not be given; null means that it must be; others are taken."""
    crew, _ = load_crew(write(FILES))
    assert crew.contract.required == ("year",)
    assert crew.contract.schema["properties"]["harbour"]["default"] == "Bergen"
    assert crew.contract.check({"year": 1, "more": 2}) == {"harbour": "Bergen", "year": 1, "more": 2}
    with pytest.raises(InputError) as raised:
        crew.kickoff()
    assert raised.value.missing == ("year",)


def test_names_of_inputs_may_be_any(write: Callable[..., Path]) -> None:
    """Those that Python or pydantic use otherwise too."""
    text = YAML.replace("{year}", "{schema} {_id} {in-words} {copy}").replace(
        "year: null", "schema: 1\n      _id: 2\n      in-words: three\n      copy: 4"
    )
    crew, _ = load_crew(write(FILES | {"crew.yaml": text}))
    given = crew.contract.check({"_id": "x"})
    assert given == {"harbour": "Bergen", "schema": 1, "_id": "x", "in-words": "three", "copy": 4}


def test_crewais_form(write: Callable[..., Path]) -> None:
    """``crew.jsonc`` with ``agents/*.jsonc``; comments, commas at the end."""
    crew, defaults = load_crew(write(JSON_FILES) / "crew.jsonc")
    assert defaults == {"harbour": "Bergen"}
    assert crew.tasks[1].description == "Again, ✓ 🚀."
    assert crew.tasks[1].context == [crew.tasks[0]]
    assert crew.agents[0].tools[0].name == "depth"
    assert crew.contract.required == ()


def test_a_hierarchical_crew(write: Callable[..., Path]) -> None:
    """The manager is one of the agents, by name; its tasks need no agent."""
    text = YAML.replace("name: harbour-report", "process: hierarchical\n    manager_agent: writer")
    text = text.replace("        agent: writer\n", "")
    crew, _ = load_crew(write(FILES | {"crew.yaml": text}))
    assert [agent.role for agent in crew.agents] == ["Surveyor of {harbour}"]
    assert crew.manager_agent is not None
    assert crew.manager_agent.role == "Writer"
    assert crew.tasks[1].agent is None


def test_a_manager_of_its_own_file(write: Callable[..., Path]) -> None:
    """In CrewAI's form the manager need not be among the agents; ``$schema`` is for editors."""
    text = JSONC.replace(
        '"process": "sequential"', '"process": "hierarchical", "manager_agent": "chief", "$schema": "x"'
    )
    chief = '{"role": "Chief", "goal": "Lead", "backstory": "", "llm": "openai/gpt-4o-mini"}'
    crew, _ = load_crew(write(JSON_FILES | {"crew.jsonc": text, "agents/chief.json": chief}))
    assert crew.manager_agent is not None
    assert (crew.manager_agent.role, [agent.role for agent in crew.agents]) == ("Chief", ["Surveyor"])
    (tmp := write({})).joinpath("agents/chief.json").unlink()
    with pytest.raises(ConfigError, match=r"manager_agent: there is no file .*agents/chief\.jsonc or \.yaml"):
        load_crew(tmp)


def test_it_runs_with_its_defaults(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """``load_crew_and_kickoff``, and an agent alone."""
    folder = write(JSON_FILES)
    with LoopbackServer(["one", "two", "three"]) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        assert load_crew_and_kickoff(folder, {"harbour": "Oslo"}).raw == "two"
        assert "Measure Oslo." in str(server.requests[0].request.messages)
        assert load_agent(folder / "agents" / "surveyor.jsonc").kickoff("How deep?").raw == "three"


@pytest.mark.parametrize("target", ["crew.yaml", "."])
def test_it_can_be_served(write: Callable[..., Path], target: str) -> None:
    """By its file, or by its folder; without a name of its own it has the folder's."""
    text = YAML.replace("    name: harbour-report\n", "")
    folder = write({f"tide-report/{name}": text for name, text in (FILES | {"crew.yaml": text}).items()})
    registry = Registry.load([target], folder / "tide-report")
    assert registry.names() == ["tide-report"]
    assert Registry.load([f"mine@2={target}"], folder / "tide-report").versions() == [("mine", "2")]


def test_the_definition_follows_the_file(write: Callable[..., Path]) -> None:
    """Another text, another version."""
    first = load_crew(write(FILES))[0].definition
    assert load_crew(write(FILES))[0].definition == first
    assert load_crew(write(FILES | {"crew.yaml": YAML.replace("Measure {", "Gauge {")}))[0].definition != first


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("crew.yaml", "agent: writer", "agent: writr", "crew.yaml, line 24: tasks.report.agent: there is no agent"),
        ("crew.yaml", "in {year}", "in {yeer}", "line 17: tasks.survey.description: there is no input {yeer}; did you"),
        ("crew.yaml", "context: [survey]", "context: [report]", "line 25: tasks.report.context[0]: there is no task"),
        ("crew.yaml", "agent: writer\n", "\n", "crew.yaml, line 20: tasks.report: has no agent"),
        ("crew.yaml", "goal: Write, ", "", "crew.yaml, line 14: agents.writer: goal is missing"),
        ("crew.yaml", "- calculator", "- calculater", "line 12: agents.surveyor.tools[1]: there is no built-in tool"),
        ("crew.yaml", "root: data", "root: dat", "line 13: agents.surveyor.tools[2]: "),
        ("crew.yaml", "root: data", "rot: data", "line 13: agents.surveyor.tools[2]: "),
        ("crew.yaml", "custom:depth", "custom:dept", "tools/dept.py; did you mean 'custom:depth'?"),
        ("crew.yaml", "rules.has_a_figure", "rules.has", "tasks.report.guardrail.python: 'rules.has' cannot be imp"),
        (
            "crew.yaml",
            "name: harbour-report",
            "proces: x",
            "crew.yaml, line 1: proces: there is no field 'proces'; did",
        ),
        ("crew.yaml", "name: harbour-report", "process: both", "crew.yaml, line 1: process: input should be"),
        ("crew.yaml", "name: harbour-report", "verbose: maybe", "crew.yaml, line 1: verbose: input should be a valid"),
        ("crew.yaml", "agents:\n", "agents: 3\nx:\n", "crew.yaml, line 5: agents: must be a list or a mapping"),
        (
            "crew.jsonc",
            '"description": "Again',
            '"text": "Again',
            "crew.jsonc, line 7: tasks[1].text: there is no field",
        ),
        ("crew.jsonc", '"inputs": {', '"inputs" {', "crew.jsonc, line 10: expected ':' after 'inputs', got '{"),
        ("crew.jsonc", '["surveyor"]', '["surveyr"]', "crew.jsonc, line 4: agents[0]: there is no file agents/surveyr"),
        ("agents/surveyor.jsonc", '"Measure"', "17", "agents/surveyor.jsonc, line 3: goal: input should be a valid st"),
        ("agents/surveyor.jsonc", '"tools"', '"tool"', "agents/surveyor.jsonc, line 4: tool: there is no field 'tool'"),
        ("tools/depth.py", "@tool", "#", "tools/depth.py has no tool"),
    ],
)
def test_errors_name_file_line_and_field(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, file: str, old: str, new: str, said: str
) -> None:
    """Everything wrong in a file is found when it is read."""
    files = JSON_FILES if file.endswith("jsonc") else FILES
    files = {name: textwrap.dedent(text) for name, text in files.items()}
    assert old in files[file]
    folder = write(files | {file: files[file].replace(old, new, 1)})
    monkeypatch.chdir(folder)
    with pytest.raises(ConfigError) as raised:
        load_crew(folder)
    assert said in str(raised.value)


BITS = [
    *(
        "{",
        "}",
        "[",
        "]",
        ":",
        "- ",
        "\n",
        "  ",
        "null",
        "~",
        "1",
        "&a ",
        "*a",
        "<<: *a",
        "'",
        '"',
        "|",
        "> ",
        ",",
        "//",
        "/*",
    ),
    *(
        "{x}",
        "{ x }",
        "!!python/object:os.system",
        "!!binary x",
        "2024-01-01",
        "\t",
        "\0",
        "agents",
        "custom:../x",
        "é",
    ),
    *("ReadFile: {root: 3}", "{python: os.nope}", "{python: 3}", "1e999", ".nan", "? a"),
]


@given(
    name=st.sampled_from(["crew.yaml", "crew.jsonc", "agents/surveyor.jsonc"]),
    changes=st.lists(
        st.tuples(st.integers(0, 2000), st.integers(0, 8), st.sampled_from(["", *BITS])), min_size=1, max_size=3
    ),
)
def test_a_spoilt_file_is_a_crew_or_one_clear_error(name: str, changes: list[tuple[int, int, str]]) -> None:
    """Whatever is put into a file or taken out of it: never another error than ours, and it names a file."""
    files = {path: textwrap.dedent(text) for path, text in (FILES | JSON_FILES).items()}
    for at, taken, put in changes:
        at %= len(files[name])
        files[name] = files[name][:at] + put + files[name][at + taken :]
    with tempfile.TemporaryDirectory() as folder:
        for path, text in files.items():
            file = Path(folder) / path
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
        said = folder
        try:
            load_crew(Path(folder) / ("crew.yaml" if name == "crew.yaml" else "crew.jsonc"))
        except ConfigError as error:
            said = str(error)
        assert folder in said


def test_no_crew_there(tmp_path: Path) -> None:
    """A folder without one, and a file that is not there."""
    with pytest.raises(ConfigError, match=r"has none of crew\.yaml"):
        load_crew(tmp_path)
    with pytest.raises(ConfigError, match="there is no file"):
        load_target("crew.yaml", tmp_path)
    with pytest.raises(ConfigError, match=r"has no quarterdeck\.toml"):
        Registry.load(["."], tmp_path)

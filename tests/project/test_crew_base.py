"""A crew as a class: ``@CrewBase`` with its YAML files."""

from __future__ import annotations

import copy
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quarterdeck import Agent, Crew, Task
from quarterdeck.errors import ConfigError, InputError
from quarterdeck.hooks import before_llm_call
from quarterdeck.project import CrewBase, agent, crew, load_target, task
from quarterdeck.testing import ScriptedLLM

AGENTS = """\
    researcher:
      role: >
        Researcher of {topic}
      goal: Find facts
      backstory: Careful.
      llm: fast
      tools: [lookup]
      step_callback: on_step
    writer:
      role: Writer
      goal: Write
      llm: slow
    """
TASKS = """\
    research:
      description: Research {topic}.
      expected_output: Facts
      agent: researcher
      callbacks: [first, made]
    write:
      description: Write about {topic}.
      expected_output: A text
      agent: writer
      context: [research]
      output_pydantic: Text
      guardrail: is_short
    """
CREW = """\
    from pydantic import BaseModel
    from quarterdeck import Agent, Crew, Task
    from quarterdeck.project import (
        CrewBase, after_kickoff, agent, before_kickoff, callback, crew, llm, output_pydantic, task, tool,
    )
    from quarterdeck.testing import ScriptedLLM, call
    from quarterdeck.tools import tool as make_tool

    @CrewBase
    class HarbourNews:
        def __init__(self):
            self.seen = []
            self.models = []

        @output_pydantic
        class Text(BaseModel):
            text: str

        @llm
        def fast(self):
            self.models.append("fast")
            return ScriptedLLM([call("look_up", word="tides"), "Twice a day."])

        @llm
        def slow(self):
            return ScriptedLLM(['{"text": "The tide comes twice a day, and that is long"}', '{"text": "Twice."}'])

        @tool
        def lookup(self):
            @make_tool
            def look_up(word: str) -> str:
                "Looks a word up."
                return f"{word}: twice a day"
            return look_up

        @callback
        def on_step(self, step):
            self.seen.append(type(step).__name__)

        @callback
        def first(self, output):
            self.seen.append(f"first {output.raw}")

        @callback
        def made(self):
            return lambda output: self.seen.append("made")

        def is_short(self, output):
            return (True, output) if len(output.raw) < 30 else (False, "shorter")

        @before_kickoff
        def prepare(self, inputs):
            return {"topic": inputs["topic"].lower()}

        @after_kickoff
        def finish(self, output):
            self.seen.append("after")
            return output

        @agent
        def idle(self) -> Agent:
            return Agent(role="Idle", goal="Wait", llm=ScriptedLLM([]))

        @agent
        def writer(self) -> Agent:
            return Agent(config=self.agents_config["writer"])

        @agent
        def researcher(self) -> Agent:
            return Agent(config=self.agents_config["researcher"], max_iter=7)

        @task
        def research(self) -> Task:
            return Task(config=self.tasks_config["research"])

        @task
        def write(self) -> Task:
            return Task(config=self.tasks_config["write"])

        @crew
        def crew(self) -> Crew:
            return Crew(agents=self.agents, tasks=self.tasks)
    """
FILES = {"crew.py": CREW, "config/agents.yaml": AGENTS, "config/tasks.yaml": TASKS}


def made(folder: Path) -> Any:
    """An instance of the class in crew.py."""
    load_target("crew.py:HarbourNews", folder)
    module = next(m for n, m in sys.modules.items() if getattr(m, "__file__", None) == str(folder / "crew.py"))
    return module.HarbourNews()


def test_names_become_what_the_class_makes(write: Callable[..., Path]) -> None:
    """Models, tools, callbacks, classes, guardrails, agents and tasks by name; hooks, names and order as in CrewAI."""
    news = made(write(FILES))
    crew = news.crew()
    assert [task.name for task in crew.tasks] == ["research", "write"]
    assert [agent.role for agent in crew.agents] == ["Researcher of {topic}", "Writer", "Idle"]
    assert crew.name == "HarbourNews"
    assert crew.tasks[0].agent is news.researcher()
    assert crew.tasks[0].agent.max_iter == 7
    assert crew.tasks[1].context == [crew.tasks[0]]
    output = crew.kickoff({"topic": "TIDES"})
    assert output.pydantic.text == "Twice."
    assert news.seen == ["AgentAction", "AgentFinish", "first Twice a day.", "made", "after"]
    assert "Research tides." in str(crew.agents[0].llm.requests[0].messages)
    assert news.models == ["fast"]


def test_each_instance_has_its_own(write: Callable[..., Path]) -> None:
    """Made many times, also at once: nothing is shared, and within an instance each thing is made once."""
    folder = write(FILES)
    first = made(folder)
    others = [type(first)() for _ in range(5)]
    assert len({id(item.crew().tasks[0]) for item in [first, *others]}) == 6
    assert first.crew() is first.crew()
    assert len(first.crew().after_kickoff_callbacks) == 1
    assert copy.deepcopy(first).crew() is not first.crew()
    shared = type(first)()
    crews: list[Any] = []
    threads = [threading.Thread(target=lambda: crews.append(shared.crew())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(crew) for crew in crews}) == 1
    assert shared.models == ["fast"]


def test_a_subclass_adds_to_it(write: Callable[..., Path]) -> None:
    """Decorated again or not, with more tasks and another method in a task's place."""
    cls = type(made(write(FILES)))

    @CrewBase
    class More(cls):  # type: ignore[misc, valid-type]
        @task
        def research(self) -> Task:
            found = super().research()
            return found.model_copy(update={"description": "Other."})

        @task
        def check(self) -> Task:
            return Task(description="Check.", expected_output="", agent=self.writer())

    tasks = More().crew().tasks
    assert [item.name for item in tasks] == ["research", "write", "check"]
    assert tasks[0].description == "Other."
    assert cls().crew().tasks[0].description == "Research {topic}."


def test_configs_as_dicts_and_other_paths(write: Callable[..., Path]) -> None:
    """``agents_config`` may be a dict, ``tasks_config`` another path; without files there are no entries."""
    code = CREW.replace("    class HarbourNews:\n", "    class HarbourNews:\n        tasks_config = 'mine.yml'\n", 1)
    code = code.replace(
        "tasks_config = 'mine.yml'\n",
        "tasks_config = 'mine.yml'\n        agents_config = {'researcher': {'role': 'R', 'goal': 'G', 'llm': 'fast'},"
        " 'writer': {'role': 'W', 'goal': 'G', 'llm': 'slow'}}\n",
    )
    news = made(write({"crew.py": code, "mine.yml": TASKS}))
    assert [agent.role for agent in news.crew().agents] == ["R", "W", "Idle"]
    assert type(news).tasks_config == "mine.yml"


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("agents", "goal: Find facts", "gaol: Find facts", "agents.yaml, line 4: researcher.gaol: there is no field"),
        ("agents", "  goal: Find facts\n", "", "config/agents.yaml, line 1: researcher: goal is missing"),
        ("agents", "Careful.", "[1]", "config/agents.yaml, line 5: researcher.backstory: input should be a valid"),
        ("agents", "tools: [lookup]", "tools: [lokup]", "line 7: researcher.tools[0]: there is no @tool 'lokup'"),
        ("agents", "llm: fast", "llm: fasst", "agents.yaml, line 6: researcher.llm: there is no @llm method 'fasst'"),
        ("agents", "{topic}", "{ topic }", "researcher.role: '{ topic }' is no placeholder: write {topic}"),
        ("agents", "  llm: slow", "  llm: slow\n  goal: More", "config/agents.yaml, line 13: the key 'goal' is there"),
        ("agents", "writer:", "wrter:", "config/agents.yaml has no 'writer'; did you mean 'wrter'?"),
        ("agents", "llm: slow", "memory: true", "config/agents.yaml, line 12: writer.memory: memory: is not supported"),
        ("tasks", "agent: researcher", "agent: reseacher", "config/tasks.yaml, line 4: research.agent: there is no"),
        ("tasks", "agent: researcher", "agent: 7", "config/tasks.yaml, line 4: research.agent: input should be"),
        ("tasks", "context: [research]", "context: [write]", "needs itself to be made"),
        ("tasks", "guardrail: is_short", "guardrail: is_shrt", "line 12: write.guardrail: HarbourNews has no method"),
        ("tasks", "output_pydantic: Text", "output_pydantic: Txt", "write.output_pydantic: there is no @output_pyd"),
        ("tasks", "research:\n", "research: [a]\nother:\n", "config/tasks.yaml, line 1: research: must be a mapping"),
        (
            "tasks",
            "agent: writer",
            "agent: 'writer",
            "unexpected end of stream, while scanning a quoted scalar that begins in line 9",
        ),
    ],
)
def test_errors_name_file_line_and_field(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, file: str, old: str, new: str, said: str
) -> None:
    """What is wrong in a YAML file is found when the crew is made."""
    path = f"config/{file}.yaml"
    text = textwrap.dedent(FILES[path])
    assert old in text
    folder = write(FILES | {path: text.replace(old, new, 1)})
    monkeypatch.chdir(folder)
    with pytest.raises(ConfigError) as raised:
        load_target("crew.py:HarbourNews", folder)
    assert said in str(raised.value)


def test_a_file_that_is_not_there(write: Callable[..., Path]) -> None:
    """A named file must be there; a default one may be missing, and the error says so."""
    with pytest.raises(ConfigError, match=r"agents\.yaml \(no such file\) has no 'researcher'; there are none"):
        load_target("crew.py:HarbourNews", write({"crew.py": CREW, "config/tasks.yaml": TASKS}))


def test_what_a_method_returns_is_checked() -> None:
    """``@agent`` makes an Agent, ``@crew`` a Crew."""

    @CrewBase
    class Wrong:
        @agent
        def mate(self) -> Any:
            return "mate"

        @crew
        def crew(self) -> Any:
            return None

    with pytest.raises(ConfigError, match=r"Wrong\.mate\(\) must return an Agent, it returned str"):
        Wrong().mate()  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match=r"Wrong\.crew\(\) must return a Crew, it returned NoneType"):
        Wrong().crew()  # type: ignore[call-arg]


def test_hooks_of_the_class_are_its_crews() -> None:
    """Methods marked as hooks are called in the runs of this class's crew alone."""
    seen: list[str] = []

    @CrewBase
    class Hooked:
        @before_llm_call
        def note(self, context: Any) -> None:
            seen.append(type(self).__name__)

        @agent
        def mate(self) -> Agent:
            return Agent(role="Mate", goal="Help", llm=ScriptedLLM(["done"]))

        @task
        def work(self) -> Task:
            return Task(description="Work.", expected_output="", agent=self.mate())

        @crew
        def crew(self) -> Crew:
            return Crew(agents=self.agents, tasks=self.tasks)  # type: ignore[attr-defined]

    hooked = Hooked().crew()
    other = Crew(
        tasks=[Task(description="x", expected_output="", agent=Agent(role="R", goal="G", llm=ScriptedLLM(["y"])))]
    )
    other.kickoff()
    assert seen == []
    hooked.kickoff()
    assert seen == ["Hooked"]
    assert len(Hooked().crew().hooks) == len(hooked.hooks) == 1


def test_inputs_that_a_hook_may_add(write: Callable[..., Path]) -> None:
    """What ``@before_kickoff`` puts in need not be given; what is missing after it is an error of the run."""
    code = CREW.replace(
        'return {"topic": inputs["topic"].lower()}', 'return {"topic": "tides"} if "sea" in inputs else {}'
    )
    crew = made(write(FILES | {"crew.py": code})).crew()
    assert crew.contract.required == ("topic",)
    assert crew.contract.schema["required"] == []
    assert crew.contract.check({"sea": "North"}) == {"sea": "North"}
    with pytest.raises(InputError, match="needs the input topic"):
        crew.kickoff({"land": 1})
    assert crew.kickoff({"sea": 1}).pydantic.text == "Twice."


def test_placeholders_fit_the_declared_inputs(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """With an ``inputs_model``, a name that it does not have is found before anything runs."""
    code = CREW.replace("tasks=self.tasks)", "tasks=self.tasks, inputs_model=Inputs)")
    code = code.replace(
        "    @CrewBase", "    class Inputs(BaseModel):\n        topic: str = 'tides'\n\n    @CrewBase", 1
    )
    folder = write(FILES | {"crew.py": code})
    assert made(folder).crew().kickoff({"topic": "sea"}).pydantic.text == "Twice."
    wrong = folder / "two"
    write({f"two/{name}": text for name, text in (FILES | {"crew.py": code}).items()})
    tasks = wrong / "config" / "tasks.yaml"
    tasks.write_text(tasks.read_text().replace("Write about {topic}", "Write about {topik}"))
    monkeypatch.chdir(wrong)
    said = (
        r"config/tasks\.yaml, line 7: write\.description: there is no input \{topik\} in Inputs; did you mean 'topic'\?"
    )
    with pytest.raises(ConfigError, match=said):
        load_target("crew.py:HarbourNews", wrong)


def test_code_for_crewai_says_what_to_do(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    others = [finder for finder in sys.meta_path if type(finder).__module__ != "quarterdeck.compat.finder"]
    monkeypatch.setattr(sys, "meta_path", others)  # other tests may have made crewai importable
    for name in [name for name in sys.modules if name.partition(".")[0] == "crewai"]:
        monkeypatch.delitem(sys.modules, name)
    folder = write({"crew.py": "from crewai import Crew\n", "pkg/__init__.py": "", "pkg/crew.py": "import crewai\n"})
    for target in ("crew.py", "pkg.crew"):
        with pytest.raises(ConfigError, match="needs 'crewai', which is not installed: 'quarterdeck run --compat'"):
            load_target(target, folder)


def test_a_module_is_found_beside_the_file(write: Callable[..., Path]) -> None:
    """``{"python": "my_module.name"}`` in a YAML file."""
    rules = "def is_short(output):\n    return True, output\n"
    tasks = TASKS.replace("guardrail: is_short", "guardrail: {python: qd_rules_here.is_short}")
    folder = write(FILES | {"config/qd_rules_here.py": rules, "config/tasks.yaml": tasks})
    news = made(folder)
    assert news.crew().tasks[1].guardrail.__name__ == "is_short"

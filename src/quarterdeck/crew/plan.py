"""A crew's tasks made ready for one run: names, texts with the inputs put in, and who waits for whom."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from quarterdeck.agent.agent import Agent
from quarterdeck.agent.delegation import team
from quarterdeck.agent.interpolation import as_text, interpolate, missing_inputs, placeholders
from quarterdeck.agent.llm_guardrail import LLMGuardrail
from quarterdeck.crew.contract import TRIGGER
from quarterdeck.crew.staff import Staff
from quarterdeck.errors import InputError
from quarterdeck.task.conditional import ConditionalTask
from quarterdeck.task.planned import PlannedTask, output_path, task_names
from quarterdeck.task.task import Task


def plan(tasks: Sequence[Task], inputs: Mapping[str, Any], staff: Staff) -> list[PlannedTask]:
    """Makes the tasks ready.

    Raises:
        InputError: Inputs are missing, or one cannot be written into a text or a path.
    """
    try:
        return _planned(tasks, inputs, staff)
    except InputError as error:
        if not error.missing:
            raise
    raise missing_inputs(_needs(tasks, inputs, staff), inputs)  # all of them, not the first text's alone


def _planned(tasks: Sequence[Task], inputs: Mapping[str, Any], staff: Staff) -> list[PlannedTask]:
    names = task_names(tasks)
    places = {id(task): n for n, task in enumerate(tasks)}
    present = staff.taking_part(tasks)
    personas = {id(agent): staff.persona(agent, inputs) for agent in present}
    shared = any(staff.coworkers(task) for task in tasks)
    everybody = [agent for agent in staff.agents if id(agent) in personas] if shared else []
    whole = team(everybody, personas, staff.max_delegations, staff.max_depth)
    members = {id(member.agent): member for member in whole.coworkers}
    planned: list[PlannedTask] = []
    for n, task in enumerate(tasks):
        where = f"task {names[n]!r}"
        given = task.context_tasks
        worker = staff.worker(task)
        coworkers = tuple(members[id(agent)] for agent in staff.coworkers(task))
        planned.append(
            PlannedTask(
                index=n,
                name=names[n],
                task=task,
                agent=worker,
                persona=personas[id(worker)],
                description=interpolate(task.description, inputs, f"{where} description"),
                expected_output=interpolate(task.expected_output, inputs, f"{where} expected_output"),
                output_file=output_path(task.output_file, inputs, f"{where} output_file") if task.output_file else None,
                context=None if given is None else tuple(places[id(item)] for item in given),
                trigger=_trigger(task, inputs, first=n == 0 and staff.manager is None),
                tools=tuple(staff.tools(task)),
                coworkers=coworkers,
                team=whole if coworkers else None,
                managed=staff.manager is not None,
            )
        )
    return planned


def _trigger(task: Task, inputs: Mapping[str, Any], *, first: bool) -> str:
    """What started the run, as far as the task is told: the first task of a sequential crew is, unless it says no."""
    wanted = task.allow_crewai_trigger_context
    if wanted is None:
        wanted = first and TRIGGER not in placeholders(task.description)
    return as_text(TRIGGER, inputs[TRIGGER]) if wanted and TRIGGER in inputs else ""


def _needs(tasks: Sequence[Task], inputs: Mapping[str, Any], staff: Staff) -> dict[str, set[str]]:
    """For each text of the tasks and their agents, the names that it needs and that are not there."""
    needs: dict[str, set[str]] = {}
    texts: list[tuple[str, Task | Agent, str]] = []
    for name, task in zip(task_names(tasks), tasks, strict=True):
        texts += [(f"task {name!r}", task, field) for field in ("description", "expected_output", "output_file")]
        texts += _texts(staff.worker(task))
    for agent in staff.taking_part(tasks):
        texts += _texts(agent)
    for owner, definition, field in texts:
        missing = placeholders(getattr(definition, field) or "") - inputs.keys()
        if missing:  # two agents may have the same role
            needs[f"{owner} {field}"] = needs.get(f"{owner} {field}", set()) | missing
    return needs


def _texts(agent: Agent) -> list[tuple[str, Task | Agent, str]]:
    return [(f"agent {agent.role!r}", agent, field) for field in ("role", "goal", "backstory")]


def definition_digest(tasks: Sequence[Task], staff: Staff) -> str:
    """Digest of what the tasks and their agents say: a run that goes on must meet the crew it began with."""
    parts: list[Any] = []
    for name, task in zip(task_names(tasks), tasks, strict=True):
        worker = staff.worker(task)
        tools = [tool.name for tool in staff.tools(task)]
        model = task.answer_model.model_json_schema() if task.answer_model else None
        parts.append([name, task.description, task.expected_output, task.async_execution, tools, model])
        sentences = [item.description for item in task.all_guardrails() if isinstance(item, LLMGuardrail)]
        parts.extend([sentences] if sentences else [])
        parts.extend(["conditional"] if isinstance(task, ConditionalTask) else [])
        parts.append([worker.role, worker.goal, worker.backstory])
        if coworkers := staff.coworkers(task):
            parts.append([agent.role for agent in coworkers])
    for agent in staff.taking_part(tasks)[1:] if any(staff.coworkers(task) for task in tasks) else ():
        parts.append([agent.role, agent.goal, agent.backstory, [tool.name for tool in agent.tools]])
    parts.extend([{role: list(rules) for role, rules in staff.lessons.items()}] if staff.lessons else [])
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()

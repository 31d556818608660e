"""Work that one agent hands to another while it works on a task: the two coworker tools, and what holds them in bounds.

Each piece is worked on at a path of its own below the tool call's, such as ``task_1/1/tool/2/delegate/llm/1``: a run
that goes on after a crash finds the finished steps of a piece that was under way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, WithJsonSchema, create_model
from pydantic_core import PydanticCustomError

from quarterdeck.agent import framing, prompts
from quarterdeck.agent.framing import Persona
from quarterdeck.agent.rate import RateLimit
from quarterdeck.errors import LLMError, TaskError
from quarterdeck.events import LimitReached, ToolFinished
from quarterdeck.runtime.run import Run
from quarterdeck.tools import BaseTool
from quarterdeck.tools.base import never_cache
from quarterdeck.tools.context import current_step
from quarterdeck.tools.failure import FailurePolicy, ToolFailure
from quarterdeck.tools.infer import Arguments

if TYPE_CHECKING:
    from quarterdeck.agent.agent import Agent

DELEGATE, ASK = "Delegate work to coworker", "Ask question to coworker"
"""The tools' names, as in CrewAI; models see ``delegate_work_to_coworker`` and ``ask_question_to_coworker``."""

Kind = Literal["delegate", "ask"]


@dataclass(frozen=True, slots=True)
class Coworker:
    """An agent that can be handed work in one run.

    Args:
        name: What it is called: its role, numbered where another agent has the same.
        agent: The agent.
        persona: Its texts.
    """

    name: str
    agent: Agent
    persona: Persona


@dataclass(frozen=True, slots=True)
class Team:
    """Who can be handed work in one run, and how much of it.

    Args:
        coworkers: All of them.
        max_delegations: Pieces of work and questions in one try of a task, those that coworkers hand on included.
        max_depth: How far a piece may be handed on: 1 means that a coworker hands nothing on.
    """

    coworkers: tuple[Coworker, ...]
    max_delegations: int
    max_depth: int


def team(agents: Sequence[Agent], personas: Mapping[int, Persona], max_delegations: int, max_depth: int) -> Team:
    """The team of one run; ``personas`` are by the agents' ``id()``."""
    names: list[str] = []
    for agent in agents:
        name, count = personas[id(agent)].role, 1
        while name in names:
            count += 1
            name = f"{personas[id(agent)].role} ({count})"
        names.append(name)
    members = [Coworker(name, agent, personas[id(agent)]) for name, agent in zip(names, agents, strict=True)]
    return Team(tuple(members), max_delegations, max_depth)


class Delegation:
    """The work that is handed out in one try of a task.

    Args:
        run: The run.
        path: The try's path, such as ``task_1/1``.
        team: Who there is, and the limits.
        cache: Whether the crew caches tool results.
        rate: The crew's rate limit.
        step_callback: The crew's.
        policy: The task's ``tool_failure_policy``.
    """

    def __init__(
        self,
        run: Run,
        path: str,
        team: Team,
        *,
        cache: bool = False,
        rate: RateLimit | None = None,
        step_callback: Callable[..., Any] | None = None,
        policy: FailurePolicy | None = None,
    ) -> None:
        self.run = run
        self.team = team
        self._shared: dict[str, Any] = {"cache": cache, "rate": rate, "step_callback": step_callback, "policy": policy}
        self._begun = {p for p, event in run.finished.items() if p.startswith(f"{path}/") and _is_piece(event)}

    def tools(self, coworkers: Sequence[Coworker], chain: tuple[Coworker, ...]) -> list[BaseTool]:
        """The coworker tools; none where there is nobody, or the chain is as long as it may be.

        Args:
            coworkers: Who can be handed work.
            chain: Who waits for it: the first one works on the task, each handed a piece to the next; the last one
                gets the tools.
        """
        if not coworkers or len(chain) > self.team.max_depth:
            return []
        return [CoworkerTool(self, "delegate", coworkers, chain), CoworkerTool(self, "ask", coworkers, chain)]

    async def piece(self, path: str, kind: Kind, text: str, context: str, chain: tuple[Coworker, ...]) -> Any:
        """Lets the last of the chain work on a piece, and gives its answer; a failure is told to who asked."""
        limit = self.team.max_delegations
        if path not in self._begun and len(self._begun) >= limit:
            self.run.emit(LimitReached(path=path, limit="max_delegations", allowed=limit, used=limit))
            return ToolFailure(prompts.delegations_used_up(limit), reason="usage_limit")
        self._begun.add(path)
        who = chain[-1]
        expected = prompts.DELEGATED if kind == "delegate" else ""
        tools = [*who.agent.tools, *self._handing_on(chain)]
        here, agent, persona = f"{path}/{kind}", who.agent, who.persona
        try:
            prompt = prompts.task(text, expected, context, "", None)
            if plan := await agent.plan(self.run, f"{here}/plan", persona, prompt, tools, self._shared["rate"]):
                prompt = prompts.task(text, expected, context, "", None, plan)
            messages = framing.first_messages(agent, persona, prompt)
            answer = await agent.work(self.run, here, persona, messages, tools=tools, **self._shared)
        except (LLMError, TaskError) as error:
            again = isinstance(error, LLMError) and error.retryable
            said = f"{who.name} gave no answer: {error}"
            return ToolFailure(said, reason="exception", code=type(error).__name__, retryable=again)
        return answer.text

    def _handing_on(self, chain: tuple[Coworker, ...]) -> list[BaseTool]:
        if not chain[-1].agent.allow_delegation:
            return []
        busy = {id(member.agent) for member in chain}
        return self.tools([other for other in self.team.coworkers if id(other.agent) not in busy], chain)


def _is_piece(event: Any) -> bool:
    if not isinstance(event, ToolFinished) or event.tool not in (DELEGATE, ASK):
        return False
    return event.reason not in ("invalid_input", "usage_limit", "blocked")


class CoworkerTool(BaseTool):
    """One of the two coworker tools. It belongs to one conversation: a task's try, or a piece of it.

    Args:
        delegation: The work of the try.
        kind: Which of the two.
        coworkers: Who can be handed work.
        chain: Who waits for it; the last one has the tool.
    """

    cache_function: Callable[..., bool] = never_cache
    max_result_chars: int | None = None  # who checks an answer has to see it all

    _delegation: Delegation = PrivateAttr()
    _kind: Kind = PrivateAttr()
    _coworkers: dict[str, Coworker] = PrivateAttr()
    _chain: tuple[Coworker, ...] = PrivateAttr()

    def __init__(
        self, delegation: Delegation, kind: Kind, coworkers: Sequence[Coworker], chain: tuple[Coworker, ...]
    ) -> None:
        names = [coworker.name for coworker in coworkers]
        who = [(coworker.name, coworker.persona.goal) for coworker in coworkers]
        super().__init__(
            name=DELEGATE if kind == "delegate" else ASK,
            description=prompts.delegate_tool(who) if kind == "delegate" else prompts.ASK_TOOL,
            args_schema=_arguments(kind, _coworker(names, [member.name for member in chain])),
        )
        self._delegation = delegation
        self._kind = kind
        self._coworkers = dict(zip(names, coworkers, strict=True))
        self._chain = chain

    async def _arun(self, coworker: str, context: str, task: str = "", question: str = "") -> Any:
        step = current_step()
        assert step, "an agent's loop calls this tool"
        chain = (*self._chain, self._coworkers[coworker])
        return await self._delegation.piece(step.path, self._kind, task or question, context, chain)


def _arguments(kind: Kind, coworker: Any) -> type[Arguments]:
    fields: dict[str, Any] = {
        "task" if kind == "delegate" else "question": (Annotated[str, Field(min_length=1)], ...),
        "context": (Annotated[str, Field(description=prompts.CONTEXT_ARGUMENT)], ""),
        "coworker": (coworker, ...),
    }
    return create_model(f"{kind}_arguments", __base__=Arguments, **fields)


def _coworker(names: Sequence[str], chain: Sequence[str]) -> Any:
    """The type of ``coworker``: one of the names, however a model spells it; any other is told what there is."""
    known = {_plain(name): name for name in reversed(names)}
    waiting = {_plain(name) for name in chain}

    def check(value: Any) -> str:
        if value in names:
            return value
        wanted = _plain(value) if isinstance(value, str) else ""
        if wanted in known:
            return known[wanted]
        said = prompts.coworker_waits(chain, names) if wanted in waiting else prompts.no_such_coworker(names)
        raise PydanticCustomError("coworker", "{said}", {"said": said})

    schema = {"type": "string", "enum": list(names)}
    return Annotated[str, BeforeValidator(check), WithJsonSchema(schema)]


def _plain(name: str) -> str:
    """A name without the quotes, spaces and capitals that models vary (CrewAI's rule)."""
    return " ".join(name.replace('"', " ").replace("'", " ").split()).casefold()

"""A flow with branches, a loop and crews for the test that kills its process, and that process.

Run as a program, it forks a process for each line of its input: it writes the process's id, and how it ended.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import traceback
from typing import Any

from pydantic import BaseModel

from quarterdeck import LLM, Agent, Crew, Task
from quarterdeck.flow import Flow, and_, listen, or_, router, start
from quarterdeck.llm.types import LLMRequest, UsageMetrics

ROUNDS = 2

LLM_PATHS = {
    "plan/1/llm/1",
    *(f"sound/{n}/crew/1/{task}/1/llm/1" for n in range(1, ROUNDS + 1) for task in ("depth", "chart")),
    *(f"watch/{n}/agent/1/agent/1/llm/1" for n in range(1, ROUNDS + 1)),
}
METHODS = {
    "plan/1",
    *(f"{name}/{n}" for n in range(1, ROUNDS + 1) for name in ("leg", "sound", "watch", "log", "check", "more")),
    "arrive/1",
} - {f"more/{ROUNDS}"}


def answer(request: LLMRequest) -> str:
    """What the model says: a function of the whole conversation, so that the last answer shows any difference."""
    return hashlib.sha256(json.dumps(list(request.messages), sort_keys=True).encode()).hexdigest()[:12]


class Log(BaseModel):
    rounds: int = 0
    soundings: list[str] = []
    by: dict[str, int] = {}
    seen: str = ""
    count: int = 0


def build(base_url: str, calls: str) -> Flow[Log]:
    """The flow.

    Args:
        base_url: Where the model is.
        calls: A file that each method writes its name to.
    """
    llm = LLM("openai/gpt-4o-mini", base_url=base_url, api_key="key", max_retries=0)
    sailor = Agent(role="Sailor", goal="Sail", llm=llm)
    tasks = [
        Task(name=name, description=f"{name} {{leg}}", expected_output="T", agent=sailor) for name in ("depth", "chart")
    ]
    crew = Crew(tasks=tasks)

    def called(name: str) -> None:
        handle = os.open(calls, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(handle, f"{name}\n".encode())
        os.close(handle)

    class Voyage(Flow[Log]):
        @start()
        def plan(self) -> str:
            called("plan")
            self.state.seen = str(llm.call("Where to?"))
            return self.state.seen

        @listen(or_(plan, "further"))
        def leg(self) -> int:
            called("leg")
            self.state.rounds += 1
            return self.state.rounds

        @listen(leg)
        def sound(self, leg: int) -> str:
            called("sound")
            self.state.count += 1
            self.state.soundings.append(f"before {leg}")
            output = crew.kickoff({"leg": f"{leg} of {self.state.seen}"})
            self.state.soundings.append(output.raw)
            return output.raw

        @listen(leg)
        async def watch(self, leg: int) -> str:
            called("watch")
            self.state.count += 10
            self.state.by[f"leg {leg}"] = self.state.by.get(f"leg {leg}", 0) + 1
            return (await sailor.kickoff_async(f"Watch on leg {leg}")).raw

        @listen(and_(sound, watch))
        def log(self) -> str:
            called("log")
            self.state.count += 100
            return f"{self.state.rounds}: {self.state.soundings[-1]}"

        @router(log)
        def check(self) -> str:
            called("check")
            return "on" if self.state.rounds < ROUNDS else "there"

        @router("on")
        def more(self) -> str:
            called("more")
            return "further"

        @listen("there")
        async def arrive(self) -> dict[str, Any]:
            called("arrive")
            return self.state.model_dump(exclude={"id"})

    return Voyage()


def run(job: dict[str, str]) -> None:
    """Does one run and leaves its output in a file."""
    flow = build(job["base_url"], job["calls"])
    result = flow.kickoff(journal=job["journal"], run_id=job["run"])
    state = flow.state.model_dump(exclude={"id"})
    with open(job["output"], "w") as file:
        json.dump({"result": result, "state": state, "tokens": flow.usage_metrics.total_tokens}, file)


def serve() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                run(json.loads(line))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    # Loaded now, or each process would load them for itself.
    import aiohttp  # noqa: F401
    import psycopg  # noqa: F401

    import quarterdeck.runtime.journal.sqlite  # noqa: F401

    LLM("openai/gpt-4o-mini", api_key="key").cost(UsageMetrics(prompt_tokens=1))  # the prices
    serve()

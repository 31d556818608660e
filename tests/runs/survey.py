"""A crew of ten steps for the tests that kill its process, and that process.

Run as a program, it forks a process for each line of its input, so that each begins at once and with nothing loaded
but modules: it writes the process's id, and how it ended.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
import traceback
from typing import Any

from quarterdeck import LLM, Agent, Crew, Task
from quarterdeck.llm.types import LLMRequest, ToolCall
from quarterdeck.task import TaskOutput
from quarterdeck.tools import tool
from quarterdeck.tools.context import step_key

WISHES = {"Survey": ["bay", "cape"], "North": ["fjord", "skerry"], "South": [], "Report": []}
"""The tasks, and what each measures with the tool, side by side: four tool calls; and six calls to the model."""

LLM_PATHS = {
    *("survey/1/llm/1", "survey/1/llm/2", "north/1/llm/1", "north/1/llm/2"),
    *("south/1/llm/1", "report/1/llm/1"),
}
TOOL_PATHS = {"survey/1/tool/1", "survey/1/tool/2", "north/1/tool/1", "north/1/tool/2"}


def answer(request: LLMRequest) -> Any:
    """What the model says: a function of the whole conversation, so that the last answer shows any difference."""
    digest = hashlib.sha256(json.dumps(list(request.messages), sort_keys=True).encode()).hexdigest()[:12]
    task = str(request.messages[1]["content"]).split()[0]
    if request.messages[-1]["role"] == "tool" or not WISHES[task]:
        return f"{task} {digest}"
    places = enumerate(WISHES[task])
    return [ToolCall(f"call_{digest}_{n}", "measure", json.dumps({"place": place})) for n, place in places]


def build(base_url: str, log: str) -> Crew:
    """The crew.

    Args:
        base_url: Where the model is.
        log: A file that each call of the tool writes its step's key to.
    """

    @tool
    def measure(place: str) -> str:
        """Measures the depth at a place."""
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(handle, f"{step_key()}\n".encode())
        os.close(handle)
        time.sleep(0.004)
        return f"{place}: {len(place)} m"

    def is_long(output: TaskOutput) -> tuple[bool, Any]:
        return len(output.raw) > 5, output

    llm = LLM("openai/gpt-4o-mini", base_url=base_url, api_key="key", max_retries=0)
    worker = Agent(role="Surveyor", goal="Measure", llm=llm, tools=[measure])

    def task(name: str, **fields: Any) -> Task:
        return Task(name=name.lower(), description=f"{name} the {{sea}}", expected_output="T", agent=worker, **fields)

    survey, north = task("Survey"), task("North", async_execution=True)
    south, report = task("South", async_execution=True), task("Report", guardrail=is_long)
    return Crew(tasks=[survey, north, south, report])


def run(job: dict[str, str]) -> None:
    """Does one run and leaves its output in a file."""
    output = build(job["base_url"], job["log"]).kickoff({"sea": "North Sea"}, journal=job["journal"], run_id=job["run"])
    result = {"raw": output.raw, "status": output.status, "tokens": output.token_usage.total_tokens}
    with open(job["output"], "w") as file:
        json.dump(result, file)


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

    serve()

"""A question to a person, as a step of a run."""

from __future__ import annotations

from quarterdeck.errors import RunStopped
from quarterdeck.events import HumanAnswered, HumanRequested
from quarterdeck.runtime.human import HumanInput, HumanRequest
from quarterdeck.runtime.run import Run


async def human_step(
    run: Run, path: str, task: str, agent: str, output: str, question: str, *, human: HumanInput | None = None
) -> HumanAnswered:
    """Asks a person about an output, or takes the answer from the journal.

    Args:
        run: The run.
        path: The question's path.
        task: The name of the task or method.
        agent: The agent's role.
        output: What the person is to judge.
        question: What the person is asked.
        human: Whom to ask; None: whom the run asks.

    Raises:
        RunStopped: The answer is not there yet.
    """
    done = run.finished.get(path)
    if isinstance(done, HumanAnswered):
        return done
    run.check()
    if path not in run.asked:
        await run.record(HumanRequested(path=path, task=task, agent=agent, output=output, question=question))
    answer = run.answers.get(path)
    if answer is None:
        answer = await (human or run.human).ask(HumanRequest(run.id, path, task, agent, output, question))
    if answer is None:
        reason = f"task {task!r} waits for a person: go on with answers={{{path!r}: HumanAnswer(...)}}"
        raise run.stop(RunStopped("pending_human_input", reason, path))
    event = HumanAnswered(path=path, task=task, approved=answer.approved, feedback=answer.feedback)
    await run.record(event)
    return event

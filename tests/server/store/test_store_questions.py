"""One question, one answer."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from quarterdeck.events import RunFinished
from quarterdeck.runtime.human import HumanAnswer
from quarterdeck.server.store import AnswerOutcome, Claim, Hooks, HumanInputHook, NewRun, Question, RunRecord, Store

New = Callable[..., NewRun]
VERSIONS = [("report", "1")]
YES, NO = HumanAnswer(True, ""), HumanAnswer(False, "shorter, please")


async def get(store: Store, run_id: str) -> RunRecord:
    record = await store.get(run_id)
    assert record is not None
    return record


async def claim(store: Store, worker: str = "w1") -> Claim:
    await store.beat(worker, VERSIONS, {})
    return (await store.claim(worker, VERSIONS, 1))[0]


async def ask(store: Store, run: RunRecord, paths: Sequence[str], seconds: float | None = None) -> None:
    """The run's worker asks, and gives the run back."""
    questions = [
        Question(
            run_id=run.id,
            path=path,
            task=path.split("/")[0],
            output="a draft\0 \ud800",
            question="Good?",
            default_action=run.default_action,
        )
        for path in paths
    ]
    assert await store.finish(
        run.id,
        run.worker or "",
        run.attempt,
        "pending_human_input",
        ended_by=paths[0],
        questions=questions,
        answer_seconds=seconds,
    )


async def pending(store: Store, new: New, *paths: str, seconds: float | None = None, **fields: object) -> RunRecord:
    await store.kickoff(new(**fields))
    run = (await claim(store)).run
    await ask(store, run, paths or ["draft/1/human/1"], seconds)
    return await get(store, run.id)


async def test_a_question_waits_without_a_worker_and_an_answer_queues_the_run(store: Store, new: New) -> None:
    run = await pending(store, new)
    assert (run.state, run.worker, run.ended_by) == ("pending_human_input", None, "draft/1/human/1")
    asked = await store.questions(run.id)
    assert [(q.path, q.task, q.output, q.question, q.answer, q.expires) for q in asked] == [
        ("draft/1/human/1", "draft", "a draft\0 \ud800", "Good?", None, None)
    ]
    assert await store.answer(run.id, "draft", NO) == AnswerOutcome.accepted
    assert (await get(store, run.id)).state == "queued"
    taken = await claim(store)
    assert taken.answers == {"draft/1/human/1": NO}
    await ask(store, taken.run, ["draft/2/human/1"])  # the task was done again, and asks again
    assert await store.answer(run.id, "draft", YES) == AnswerOutcome.accepted
    assert (await claim(store)).answers == {"draft/1/human/1": NO, "draft/2/human/1": YES}


async def test_of_100_answers_at_once_one_wins(store: Store, other: Store, new: New) -> None:
    run = await pending(store, new)
    given = [YES if n % 3 == 0 else HumanAnswer(False, f"change {n % 3}") for n in range(100)]
    outcomes = await asyncio.gather(
        *((store, other)[n % 2].answer(run.id, "draft", answer) for n, answer in enumerate(given))
    )
    kept = (await store.questions(run.id))[0].answer
    counts = Counter(outcomes)
    assert counts[AnswerOutcome.accepted] == 1
    assert counts[AnswerOutcome.repeated] == given.count(kept or YES) - 1
    assert counts[AnswerOutcome.conflict] == 100 - given.count(kept or YES)
    assert given[outcomes.index(AnswerOutcome.accepted)] == kept


async def test_an_answer_that_came_before_stays_the_answer(store: Store, new: New) -> None:
    run = await pending(store, new)
    await store.answer(run.id, "draft/1/human/1", YES)
    assert await store.answer(run.id, "draft", YES) == AnswerOutcome.repeated
    assert await store.answer(run.id, "draft", NO) == AnswerOutcome.conflict
    taken = (await claim(store)).run
    await store.finish(run.id, "w1", taken.attempt, "completed")
    assert await store.answer(run.id, "draft", YES) == AnswerOutcome.repeated
    assert await store.answer(run.id, "draft", NO) == AnswerOutcome.conflict


async def test_who_is_not_asked(store: Store, new: New) -> None:
    run = await pending(store, new)
    assert await store.answer(run.id, "another task", YES) == AnswerOutcome.unknown
    assert await store.answer(str(uuid.uuid4()), "draft", YES) == AnswerOutcome.unknown
    await store.request_cancel(run.id)
    assert (await get(store, run.id)).state == "cancelled"
    assert await store.answer(run.id, "draft", YES) == AnswerOutcome.not_waiting
    queued, _ = await store.kickoff(new())
    assert await store.answer(queued.id, "draft", YES) == AnswerOutcome.not_waiting


async def test_two_questions_of_one_run(store: Store, new: New) -> None:
    """The second is answered while the run goes on with the first answer: it must not wait for what is there."""
    run = await pending(store, new, "a/1/human/1", "b/1/human/1")
    assert await store.answer(run.id, "a", YES) == AnswerOutcome.accepted
    taken = (await claim(store)).run
    assert await store.answer(run.id, "b", NO) == AnswerOutcome.accepted
    await ask(store, taken, ["b/1/human/1"])
    assert (await get(store, run.id)).state == "queued"
    assert (await claim(store)).answers == {"a/1/human/1": YES, "b/1/human/1": NO}


async def test_resume_may_bring_other_webhooks(store: Store, new: New) -> None:
    hooks = Hooks(
        task_url="https://a.example/t", crew_url="https://a.example/c", human_input=HumanInputHook("https://h")
    )
    run = await pending(store, new, hooks=hooks)
    await store.answer(run.id, "draft", YES, Hooks(crew_url="https://b.example/c"))
    now = (await get(store, run.id)).hooks
    assert (now.task_url, now.crew_url, now.human_input) == (
        "https://a.example/t",
        "https://b.example/c",
        HumanInputHook("https://h"),
    )


@pytest.mark.parametrize(("action", "state"), [("approve", "queued"), ("error", "error"), ("cancel", "cancelled")])
async def test_a_question_that_nobody_answers(store: Store, new: New, action: str, state: str) -> None:
    later = await pending(store, new, seconds=60.0, default_action=action)
    assert await store.expire_questions() == 0
    run = await pending(store, new, seconds=0.0, default_action=action)
    await asyncio.sleep(0.01)
    assert await store.expire_questions() == 1
    assert await store.expire_questions() == 0
    assert (await get(store, later.id)).state == "pending_human_input"
    now = await get(store, run.id)
    assert now.state == state
    if action == "approve":
        assert (await claim(store)).answers == {"draft/1/human/1": YES}
    else:
        assert now.detail == "nobody has answered the question of task 'draft' in time"
        end = (await store.journal.events(run.id))[-1]
        assert isinstance(end, RunFinished)
        assert (end.status, end.ended_by) == ("cancelled" if action == "cancel" else "failed", "draft/1/human/1")
        assert await store.answer(run.id, "draft", YES) == AnswerOutcome.not_waiting


@pytest.mark.parametrize("action", ["approve", "error"])
async def test_a_question_of_a_run_that_is_under_way_or_has_ended_does_not_expire(
    store: Store, new: New, action: str
) -> None:
    run = await pending(store, new, "a/1/human/1", "b/1/human/1", seconds=0.0, default_action=action)
    assert await store.answer(run.id, "a", YES) == AnswerOutcome.accepted
    await asyncio.sleep(0.01)
    assert await store.expire_questions() == 0
    again = (await claim(store)).run
    assert await store.expire_questions() == 0
    assert await store.finish(run.id, "w1", again.attempt, "timeout", ended_by="max_seconds")
    assert await store.expire_questions() == 0
    assert [item.expires for item in await store.questions(run.id) if item.task == "b"] == [None]


async def test_an_answer_and_its_expiry_at_once(store: Store, other: Store, new: New) -> None:
    runs = [await pending(store, new, seconds=0.0, default_action="cancel") for _ in range(20)]
    outcomes = await asyncio.gather(
        *(store.answer(run.id, "draft", YES) for run in runs), *(other.expire_questions(1) for _ in runs)
    )
    for run, outcome in zip(runs, outcomes, strict=False):
        state = (await get(store, run.id)).state
        assert (outcome, state) in {
            (AnswerOutcome.accepted, "queued"),
            (AnswerOutcome.not_waiting, "cancelled"),
        }

"""Flow: methods that call each other by events, with a state (CrewAI: ``crewai.flow.flow.Flow``)."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Mapping
from functools import partial
from typing import Any, Self, Unpack

from quarterdeck.concurrency import call_in_thread, run_sync
from quarterdeck.errors import ConfigError, JournalError, RunStopped
from quarterdeck.events import RunStatus, scope
from quarterdeck.flow.asking import Pending, ask_line
from quarterdeck.flow.base import FlowBase, T
from quarterdeck.flow.conditions import and_, or_
from quarterdeck.flow.decorators import listen, router, start
from quarterdeck.flow.execution import Execution, apart
from quarterdeck.flow.hooked import after_flow, before_flow
from quarterdeck.flow.inputs import PAYLOAD, RESTORE, Inputs, inputs_of, load_state, refuse
from quarterdeck.flow.output import FlowOutput, as_text
from quarterdeck.flow.persistence import FlowPersistence, default_persistence, persist
from quarterdeck.flow.state import FlowState, State, copied, dump, fields_of, id_of, own_containers
from quarterdeck.flow.streamed import as_chunks, as_frames
from quarterdeck.flow.values import to_json
from quarterdeck.runtime.human import HumanAnswer
from quarterdeck.runtime.options import RunOptions
from quarterdeck.runtime.place import kickoff_here
from quarterdeck.runtime.receipts import issues, tool_receipts
from quarterdeck.runtime.run import Run
from quarterdeck.streaming import StreamSession

__all__ = ["Flow", "FlowPersistence", "FlowState", "and_", "listen", "or_", "persist", "router", "start"]


class Flow(FlowBase[T]):
    """Methods that call each other by events, with a state: subclass it, and mark methods with ``@start``, ``@listen``
    and ``@router`` (CrewAI: ``Flow``).

    ``Flow[State]`` has an instance of a pydantic model as its state, ``Flow`` a dict; both always have an ``id``. One
    Flow object serves any number of runs at once: each run has an object of its own, with a state of its own, which the
    methods are bound to. After ``kickoff`` the object shows the run that ended last.

    Methods that run side by side each work on a copy of the state; what they have changed is put together when they
    finish: numbers, lists, sets and texts that both have added to have both additions, else the later change wins.

    Args:
        persistence: Where the state is saved after each method: as ``@persist`` on the class.
        input_provider: Whom ``ask`` asks; None: whoever is asked in the run.
        name: The flow's name in events and traces; by default the class's.
        max_method_calls: How often one method may be called in a run. Default 100.
        initial_state: The fields' first values: a model's instance, a model or a dict.
        fields: First values of fields of the state.

    Raises:
        ConfigError: A field is none of the state's, or one of CrewAI's arguments has no meaning here. When the class
            is made: its methods do not fit together.
    """

    # -- kickoff ------------------------------------------------------------------------------------------

    def kickoff(
        self,
        inputs: Mapping[str, Any] | None = None,
        input_files: Any = None,
        from_checkpoint: Any = None,
        restore_from_state_id: str | None = None,
        **options: Unpack[RunOptions],
    ) -> Any:
        """Runs the flow and waits for its result; for sync code, and inside a notebook. See ``akickoff``."""
        with apart():
            return run_sync(self.akickoff(inputs, input_files, from_checkpoint, restore_from_state_id, **options))

    async def kickoff_async(
        self,
        inputs: Mapping[str, Any] | None = None,
        input_files: Any = None,
        from_checkpoint: Any = None,
        restore_from_state_id: str | None = None,
        **options: Unpack[RunOptions],
    ) -> Any:
        """CrewAI's other name of ``akickoff``."""
        return await self.akickoff(inputs, input_files, from_checkpoint, restore_from_state_id, **options)

    async def akickoff(
        self,
        inputs: Mapping[str, Any] | None = None,
        input_files: Any = None,
        from_checkpoint: Any = None,
        restore_from_state_id: str | None = None,
        **options: Unpack[RunOptions],
    ) -> Any:
        """Runs the flow on this event loop.

        Args:
            inputs: First values of the state's fields; ``crewai_trigger_payload`` goes to the starts that take it.
            input_files: Not supported.
            from_checkpoint: Not needed: see ``run_id`` in ``RunOptions``.
            restore_from_state_id: Begins with a state that was kept, under a new id. With ``inputs={"id": ...}`` a flow
                with ``@persist`` goes on with the state of that id.
            options: How the run is kept, limited and watched: see ``RunOptions``.

        Returns:
            What the last method that finished returned; with ``stream=True`` on the flow a ``FlowStreamingOutput``,
            unless the option says False. Where the run ended early, a ``FlowOutput`` that says why, or,
            where it waits for a ``@human_feedback``, a ``HumanFeedbackPending``.

        Raises:
            InputError: A field of the state is missing or does not fit, or the state to restore is not there.
            JournalMismatchError: The run began with other inputs or another flow.
            RecursionError: A method was called more than ``max_method_calls`` times.
            TaskError: A result or the state cannot be kept in the journal.
            Exception: What a method raised.
        """
        refuse(input_files=input_files, from_checkpoint=from_checkpoint)
        if restore_from_state_id:
            inputs = {**(inputs or {}), RESTORE: restore_from_state_id}
        if self.stream and options.get("stream") is not False:
            return as_chunks(partial(self._shown, inputs), options)
        return await self._shown(inputs, options)

    def stream_events(
        self, inputs: Mapping[str, Any] | None = None, **options: Unpack[RunOptions]
    ) -> StreamSession[Any]:
        """Runs the flow and gives all that happens as frames, to be read with ``for`` or ``async for``.

        The run begins when the stream is first read, and closing it ends the run. Arguments are those of ``akickoff``.
        """
        return as_frames(partial(self._shown, inputs), options)

    def astream(self, inputs: Mapping[str, Any] | None = None, **options: Unpack[RunOptions]) -> StreamSession[Any]:
        """CrewAI's other name of ``stream_events``."""
        return self.stream_events(inputs, **options)

    async def _shown(self, inputs: Any, options: RunOptions, pending: Pending | None = None) -> Any:
        """A run that this object shows when it has ended."""
        flow = self._of_run()
        try:
            output = await flow._run(inputs, options, pending)  # pyright: ignore[reportPrivateUsage] - the same class
        finally:
            self.__dict__.update(flow.__dict__)
        if not output.partial:
            return output.result
        question = self._execution.question if self._execution else None
        if question and question.pending and output.status == "pending_human_input":
            question.pending.output = output
            return question.pending
        return output

    async def arun(self, inputs: Mapping[str, Any] | None = None, **options: Unpack[RunOptions]) -> FlowOutput:
        """As ``akickoff``, with all that came of the run, and without showing it on this object: for servers."""
        return await self._of_run()._run(inputs, options)

    def _of_run(self) -> Self:
        """An object for one run: it has what this one has, lists and dicts of its own, and a state of its own."""
        flow = object.__new__(type(self))
        with _copying:
            flow.__dict__.update({name: own_containers(value) for name, value in self.__dict__.items()})
            first = self.__dict__.pop("_first", None)  # its id is that of one run
        flow.__dict__.pop("_current", None)
        if first is not None:
            self.__dict__["_template"] = fields_of(copied(first))
            flow.__dict__["_template"] = self.__dict__["_template"]
        return flow

    async def _run(self, inputs: Any, options: RunOptions, pending: Pending | None = None) -> FlowOutput:
        if not self.graph.methods:
            raise ConfigError(f"flow {self.name} has no methods: mark one with @start()")
        given = inputs_of(inputs)
        first = self.__dict__.pop("_first", None)
        new_id = str(options.get("run_id") or (id_of(first) if first is not None else uuid.uuid4()))
        if self.stream:
            options = {"stream": True, **options}

        async def work(run: Run) -> FlowOutput:
            execution = await self._begin(run, inputs, given, given.id or new_id, pending)
            self.__dict__["_current"] = execution
            return await self._end(run, execution)

        with scope(flow=self, crew=None, hooks=(), task=None, task_name="", task_index=None, agent=None, role=""):
            return await kickoff_here(self.name, options, work, new_id=str(uuid.uuid4()) if given.id else new_id)

    async def _begin(self, run: Run, inputs: Any, given: Inputs, state_id: str, pending: Pending | None) -> Execution:
        """Begins a run, or goes on with it, with the state that it has then."""
        made: list[State] = []

        async def prepare(_: dict[str, Any]) -> dict[str, Any]:
            values: dict[str, Any] = copied(self.__dict__.get("_template", {}))
            store = self._store()
            if source := given.restore or (given.id if store else ""):
                values = await load_state(self.name, source, store, run)
            made.append(self._state_kind.new({**values, **await before_flow(copied(given.values))}, state_id))
            return dump(made[0], f"flow {self.name}: state", strict=run.kept)[0]

        run.kind = "flow"
        shown = to_json(inputs or {}, f"flow {self.name}: inputs", strict=run.kept)[0]
        begun = await run.begin(self.name, shown, self.definition, prepare)
        for event in pending.trail if pending else ():
            if event.path not in run.finished:
                await run.record(event)
        state = made[0] if made else self._state_kind.restore(begun, {})
        payload = run.given.get(PAYLOAD) if given.payload is None else given.payload
        return Execution(self, self.graph, self._state_kind, run, state, payload)

    async def _end(self, run: Run, execution: Execution) -> FlowOutput:
        try:
            await execution.all()
        except (RunStopped, asyncio.CancelledError) as error:
            stop = run.stop_behind(error)
            output = self._output(execution, stop.status, stop.ended_by, stop.reason)
            await self._save_question(execution)
            await run.end(stop.status, output.raw, error=stop.reason, ended_by=stop.ended_by)
            return output
        except JournalError:
            raise
        except Exception as error:
            await run.end("failed", as_text(execution.result), error=f"{type(error).__name__}: {error}")
            raise
        output = self._output(execution)
        result = await after_flow(output.result)
        if result is not output.result:
            output = output.model_copy(update={"result": result, "raw": as_text(result)})
        output.issues = issues(output.tool_receipts)
        output.status = "completed_with_issues" if output.issues else "completed"
        await run.end("completed", output.raw, issues=output.issues)
        return output

    def _output(
        self, execution: Execution, status: RunStatus = "completed", ended_by: str = "", reason: str = ""
    ) -> FlowOutput:
        run = execution.run
        return FlowOutput(
            raw=as_text(execution.result),
            result=execution.result,
            state=execution.state,
            method_outputs=list(execution.outputs),
            token_usage=run.usage.model_copy(),
            cost_usd=run.cost_usd,
            run_id=run.id,
            tool_receipts=tool_receipts(run.finished),
            status=status,
            ended_by=ended_by,
            reason=reason,
        )

    # -- persons ------------------------------------------------------------------------------------------

    async def _save_question(self, execution: Execution) -> None:
        """Keeps the question that a run waits for, where it can be answered by ``from_pending`` alone."""
        question = execution.question
        store = self._store() or (default_persistence() if question and question.later else None)
        if question is None or question.pending is None or store is None:
            return
        context = to_json(question.pending.context.to_dict(), "the question", strict=False)[0]
        state = dump(execution.state, f"flow {self.name}: state")[0]
        await call_in_thread(store.save_pending_feedback, id_of(execution.state), context, state)

    @classmethod
    def from_pending(cls, flow_id: str, persistence: FlowPersistence | None = None, **kwargs: Any) -> Self:
        """A flow that waits for a person, to be gone on with by ``resume`` (CrewAI: ``from_pending``).

        Args:
            flow_id: The state's id.
            persistence: Where the question was kept; by default where the flow keeps its states.
            kwargs: Arguments of the class.

        Raises:
            ConfigError: No question of this id is kept.
        """
        flow = cls(**kwargs)
        store = persistence or flow._store() or default_persistence()
        pending = Pending.load(cls.__name__, store, flow_id)
        flow.__dict__["_pending"] = pending
        flow.__dict__["_first"] = flow._state_kind.restore(pending.state, {})
        return flow

    def resume(self, feedback: str = "", **options: Unpack[RunOptions]) -> Any:
        """Goes on with a person's feedback, and waits for the result; see ``resume_async``."""
        with apart():
            return run_sync(self.resume_async(feedback, **options))

    async def resume_async(self, feedback: str = "", **options: Unpack[RunOptions]) -> Any:
        """Goes on with a person's feedback (CrewAI: ``resume_async``).

        Args:
            feedback: What the person said; "" for nothing.
            options: As of ``akickoff``. With the journal and run_id of the run that waits, it goes on itself.

        Returns:
            As ``akickoff``.

        Raises:
            ConfigError: The flow was not made by ``from_pending``.
        """
        pending: Pending | None = self.__dict__.pop("_pending", None)
        if pending is None:
            raise ConfigError(f"flow {self.name} waits for nobody: make it with {self.name}.from_pending(flow_id)")
        answers = {pending.context.path: HumanAnswer(True, feedback), **(options.get("answers") or {})}
        result = await self._shown(None, {**options, "answers": answers}, pending)
        question = self._execution.question if self._execution else None
        if question is None:
            await call_in_thread(pending.store.clear_pending_feedback, pending.context.flow_id)
        return result

    def ask(self, message: str, timeout: float | None = None, metadata: dict[str, Any] | None = None) -> str | None:
        """Asks a person for a line, in a sync method (CrewAI: ``ask``); an async one awaits ``aask``. See there."""
        return run_sync(self.aask(message, timeout, metadata))

    async def aask(
        self, message: str, timeout: float | None = None, metadata: dict[str, Any] | None = None
    ) -> str | None:
        """Asks a person for a line: a step of the run, which is not asked again.

        Args:
            message: What the person is asked.
            timeout: Seconds to wait at most; None: as long as it takes.
            metadata: For the input provider.

        Returns:
            The line; None where there was no answer in time.

        Raises:
            ConfigError: It is called outside of the flow's methods.
        """
        if store := self._store():
            await call_in_thread(store.save_state, self.flow_id, "ask", dump(self.state, f"flow {self.name}: state")[0])
        return await ask_line(self, message, timeout, metadata)


_copying = threading.Lock()

"""What ``kickoff`` gives where ``stream=True``: the chunks as they come, then the output."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from quarterdeck.streaming.chunks import StreamChunk, StreamChunkType
from quarterdeck.streaming.stream import Stream

R = TypeVar("R")


class _StreamingOutput(Stream[StreamChunk, list[R]], Generic[R]):
    """One or more runs, as a stream of chunks."""

    @property
    def is_completed(self) -> bool:
        """Whether it has ended, and was not closed before."""
        return self.is_exhausted and not self.is_cancelled

    @property
    def results(self) -> list[R]:
        """The outputs, in the order of the inputs.

        Raises:
            RuntimeError: The work has not ended.
        """
        return super().result

    @property
    def result(self) -> Any:
        """The run's output: a ``CrewOutput``, or what the flow gives. Of one that was closed early: partial.

        Raises:
            RuntimeError: The work has not ended, or there are several outputs: see ``results``.
            Exception: What the run raised.
        """
        results = self.results
        if len(results) != 1:
            raise RuntimeError(f"the stream has {len(results)} outputs: see .results")
        return results[0]

    def get_full_text(self) -> str:
        """All text so far."""
        return "".join(chunk.content for chunk in self.chunks if chunk.chunk_type is StreamChunkType.TEXT)


class CrewStreamingOutput(_StreamingOutput[R]):
    """What a crew with ``stream=True`` gives (CrewAI: ``CrewStreamingOutput``)."""


class FlowStreamingOutput(_StreamingOutput[R]):
    """What a flow with ``stream=True`` gives (CrewAI: ``FlowStreamingOutput``)."""

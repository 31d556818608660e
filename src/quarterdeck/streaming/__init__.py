"""Streaming: what a run or a model gives, piece by piece, as it comes (CrewAI: ``crewai.types.streaming``)."""

from __future__ import annotations

from quarterdeck.streaming.chunks import StreamChunk, StreamChunkType, ToolCallChunk
from quarterdeck.streaming.frames import AsyncStreamSession, Framer, StreamFrame, StreamSession
from quarterdeck.streaming.output import CrewStreamingOutput, FlowStreamingOutput
from quarterdeck.streaming.stream import Feed, Stream

__all__ = [
    "AsyncStreamSession",
    "CrewStreamingOutput",
    "Feed",
    "FlowStreamingOutput",
    "Framer",
    "Stream",
    "StreamChunk",
    "StreamChunkType",
    "StreamFrame",
    "StreamSession",
    "ToolCallChunk",
]

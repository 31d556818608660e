"""Where a run can be intercepted."""

from __future__ import annotations

from enum import StrEnum


class InterceptionPoint(StrEnum):
    """A point of a run at which hooks are called (CrewAI: ``InterceptionPoint``).

    ``EXECUTION_START``: before the kickoff's callbacks; ``INPUT``: when the inputs are ready; ``OUTPUT``,
    ``EXECUTION_END``: when the output is ready, one after the other; ``PRE_STEP``, ``POST_STEP``: around a task or a
    flow's method; ``PRE_MODEL_CALL``, ``POST_MODEL_CALL``: around a call to a model; ``PRE_TOOL_CALL``,
    ``POST_TOOL_CALL``: around a call of a tool.
    """

    EXECUTION_START = "execution_start"
    INPUT = "input"
    OUTPUT = "output"
    EXECUTION_END = "execution_end"
    PRE_STEP = "pre_step"
    POST_STEP = "post_step"
    PRE_MODEL_CALL = "pre_model_call"
    POST_MODEL_CALL = "post_model_call"
    PRE_TOOL_CALL = "pre_tool_call"
    POST_TOOL_CALL = "post_tool_call"


TOOL_POINTS = frozenset({InterceptionPoint.PRE_TOOL_CALL, InterceptionPoint.POST_TOOL_CALL})
"""The points at which a tool is known."""

AGENT_POINTS = TOOL_POINTS | {
    InterceptionPoint.PRE_MODEL_CALL,
    InterceptionPoint.POST_MODEL_CALL,
    InterceptionPoint.PRE_STEP,
    InterceptionPoint.POST_STEP,
}
"""The points at which an agent is known."""

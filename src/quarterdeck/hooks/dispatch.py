"""Calling the hooks of a point."""

from __future__ import annotations

from typing import TypeVar

from quarterdeck.concurrency import call
from quarterdeck.errors import HookAborted, HookError, UsageError
from quarterdeck.events.scope import current_scope
from quarterdeck.hooks.contexts import InterceptionContext
from quarterdeck.hooks.points import InterceptionPoint
from quarterdeck.hooks.registry import Hook, registered

C = TypeVar("C", bound=InterceptionContext)


def hooks_at(point: InterceptionPoint) -> tuple[Hook, ...]:
    """The hooks at a point, here: those of all runs, then the crew's own. Quick where there are none."""
    own: tuple[Hook, ...] = current_scope().hooks
    if not own:
        return registered(point)
    return (*registered(point), *(hook for hook in own if hook.point is point))


async def dispatch(hooks: tuple[Hook, ...], ctx: C, *, tool: str | None = None) -> C:
    """Calls those hooks that fit, in order, with one context.

    Args:
        hooks: What ``hooks_at`` gave.
        ctx: The context; its places (agent, task, crew, flow) are filled in.
        tool: The tool's name.

    Raises:
        HookAborted: A hook stopped what was about to happen.
        HookError: A hook failed, or returned what its point cannot use.
    """
    here = current_scope()
    ctx.agent, ctx.agent_role = here.agent, here.role or None
    ctx.task, ctx.crew, ctx.flow = here.task, here.crew, here.flow
    roles = [role for role in (here.role, getattr(here.agent, "role", None)) if role]
    for hook in hooks:
        if hook.fits(roles, tool):
            await _call(hook, ctx)
    return ctx


async def _call(hook: Hook, ctx: InterceptionContext) -> None:
    try:
        answer = await call(hook.function, ctx)
        if answer is not None:
            ctx.replace(answer)
    except HookAborted as error:
        error.source = error.source or hook.name
        raise
    except (HookError, UsageError) as error:
        raise HookError(f"hook {hook.name} at {hook.point}: {error}") from error
    except Exception as error:
        raise HookError(f"hook {hook.name} at {hook.point} failed: {type(error).__name__}: {error}") from error

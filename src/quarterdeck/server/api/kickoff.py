"""``GET /inputs`` and ``POST /kickoff``."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, cast

from fastapi import APIRouter, Header, Query

from quarterdeck.errors import InputError
from quarterdeck.events import is_unicode
from quarterdeck.flow import Flow
from quarterdeck.flow.inputs import RESTORE
from quarterdeck.project import Entry
from quarterdeck.server.api import models
from quarterdeck.server.api.context import EntryOf, ServicesOf, Who, known_run
from quarterdeck.server.api.document import errors
from quarterdeck.server.api.models import (
    InputsResponse,
    KickoffRequest,
    KickoffResponse,
    StreamWebhook,
    Url,
    WebhookUrls,
)
from quarterdeck.server.api.problems import Problem, bad_inputs
from quarterdeck.server.store import (
    Authentication,
    Hooks,
    HumanInputHook,
    IdempotencyConflictError,
    NewRun,
    Store,
    StreamHook,
    new_run_id,
)
from quarterdeck.server.webhooks import check_hooks

router = APIRouter()


@router.get("/inputs", response_model=InputsResponse, response_model_exclude_none=True, summary="The crew's inputs")
async def inputs(entry: EntryOf, schema: Annotated[bool, Query()] = False) -> dict[str, Any]:
    """Names of the required inputs (AMP's form). With ``?schema=true`` also their JSON Schema and the version."""
    body: dict[str, Any] = {"inputs": list(entry.contract.required)}
    if schema:
        body |= {"schema": entry.contract.schema, "version": entry.version}
    return body


@router.post("/kickoff", response_model=KickoffResponse, responses=errors(409, 422), summary="Starts a run")
async def kickoff(
    request: KickoffRequest,
    entry: EntryOf,
    who: Who,
    services: ServicesOf,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> dict[str, str]:
    """Stores a run and answers at once; a worker takes it from there.

    ``meta.requestId`` (or the header ``Idempotency-Key``) makes it idempotent: the same key and payload answers the
    first ``kickoff_id``, another payload 409.
    """
    settings = services.settings
    _check(request.inputs, settings.max_input_depth, "inputs")
    _check(request.meta, settings.max_input_depth, "meta")
    key, digest = _request_id(request, idempotency_key), _hash(request)
    earlier = await _earlier(services.store, who.tenant, entry.name, key, digest)
    if earlier is not None:
        return {"kickoff_id": earlier}
    entry = _version(request, entry, services.registry.get)
    _check_user(request.meta.get("userId"))
    try:
        entry.contract.check(request.inputs)  # the run itself puts the defaults in, and keeps the inputs as given
    except InputError as error:
        raise bad_inputs(error) from None
    given = await _restored(request, entry, who.tenant, services.store)
    new = NewRun(
        id=new_run_id(),
        tenant=who.tenant,
        crew=entry.name,
        version=entry.version,
        request_id=key,
        request_hash=digest,
        inputs=given,
        meta=request.meta,
        hooks=await checked(hooks_of(request), settings.dev),
        budget=request.budget.model_dump(exclude_none=True) if request.budget else {},
        priority=request.priority,
        max_seconds=settings.run_seconds,
        answer_seconds=settings.question_seconds,
        default_action=settings.question_default,
    )
    try:
        record, _ = await services.store.kickoff(new)
    except IdempotencyConflictError as error:
        raise Problem(409, str(error)) from None
    return {"kickoff_id": record.id}


async def _earlier(store: Store, tenant: str, crew: str, key: str | None, digest: str) -> str | None:
    """The run that a key has started with the same request: also where the crew's current version would refuse it.
    Whether two requests at the same moment are one run is decided by the database, later."""
    if key is None:
        return None
    found = await store.list_runs(tenant, crew=crew, request_id=key, limit=1)
    return found[0].id if found and found[0].request_hash == digest else None


def _version(request: KickoffRequest, entry: Entry, find: Any) -> Entry:
    if request.version is None or request.version == entry.version:
        return entry
    found = cast("Entry | None", find(entry.name, request.version))
    if found is None:
        raise Problem(404, f"crew {entry.name!r} has no version {request.version!r} here")
    return found


async def _restored(request: KickoffRequest, entry: Entry, tenant: str, store: Store) -> dict[str, Any]:
    """The inputs, with the id of the state that a flow begins with: that of a run of the same tenant and flow."""
    inputs = {name: value for name, value in request.inputs.items() if name != RESTORE}
    wanted = request.restoreFromStateId or None
    if not isinstance(entry.runnable, Flow):
        if wanted:
            raise Problem(400, f"restoreFromStateId is for flows; {entry.name!r} is a crew")
        return request.inputs
    for field, state_id in (("restoreFromStateId", wanted), ("inputs.id", inputs.get("id"))):
        if state_id is not None:
            record = await known_run(store, tenant, str(state_id))
            if record is None or record.crew != entry.name:
                raise Problem(404, f"{field}: flow {entry.name!r} has no run {str(state_id)[:200]!r}")
    return {**inputs, RESTORE: wanted} if wanted else inputs


def _check_user(user: Any) -> None:
    """It is listed by: what is too long for an index is refused."""
    if user is not None and len(str(user)) > 200:
        raise Problem(400, f"meta.userId must be a text of at most 200 characters, got {len(str(user))}")


def _request_id(request: KickoffRequest, header: str | None) -> str | None:
    value = request.meta.get("requestId") or header
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > 200 or not value.isprintable():
        raise Problem(400, f"meta.requestId must be a text of at most 200 characters, got {str(value)[:60]!r}")
    return value


def _hash(request: KickoffRequest) -> str:
    """Digest of what makes a kickoff: the same key with another one is a conflict."""
    # Without what is not set: a field that a later version has is no other request.
    data = request.model_dump(mode="json", exclude_defaults=True)
    meta = {name: value for name, value in data.pop("meta", {}).items() if name != "requestId"}
    data |= {"meta": meta} if meta else {}  # the key may come in the header instead
    text = json.dumps(data, sort_keys=True, ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _check(value: Any, limit: int, where: str) -> None:
    """Refuses what cannot be written and read again everywhere: texts that are no Unicode, and too deep a nesting."""
    level = [value]
    for _ in range(limit):
        for item in level:
            if isinstance(item, str) and not is_unicode(item):
                raise Problem(400, f"{where}: a text is no valid Unicode (it holds a lone surrogate)")
            if isinstance(item, float) and not math.isfinite(item):
                raise Problem(400, f"{where}: a number must be finite, got {item}")
        level = [item for holder in level for item in _parts(holder)]
        if not level:
            return
    raise Problem(400, f"{where} are nested deeper than {limit} levels")


def _parts(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        mapping = cast("Mapping[str, Any]", value)
        return [*mapping.keys(), *mapping.values()]
    return cast("list[Any]", value) if isinstance(value, list) else []


def hooks_of(request: KickoffRequest) -> Hooks:
    """The webhooks of a kickoff; an empty URL means that it is not set."""
    streams = tuple(_stream(item) for item in request.webhooks if item.url)
    return urls_of(request, streams)


def urls_of(request: WebhookUrls, streams: tuple[StreamHook, ...] = ()) -> Hooks:
    """The webhooks that a request names."""
    human = request.humanInputWebhook
    if human is None and request.humanInputWebhookUrl:  # AMP's older form
        human = models.HumanInputWebhook(url=request.humanInputWebhookUrl)
    asked = human if human and human.url else None
    return Hooks(
        task_url=_set(request.taskWebhookUrl),
        step_url=_set(request.stepWebhookUrl),
        crew_url=_set(request.crewWebhookUrl),
        human_input=HumanInputHook(url=asked.url, authentication=_auth(asked.authentication)) if asked else None,
        streams=streams,
    )


async def checked(hooks: Hooks, dev: bool) -> Hooks:
    """The webhooks, if they may be called.

    Raises:
        Problem: 422, with an entry for each field that is refused.
    """
    refused = await check_hooks(hooks, dev)
    if refused:
        said = "; ".join(f"{item.field} {item.message}" for item in refused[:10])
        fields = [{"field": item.field, "expected": item.message} for item in refused]
        raise Problem(422, said, errors=fields)
    return hooks


def _set(url: Url | None) -> str | None:
    return url or None


def _stream(item: StreamWebhook) -> StreamHook:
    return StreamHook(
        url=item.url,
        events=tuple(item.events),
        realtime=item.realtime,
        authentication=_auth(item.authentication),
        secret=item.secret or "",
    )


def _auth(given: models.Authentication | None) -> Authentication | None:
    if given is None:
        return None
    return Authentication(
        strategy=given.strategy,
        token=given.token or "",
        username=given.username or "",
        password=given.password or "",
    )

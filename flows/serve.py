"""`rlmrec serve`: lists and similar items over HTTP, from a data set's last run."""

import asyncio
import hmac
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, Self

import orjson
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import BaseModel, Field, model_validator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flows.services import LOOPBACK
from flows.terminal import Console
from rlmrec_core.config import SettingsError
from rlmrec_core.config.text import MissingSetting
from storage import ArtifactStore, StoreConfig
from tasks.results import ListedItem, Results, UnknownId
from tasks.served import Served
from tasks.texts import LONGEST, NoTexts

TOKEN = "RLMREC_SERVE_TOKEN"
"""Environment variable with the token that callers must show."""

_LONGEST_BODY = 1 << 20
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

console = Console(soft_wrap=True)

Id = Annotated[str, Path(min_length=1, max_length=512, description="As in your data")]
Length = Annotated[int, Query(ge=1, le=1000, description="Length of the list")]


class Listed(BaseModel):
    """One place in a list; rank 1 is best."""

    rank: int
    item_id: str
    title: str | None
    score: float


class ItemList(BaseModel):
    """A list, best first, and which model it is of."""

    data: str
    model: str
    written: str
    items: list[Listed]


class Wanted(BaseModel, extra="forbid"):
    """Somebody new: the items they have, or what they say of themselves."""

    items: list[Annotated[str, Field(min_length=1, max_length=512)]] | None = Field(
        None, min_length=1, max_length=1000, description="Ids of the items they have"
    )
    text: str | None = Field(
        None, min_length=1, max_length=LONGEST, description="What they say of themselves, in a sentence or two"
    )
    k: int = Field(20, ge=1, le=1000, description="Length of the list")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.items is None) == (self.text is None):
            raise ValueError("say either items or text")
        return self


def create_app(served: Served, token: str | None = None) -> FastAPI:
    """The service.

    Args:
        served: The results to answer from; a newer run's take their place between two requests.
        token: What callers must show as `Authorization: Bearer`; None asks for nothing.
    """

    @asynccontextmanager
    async def following(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(served.follow())
        yield
        task.cancel()

    async def authorised(request: Request) -> None:
        shown = request.headers.get("authorization", "").encode()
        if token is not None and not hmac.compare_digest(shown, f"Bearer {token}".encode()):
            raise HTTPException(401, "show the token as Authorization: Bearer", {"WWW-Authenticate": "Bearer"})

    # No pages of documentation: they would load scripts from elsewhere. /openapi.json is there.
    app = FastAPI(title="rlmrec", docs_url=None, redoc_url=None, lifespan=following)
    known = {404: {"description": "No such user or item"}, 401: {"description": "No token, or a wrong one"}}
    guarded: dict[str, Any] = {"dependencies": [Depends(authorised)], "responses": known, "response_model": ItemList}
    taken = _RequestMetrics(served)
    app.add_middleware(_Measured, metrics=taken)
    app.add_middleware(_Bounded)

    @app.exception_handler(UnknownId)
    async def unknown(_: Request, error: UnknownId) -> Response:
        return JSONResponse({"detail": str(error)}, 404)

    @app.get("/users/{user_id:path}", **guarded)
    async def user(user_id: Id, k: Length = 20) -> Response:
        """The list of a known user."""
        return await _answer(served.results, lambda results: results.recommend(user_id, k))

    @app.get("/items/{item_id:path}/similar", **guarded)
    async def similar(item_id: Id, k: Length = 20) -> Response:
        """Items that the model has learnt to be like one; the score is the cosine of their vectors."""
        return await _answer(served.results, lambda results: results.similar(item_id, k))

    @app.post("/recommend", **guarded)
    async def recommend(wanted: Wanted) -> Response:
        """A list for somebody new, from a few items or from what they say of themselves."""
        results, items, text = served.results, wanted.items or [], wanted.text
        if text is None:
            return await _answer(results, lambda results: results.recommend_for(items, wanted.k))
        try:
            return await _answer(results, lambda results: results.recommend_for_text(text, wanted.k), slow=True)
        except (NoTexts, MissingSetting, ValueError) as error:
            raise HTTPException(422, str(error)) from None

    @app.get("/health")
    async def health() -> dict[str, str | int]:
        """Which results are being served."""
        results = served.results
        sizes = {"users": len(results.user_ids), "items": len(results.item_ids)}
        return {"status": "ok", "data": results.name, "model": results.model.label, "written": results.written} | sizes

    @app.get("/metrics", dependencies=[Depends(authorised)])
    async def metrics() -> Response:
        """Counts and times for Prometheus."""
        return Response(taken.text(), media_type="text/plain; version=0.0.4")

    return app


async def _answer(results: Results, ask: Callable[[Results], Sequence[ListedItem]], *, slow: bool = False) -> Response:
    """One product over all items; where they are many, or an encoder has to read, other requests need not wait."""
    slow = slow or len(results.item_ids) > 100_000
    rows = await asyncio.to_thread(ask, results) if slow else ask(results)
    told = {"data": results.name, "model": results.model.label, "written": results.written}
    items = [row._asdict() for row in rows]
    return Response(orjson.dumps(told | {"items": items}), media_type="application/json")


class _RequestMetrics:
    """What /metrics tells."""

    def __init__(self, served: Served) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter("rlmrec_requests", "Requests by status", ["status"], registry=self._registry)
        self.seconds = Histogram("rlmrec_seconds", "Time of a request", buckets=_SECONDS, registry=self._registry)
        switches = Gauge("rlmrec_switches", "How often newer results took over", registry=self._registry)
        switches.set_function(lambda: served.switches)

    def text(self) -> bytes:
        """All of it in Prometheus' form."""
        return generate_latest(self._registry)


class _Measured:
    """Counts requests and takes their time."""

    def __init__(self, app: ASGIApp, metrics: _RequestMetrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started = time.perf_counter()

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.metrics.requests.labels(str(message["status"])).inc()
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            self.metrics.seconds.observe(time.perf_counter() - started)


class _Bounded:
    """Refuses a body over 1 MiB, whatever its length is said to be."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            return await self.app(scope, receive, send)
        body = bytearray()
        while True:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > _LONGEST_BODY:
                return await JSONResponse({"detail": "the body is longer than 1 MiB"}, 413)(scope, receive, send)
            if message["type"] == "http.disconnect" or not message.get("more_body"):
                break
        await self.app(scope, _replayed(bytes(body), receive), send)


def _replayed(body: bytes, receive: Receive) -> Callable[[], Awaitable[Message]]:
    """A receive that gives the body whole, and then what the server gives."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def run(store: StoreConfig, name: str | None, host: str, port: int, every: float) -> None:
    """Serve until the process is told to end.

    Raises SettingsError if others could reach the service and the environment holds no token for them to show.
    """
    token = os.environ.get(TOKEN)
    if host not in LOOPBACK and not token:
        raise SettingsError(f"{host} is open to others: put a token into {TOKEN}, which callers then have to show")
    served = Served(ArtifactStore.open(store), name, every)
    results = served.results
    sizes = f"{len(results.user_ids):,} users and {len(results.item_ids):,} items"
    console.print(f"serving {results.name}, {results.model.label}: {sizes}", markup=False)
    uvicorn.run(create_app(served, token), host=host, port=port, log_level="info", access_log=False)

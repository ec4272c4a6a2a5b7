"""The operators' HTTP interface, described: paths here, types from the structs that are sent."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import Struct

from scheduler import __version__
from scheduler.stats.capacity import Capacity
from scheduler.stats.commands import Accepted, CommandRequest
from scheduler.stats.decisions import Decisions
from scheduler.stats.exposition import MetricsDocument
from scheduler.stats.history import History
from scheduler.stats.node_table import NodeTable, NodeView
from scheduler.stats.refusals import Refusals
from scheduler.stats.responses import JSON, PROBLEM_JSON, Problem
from scheduler.stats.schema import Snapshot
from scheduler.stats.waterfall import Waterfall

_REFERENCES = "#/components/schemas/{name}"


@dataclass(frozen=True, slots=True)
class Operation:
    """One path and method. `answers` maps further status codes to what they mean."""

    path: str
    summary: str
    method: str = "get"
    body: type[Struct] | None = None
    content_type: str = JSON
    status: int = 200
    answers: dict[int, str] = field(default_factory=dict)
    needs_token: bool = False
    takes: type[Struct] | None = None
    query: tuple[str, ...] = ()


_UNCHANGED = {304: "the client has it already"}
_NONE_YET = {503: "no snapshot yet"}

_COMMAND_REFUSALS = {
    400: "the body is no CommandRequest",
    401: "the token is missing or wrong",
    403: "no server.admin_token is set",
    404: "no such node",
    409: "the node is offline, or is so already",
    429: "too many wrong tokens",
    503: "no dispatcher takes it just now",
}

OPERATIONS: tuple[Operation, ...] = (
    Operation("/health", "Whether the stats process runs", content_type="text/plain"),
    Operation("/ready", "Whether the scheduler can take jobs", answers={503: "what is missing"}),
    Operation(
        "/api/v1/stats",
        "The last snapshot, byte for byte as published",
        body=Snapshot,
        answers={**_UNCHANGED, **_NONE_YET},
    ),
    Operation("/api/v1/metrics", "The metrics as JSON", body=MetricsDocument),
    Operation("/metrics", "The metrics for Prometheus", content_type="text/plain"),
    Operation(
        "/api/v1/nodes",
        "All nodes, offline ones too",
        body=NodeTable,
        answers={**_UNCHANGED, **_NONE_YET},
    ),
    Operation(
        "/api/v1/nodes/{id}",
        "One node",
        body=NodeView,
        answers={**_UNCHANGED, 404: "no such node", **_NONE_YET},
    ),
    *(
        Operation(
            f"/api/v1/nodes/{{id}}/{name}",
            summary,
            method="post",
            body=Accepted,
            status=202,
            needs_token=True,
            takes=CommandRequest,
            answers=_COMMAND_REFUSALS,
        )
        for name, summary in (
            ("drain", "Give a node no more jobs"),
            ("resume", "Let a drained node prove its health for jobs again"),
        )
    ),
    Operation(
        "/api/v1/history",
        "The last points in time and events",
        body=History,
        answers=_UNCHANGED,
    ),
    Operation(
        "/api/v1/refusals",
        "Why jobs were refused or failed",
        body=Refusals,
        answers=_UNCHANGED,
    ),
    Operation(
        "/api/v1/capacity",
        "How many more jobs fit now, by what they require, and what blocks the next one",
        body=Capacity,
        answers=_UNCHANGED,
    ),
    Operation(
        "/api/v1/decisions",
        "How nodes were chosen lately: ?job=ID for one job, ?limit=N, 100 by default",
        body=Decisions,
        answers={**_UNCHANGED, 400: "the query is wrong", 404: "no job of this run"},
        query=("job", "limit"),
    ),
    Operation(
        "/api/v1/waterfall",
        "How long each stage of a job takes",
        body=Waterfall,
        answers={**_UNCHANGED, **_NONE_YET},
    ),
    Operation(
        "/api/v1/events",
        'Server-sent events: each snapshot as "snapshot", its sequence as id',
        content_type="text/event-stream",
        answers={503: "too many streams are open"},
    ),
    Operation("/openapi.json", "This document", answers=_UNCHANGED),
    Operation("/dashboard", "To the dashboard", status=308, content_type=""),
    Operation(
        "/dashboard/{name}",
        "The dashboard's page and assets",
        content_type="*/*",
        answers={**_UNCHANGED, 404: "no such file"},
    ),
)


def document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    types: list[type[Struct]] = [Problem]
    for operation in OPERATIONS:
        types += [kind for kind in (operation.body, operation.takes) if kind is not None]
    _, schemas = msgspec.json.schema_components(types, ref_template=_REFERENCES)
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _describe(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lingua scheduler, operations",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"admin": {"type": "http", "scheme": "bearer"}},
        },
    }


def _describe(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": _operation_id(operation),
        "responses": {
            str(operation.status): _answer("as asked", operation.content_type, operation.body),
            **{str(s): _refusal(s, text) for s, text in operation.answers.items()},
        },
    }
    names = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    if names or operation.query:
        described["parameters"] = [
            *(
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in names
            ),
            *({"name": n, "in": "query", "schema": {"type": "string"}} for n in operation.query),
        ]
    if operation.takes is not None:
        described["requestBody"] = {"content": _content(JSON, operation.takes)}
    if operation.needs_token:
        described["security"] = [{"admin": []}]
    return described


def _operation_id(operation: Operation) -> str:
    words = [word.strip("{}") for word in operation.path.split("/") if word]
    return "_".join([operation.method, *words]).replace(".", "_")


def _refusal(status: int, text: str) -> dict[str, Any]:
    return {"description": text} if status < 400 else _answer(text, PROBLEM_JSON, Problem)


def _answer(text: str, content_type: str, body: type[Struct] | None) -> dict[str, Any]:
    if not content_type:
        return {"description": text}
    return {"description": text, "content": _content(content_type, body)}


def _content(content_type: str, body: type[Struct] | None) -> dict[str, Any]:
    schema = {} if body is None else {"$ref": _REFERENCES.format(name=body.__name__)}
    return {content_type: {"schema": schema}}

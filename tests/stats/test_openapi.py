import json
import re
from typing import Any

import msgspec

from scheduler.stats.http import make_app
from scheduler.stats.openapi import OPERATIONS, document
from tests.stats.operators import Client, serve, sources


def test_every_route_is_described_and_nothing_else() -> None:
    routes = {
        (route.method.lower(), re.sub(r":[^}]*", "", route.resource.canonical))
        for route in make_app(sources()).router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    assert routes == {(operation.method, operation.path) for operation in OPERATIONS}


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for inner in value.values() for found in references(inner)]
    if isinstance(value, list):
        return [found for inner in value for found in references(inner)]
    return []


def test_every_reference_leads_to_a_type() -> None:
    described = json.loads(msgspec.json.encode(document()))
    assert described["openapi"].startswith("3.1")
    schemas = described["components"]["schemas"]
    found = references(described)
    assert len(found) > len(schemas)
    assert {reference.removeprefix("#/components/schemas/") for reference in found} <= set(schemas)


def test_operations_have_names_of_their_own() -> None:
    described = [operation for path in document()["paths"].values() for operation in path.values()]
    assert len({operation["operationId"] for operation in described}) == len(OPERATIONS)


def test_paths_name_their_parameters() -> None:
    node = document()["paths"]["/api/v1/nodes/{id}"]["get"]
    assert [parameter["name"] for parameter in node["parameters"]] == ["id"]


def test_the_document_is_served() -> None:
    async def talk(client: Client) -> None:
        response = await client.get("/openapi.json")
        assert await response.json() == json.loads(msgspec.json.encode(document()))

    serve(talk)

"""The operations' parameters as JSON Schema, for MCP tools and the documentation page."""

from functools import cache

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin

from src.api.operation import Operation
from src.api.serializers import Json


@cache
def input_schema(operation: Operation) -> Json:
    """Return the schema of an operation's arguments: an object that takes no other names."""
    plugin = MarshmallowPlugin()
    APISpec("", "", "3.1.0", plugins=[plugin])
    assert plugin.converter is not None
    schema: Json = plugin.converter.schema2jsonschema(operation.parameters())  # type: ignore[no-untyped-call]
    return {"type": "object", "properties": {}, **schema, "additionalProperties": False}

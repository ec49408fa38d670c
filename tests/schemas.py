"""The published JSON Schemas, for tests of what is written."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

FOLDER = resources.files('lungdet') / 'schemas'
SCHEMAS = {
    file.name.removesuffix('.schema.json'): json.loads(file.read_text())
    for file in FOLDER.iterdir()
    if file.name.endswith('.schema.json')
}
BY_ID = Registry().with_resources(
    (schema['$id'], Resource.from_contents(schema))
    for schema in SCHEMAS.values()
)


def assert_valid(name: str, values: Any) -> None:
    """Validate plain values against ``lungdet/schemas/NAME.schema.json``."""
    schema = SCHEMAS[name]
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema, registry=BY_ID)
    validator.validate(json.loads(json.dumps(values)))

"""The published JSON Schemas, for tests of what is written."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from jsonschema import Draft202012Validator


def assert_valid(name: str, values: Any) -> None:
    """Hold plain values against ``lungdet/schemas/NAME.schema.json``."""
    path = resources.files('lungdet') / 'schemas' / f'{name}.schema.json'
    schema = json.loads(path.read_text())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(json.loads(json.dumps(values)))

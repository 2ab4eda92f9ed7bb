"""The published JSON Schema of the result document: `python -m reports.schema` writes it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contracts.files import write_json
from reports.document import SCHEMA_VERSION, ResultDocument

SCHEMA_PATH = Path(__file__).parent / "schema" / f"result-v{SCHEMA_VERSION}.schema.json"


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) that every `result.json` of this version satisfies."""
    described = ResultDocument.model_json_schema(mode="serialization")
    described.pop("title", None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:edge-robustness-harness:result:v{SCHEMA_VERSION}",
        "title": f"Edge robustness harness: result document, schema version {SCHEMA_VERSION}",
        "version": SCHEMA_VERSION,
        **described,
    }


if __name__ == "__main__":
    write_json(SCHEMA_PATH, schema())

"""Which code a timing is of: a digest of an attack's module and of what it imports from `harness.attacks`."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

from contracts.files import sha256_json

_ROOT = Path(__file__).resolve().parent.parent
_PACKAGE = "harness.attacks"


@functools.cache
def code_of(attack: str) -> str:
    """Return a short digest of an attack's code, comments and docstrings left out.

    Args:
        attack: a name of the registry.
    """
    from harness.attacks.registry import attack as find

    waiting, trees = [type(find(attack, {})).__module__], dict[str, ast.Module]()
    while waiting:
        name = waiting.pop()
        path = _ROOT / f"{name.replace('.', '/')}.py"
        if name not in trees and path.exists():
            trees[name] = ast.parse(path.read_text(encoding="utf-8"))
            waiting += _imported(trees[name])
    return sha256_json([[name, _bare(trees[name])] for name in sorted(trees)])[:12]


def _imported(tree: ast.Module) -> list[str]:
    """Return what may be modules of the package among the names that a module imports."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(_PACKAGE):
            found += [node.module, *(f"{node.module}.{name.name}" for name in node.names)]
    return found


def _bare(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node, clean=False):
            del node.body[0]
    return ast.dump(tree)

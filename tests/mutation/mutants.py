"""Every small fault that could stand in a module: its mutants.

The faults are those of mutmut: another operator, a number one larger, an argument left out, an
assignment of nothing, a branch that is always taken. Besides, a call or a result is dropped and a
condition is turned round. Annotations, decorators, imports and texts for people are left alone.
"""

from __future__ import annotations

import ast
import collections
import copy
import types
from collections.abc import Iterator
from dataclasses import dataclass

_OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Div,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_NOT_MUTATED = {"annotation", "returns", "decorator_list", "msg", "format_spec", "op", "ops", "ctx"}
"""Parts of nodes: types, which do nothing, the texts of asserts, and the operators, which change
with the expression that they are part of."""
_LONGEST, _CONTEXT = 100, 30
"""Characters of a mutant's name: of a change, and of what stands around it in a long line."""


@dataclass(frozen=True)
class Mutant:
    """One changed place in a module.

    Attributes:
        name: the function, what stands there, and what stands there instead.
        line: where it is.
        code: the whole module, compiled with the change.
    """

    name: str
    line: int
    code: types.CodeType


def mutants(source: str, path: str) -> Iterator[Mutant]:
    """Yield every mutant of a module.

    Args:
        source: the module's text.
        path: the file, for tracebacks.
    """
    for name, line, tree in _trees(source):
        code = compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)
        yield Mutant(name, line, code)


def names(source: str) -> list[str]:
    """Return the names of all mutants of a module."""
    return [name for name, _, _ in _trees(source)]


def _trees(source: str) -> Iterator[tuple[str, int, ast.Module]]:
    """Yield the tree with one change after the other: its name, its line, and the tree."""
    tree = ast.parse(source)
    seen: collections.Counter[str] = collections.Counter()
    for place in _places(tree, ""):
        original = place.node
        for changed in _changes(original):
            place.put(ast.copy_location(changed, original))
            name = f"{place.scope}: {_difference(_text(original), _text(changed))}"
            seen[name] += 1
            yield name + f" #{seen[name]}" * (seen[name] > 1), original.lineno, tree
        place.put(original)


@dataclass(frozen=True)
class _Place:
    """Where a node hangs in its tree, so that another can be put there."""

    scope: str
    parent: ast.AST
    field: str
    index: int | None
    node: ast.expr | ast.stmt

    def put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


def _places(parent: ast.AST, scope: str) -> Iterator[_Place]:
    """Yield the expressions and statements below a node that may be changed, outermost first."""
    for field, value in ast.iter_fields(parent):
        if field in _NOT_MUTATED:
            continue
        children = value if isinstance(value, list) else [value]
        for index, node in enumerate(children):
            if not isinstance(node, ast.AST) or _is_for_types(node):
                continue
            if isinstance(node, ast.expr | ast.stmt) and not _is_text(node, parent):
                at = index if isinstance(value, list) else None
                yield _Place(scope or "module", parent, field, at, node)
            inner = scope
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = f"{scope}.{node.name}" if scope else node.name
            yield from _places(node, inner)


def _is_for_types(node: ast.AST) -> bool:
    """Whether it is an import, alone or in a block for type checkers."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name):
        return node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.Import | ast.ImportFrom)


def _is_text(node: ast.AST, parent: ast.AST) -> bool:
    """Whether it is prose: a docstring, a part of an f-string, or a string of several words."""
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and (isinstance(parent, ast.Expr | ast.JoinedStr) or " " in node.value)
    )


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    return _other_statements(node) if isinstance(node, ast.stmt) else _other_expressions(node)


def _other_expressions(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(ops=operators):
            for index, operator in enumerate(operators):
                others = [*operators]
                others[index] = _OPERATORS[type(operator)]()  # type: ignore[call-overload]
                yield _with(node, ops=others)
        case ast.BinOp() | ast.BoolOp() if type(node.op) in _OPERATORS:
            yield _with(node, op=_OPERATORS[type(node.op)]())
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node.operand
        case ast.IfExp():
            yield node.body
            yield node.orelse
        case ast.Constant(value=value):
            yield from (ast.Constant(other) for other in _other_values(value))
        case ast.Call():
            yield from _other_calls(node)
        case ast.Lambda():
            yield _with(node, body=ast.Constant(None))


def _other_statements(node: ast.stmt) -> Iterator[ast.AST]:
    match node:
        case ast.AugAssign():
            if type(node.op) in _OPERATORS:
                yield _with(node, op=_OPERATORS[type(node.op)]())
            yield ast.Assign([node.target], node.value)
        case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
            # A constant is changed where it stands.
            if not isinstance(value, ast.Constant):
                yield _with(node, value=ast.Constant(None))
            elif value.value is None:
                yield _with(node, value=ast.Constant(""))
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield _with(node, value=ast.Constant(None))
        case ast.Expr(value=ast.Call()):
            yield ast.Pass()
        case ast.If(test=ast.Name() | ast.Attribute() | ast.Call() as test):
            yield _with(node, test=ast.UnaryOp(ast.Not(), test))
        case ast.Continue():
            yield ast.Break()


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _other_values(value: object) -> Iterator[bool | int | float | str | bytes]:
    match value:
        case bool():
            yield not value
        case int() | float():
            yield value + 1
        case str():
            yield f"XX{value}XX"
        case bytes():
            yield b"XX" + value + b"XX"


def _other_calls(call: ast.Call) -> Iterator[ast.Call]:
    """Yield the call with nothing in place of an argument, and without it."""
    if isinstance(call.func, ast.Name) and call.func.id in {"len", "isinstance"}:
        return
    given = len(call.args) + len(call.keywords)
    for index, argument in enumerate(call.args):
        before, after = call.args[:index], call.args[index + 1 :]
        if not isinstance(argument, ast.Starred | ast.Constant):
            yield _with(call, args=[*before, ast.Constant(None), *after])  # type: ignore[misc]
        if given > 1:
            yield _with(call, args=[*before, *after])  # type: ignore[misc]
    for index, keyword in enumerate(call.keywords):
        before_it, after_it = call.keywords[:index], call.keywords[index + 1 :]
        if keyword.arg is not None and not isinstance(keyword.value, ast.Constant):
            nothing = ast.keyword(keyword.arg, ast.Constant(None))
            yield _with(call, keywords=[*before_it, nothing, *after_it])  # type: ignore[misc]
        if given > 1:
            yield _with(call, keywords=[*before_it, *after_it])  # type: ignore[misc]


def _text(node: ast.AST) -> str:
    return " ".join(ast.unparse(ast.fix_missing_locations(copy.deepcopy(node))).split())


def _difference(before: str, after: str) -> str:
    """Return `before -> after`; long ones without most of what they share."""
    if max(len(before), len(after)) > _LONGEST:
        start = max(0, _shared(before, after) - _CONTEXT)
        before, after = before[start:], after[start:]
        end = max(0, _shared(before[::-1], after[::-1]) - _CONTEXT)
        before, after = (
            "…" * (start > 0) + _cut(text[: len(text) - end]) + "…" * (end > 0)
            for text in (before, after)
        )
    return f"{before} -> {after}"


def _shared(one: str, other: str) -> int:
    """Return how many characters two texts begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"

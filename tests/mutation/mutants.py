"""What can be changed in a module, so that a test should fail: each mutant is the source with one place replaced.

Texts for people (with a space in them), docstrings, annotations and decorators stay as they are.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType

import msgspec

_OPERATORS = {
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "//"),
    ast.FloorDiv: ("//", "*"),
    ast.Div: ("/", "*"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.BitOr: ("|", "&"),
    ast.BitAnd: ("&", "|"),
}
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "reversed": "iter"}
_SYMMETRIC = {"min", "max", "json.same", "same_content", "group_changed", "_differs"}
_KEPT_ARGUMENTS = {"gc", "maxsize", "hint", "what"}  # speed, and texts for people
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Mutant(msgspec.Struct, frozen=True):
    """One change of one module: `start` to `end` (bytes) become `text`. `scope` is the function or class it is in.

    `function` is the first line of the outermost function whose body it is in; `None`: importing the module runs it.
    """

    path: str
    scope: str
    line: int
    start: int
    end: int
    text: str
    function: int | None

    def source(self) -> str:
        """The whole module with the change."""
        data = Path(self.path).read_bytes()
        return (data[: self.start] + self.text.encode() + data[self.end :]).decode()

    @property
    def name(self) -> str:
        """Module, scope, and the lines before and after: stays when lines move."""
        lines = self.diff.splitlines()
        before, after = (" ".join(line[2:] for line in lines if line[0] == sign) for sign in "-+")
        return f"{Path(self.path).name} {self.scope}: {before} -> {after}"

    @property
    def diff(self) -> str:
        """The lines that differ, without indentation."""
        before = Path(self.path).read_text(encoding="utf-8").splitlines()
        lines = list(difflib.unified_diff(before, self.source().splitlines(), n=0, lineterm=""))[3:]
        return "\n".join(f"{line[0]} {line[1:].strip()}" for line in lines if line[0] in "+-")


def mutants_of(path: str) -> list[Mutant]:
    """All mutants of a module that compile."""
    found = _Module(path).mutants()
    return [mutant for mutant in dict.fromkeys(found) if compiled(mutant) is not None]


def compiled(mutant: Mutant) -> CodeType | None:
    """The code of the changed module, or `None` if it isn't Python."""
    try:
        return compile(mutant.source(), str(Path(mutant.path).resolve()), "exec")
    except SyntaxError:
        return None


class _Module:
    """Walks a module, and knows where in its bytes a node is."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.data = Path(path).read_bytes()
        self.starts = [0]
        for line in self.data.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        end_line, end_column = node.end_lineno or 0, node.end_col_offset or 0
        return self.starts[node.lineno - 1] + node.col_offset, self.starts[end_line - 1] + end_column

    def text(self, node: ast.expr | ast.stmt) -> str:
        start, end = self.span(node)
        return self.data[start:end].decode()

    def mutants(self) -> Iterator[Mutant]:
        yield from self._walk(ast.parse(self.data), "", None)

    def _walk(self, node: ast.AST, scope: str, function: int | None) -> Iterator[Mutant]:
        if isinstance(node, (ast.stmt, ast.expr)):
            for start, end, text in self._changes(node):
                line = self.data.count(b"\n", 0, start) + 1
                yield Mutant(self.path, scope or "module", line, start, end, text, function)
        for name, value in ast.iter_fields(node):
            if name in {"annotation", "returns", "decorator_list"} or isinstance(node, ast.JoinedStr):
                continue
            inner_scope, inner = scope, function
            if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
                inner_scope = f"{scope}.{node.name}".strip(".")
                if name == "body" and isinstance(node, _FUNCTIONS):
                    inner = function or min(one.lineno for one in [node, *node.decorator_list])
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not _is_text(child) and not _is_kept(child):
                    yield from self._walk(child, inner_scope, inner)

    def _changes(self, node: ast.stmt | ast.expr) -> Iterator[tuple[int, int, str]]:
        match node:
            case ast.Compare(left=left, ops=ops, comparators=rights):
                yield from self._operators([left, *rights], ops)
            case ast.BoolOp(op=op, values=values):
                yield from self._operators(values, [op] * (len(values) - 1))
                yield from ((*self._joined(node, values, index), "") for index in range(len(values)))
            case ast.BinOp(left=left, op=op, right=right):
                yield from self._operators([left, right], [op])
            case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
                yield *self.span(node), f"({self.text(operand)})"
            case ast.Constant() if (text := _other_constant(node.value)) is not None:
                yield *self.span(node), text
            case ast.Name(id=name) if name in _NAMES:
                yield *self.span(node), _NAMES[name]
            case ast.IfExp(body=body, orelse=other, test=test):
                yield *self.span(node), f"({self.text(other)} if {self.text(test)} else {self.text(body)})"
            case ast.GeneratorExp() | ast.ListComp() | ast.SetComp() | ast.DictComp():
                yield from ((*self.span(test), "True") for loop in node.generators for test in loop.ifs)
            case ast.Slice(lower=lower, upper=upper):
                yield from ((*self.span(bound), "") for bound in (lower, upper) if bound is not None)
            case ast.Call(func=called, args=args, keywords=keywords):
                yield from self._calls(args if self.text(called) not in _SYMMETRIC else [], keywords)
            case _:
                yield from self._statements(node)

    def _statements(self, node: ast.stmt | ast.expr) -> Iterator[tuple[int, int, str]]:
        match node:
            case ast.If(test=test):
                yield from ((*self.span(test), constant) for constant in ("True", "False"))
            case ast.While(test=test):
                yield *self.span(test), "False"
            case ast.AugAssign(target=target, op=op, value=value):
                start, end = self.span(target)[1], self.span(value)[0]
                yield start, end, f" {_OPERATORS[type(op)][1]}= "
                yield *self.span(node), "pass"
            case ast.Expr() | ast.Raise() | ast.Continue() | ast.Break() | ast.Delete():
                yield *self.span(node), "pass"
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
                yield *self.span(node), "pass"
            case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
                if not (isinstance(value, ast.Constant) and value.value is False):
                    yield *self.span(value), "None"
                yield *self.span(value), f"not ({self.text(value)})"
            case _:
                pass

    def _operators(self, operands: list[ast.expr], operators: Sequence[ast.AST]) -> Iterator[tuple[int, int, str]]:
        for left, operator, right in zip(operands, operators, operands[1:], strict=False):
            old, new = _OPERATORS[type(operator)]
            start, end = self.span(left)[1], self.span(right)[0]
            gap = self.data[start:end].decode()
            yield start, end, re.sub(re.escape(old).replace(r"\ ", r"\s+"), new, gap, count=1)

    def _joined(self, node: ast.BoolOp, values: list[ast.expr], index: int) -> tuple[int, int]:
        """The span of one operand and the operator beside it."""
        if index + 1 < len(values):
            return self.span(node if index == 0 else values[index])[0], self.span(values[index + 1])[0]
        return self.span(values[index - 1])[1], self.span(values[index])[1]

    def _calls(self, args: list[ast.expr], keywords: list[ast.keyword]) -> Iterator[tuple[int, int, str]]:
        if len(args) > 1 and not any(isinstance(one, ast.Starred) for one in args[:2]):
            (start, middle), (other, end) = self.span(args[0]), self.span(args[1])
            between = self.data[middle:other].decode()
            yield start, end, self.text(args[1]) + between + self.text(args[0])
        for keyword in keywords:
            if keyword.arg not in {None, *_KEPT_ARGUMENTS}:
                start = self.starts[keyword.lineno - 1] + keyword.col_offset
                end = self.span(keyword.value)[1]
                yield start, end + len(re.match(rb"\s*,?", self.data[end:]).group()), ""  # type: ignore[union-attr]


def _other_constant(value: object) -> str | None:
    match value:
        case bool():
            return str(not value)
        case int() | float():
            return str(value + 1)
        case str():
            return repr("XX" + value)
        case _:
            return None


def _is_text(node: ast.AST) -> bool:
    """Whether it is a docstring, or words for people."""
    constant = node.value if isinstance(node, ast.Expr) else node
    if not isinstance(constant, ast.Constant):
        return False
    return constant.value is ... or (
        isinstance(constant.value, str) and (" " in constant.value or constant is not node)
    )


def _is_kept(node: ast.AST) -> bool:
    return isinstance(node, ast.keyword) and node.arg in _KEPT_ARGUMENTS

"""Writes the synchronous twins of the public classes: `python -m tests.sync.generate`; `--check` only compares.

A twin has the calls of its class, with the same names, arguments, defaults and documentation. What a call returns
decides how its twin is made. `test_parity.py` sees to it that nothing is missing.
"""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
import textwrap
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Final, NamedTuple

from bamboo_sessions.repository import SessionRepository, StoreAdmin
from bamboo_sessions.repository.records import Records
from bamboo_sessions.repository.run_lease import RunLease

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / "src" / "bamboo_sessions" / "sync"
_RUFF: Final = str(Path(sys.executable).with_name("ruff"))


class Twin(NamedTuple):
    """A class to write: where, of which one, and what it says about itself."""

    file: str
    of: type
    head: str
    doc: str


TWINS: Final = (
    Twin(
        "repository.py",
        SessionRepository,
        "class SyncSessionRepository(SyncHandle[SessionRepository])",
        """`SessionRepository` for programs without an event loop: the same calls, without `await`.

        `with SyncSessionRepository.open(url) as sessions:`; or `open` it, keep it for as long as the process lives, and
        `close` it. One object serves any number of threads. Behind it runs an event loop in a thread of its own; a call
        blocks its thread until it has ended. Working copies, blocks and iterators belong to one thread at a time.

        Every call that writes is atomic and durable on return (G1). If Ctrl-C or another signal interrupts the waiting,
        the call is cancelled, and over before the interruption goes on; a commit that was under way is made or not
        (G10). All raise `InputError` for arguments that can't be meant, and `StorageError` if storage fails, the
        handle is closed, or this is a forked child: open one in each process, after the fork.""",
    ),
    Twin(
        "admin.py",
        StoreAdmin,
        "class SyncStoreAdmin(SyncHandle[StoreAdmin])",
        """`StoreAdmin` for programs without an event loop: the handle of a store's owner, with the same calls.

        What is said of `SyncSessionRepository` holds for it, too.""",
    ),
    Twin(
        "records.py",
        Records,
        "class SyncRecords",
        inspect.getdoc(Records) or "",
    ),
    Twin(
        "run_lease.py",
        RunLease,
        "class SyncRunLease(SyncLease)",
        """The right to run the agent on a session. Made by `SyncSessionRepository.lease`, held until its block ends.

        `session` is a working copy, loaded after the lease was taken. It, its copies and the calls of this class write
        with the lease's `token`: they are refused with `LeaseLostError`, inside the commit, once a newer lease exists.
        It is renewed in the background, whatever the block is busy with.

        `lost.wait()` in another thread, or `is_lost` now and then, tells when to stop work whose result can't be saved
        any more.""",
    ),
)

NO_TWIN: Final = {
    "cache": "a tier, which is used on the loop",
    "storage": "likewise",
    "persistence": "likewise",
    "aclose": "`SyncHandle.close`",
}
"""Public names that aren't generated, and why."""

_TYPES: Final = {
    "AsyncGenerator[SessionChange, None]": "Generator[SessionChange, None, None]",
    "AsyncIterator": "Iterator",
    "Edit": "Block[Session]",
    "LeaseBlock": "Block[SyncRunLease]",
    "Opening[SessionRepository]": "SyncSessionRepository",
    "Opening[StoreAdmin]": "SyncStoreAdmin",
    "Records": "SyncRecords",
}
"""What calls return, and what their twins do."""

_MADE: Final = {
    "Edit": "Block(self._portal, {call}, same)",
    "LeaseBlock": "Block(self._portal, {call}, partial(SyncRunLease, self._portal))",
    "Records": "SyncRecords({call}, self._portal)",
    "Self": "type(self)({call}, self._portal)",
}
"""How a twin makes what it returns of what the call returns."""

_WORDS: Final = (
    ("async with SessionRepository.open", "with SyncSessionRepository.open"),
    ("async with StoreAdmin.open", "with SyncStoreAdmin.open"),
    ("or `await` it and `aclose` it", "or `close` it in the end"),
    ("`async with ", "`with "),
    ("contextlib.aclosing`, or by cancelling", "contextlib.closing`"),
    ("raises or is\n    cancelled", "raises"),
    ("cancellation-safe", "safe to interrupt"),
    ("a cancelled call", "an interrupted call"),
    ("cancelled", "interrupted"),
    ("Cancelling", "Interrupting"),
    ("`aclose`", "`close`"),
    ("`SessionRepository.", "`SyncSessionRepository."),
)
"""What is said of calls, and what of their twins."""

_FUNCTIONS: Final = ("Callable", "Progress")
"""How the annotations of functions begin, which run inside the call that they are handed to."""

_OURS: Final = {
    "Block": "bamboo_sessions.sync.blocks",
    "FEED_PAGE_ROWS_MAX": "bamboo_sessions.domain.limits",
    "Generator": "collections.abc",
    "Iterator": "collections.abc",
    "PAGE_DEFAULT": "bamboo_sessions.domain.limits",
    "Portal": "bamboo_sessions.sync.portal",
    "SyncHandle": "bamboo_sessions.sync.handles",
    "SyncLease": "bamboo_sessions.sync.handles",
    "SyncRecords": "bamboo_sessions.sync.records",
    "SyncRunLease": "bamboo_sessions.sync.run_lease",
    "iterated": "bamboo_sessions.sync.blocks",
    "partial": "functools",
    "same": "bamboo_sessions.sync.blocks",
}
"""From where the names are imported that only twins use."""

_AHEAD: Final = {
    "changes": "1 if live else FEED_PAGE_ROWS_MAX",
    "iter_sessions": "PAGE_DEFAULT",
    "namespaces": "PAGE_DEFAULT",
    "scan": "PAGE_DEFAULT",
}
"""How many items an iterator fetches with one call."""


def _members(kind: type) -> Iterator[tuple[str, object]]:
    """The public calls and properties of a class, those of its bases first."""
    for base in reversed(kind.__mro__[:-1]):
        for name, value in vars(base).items():
            if not name.startswith("_") and name not in NO_TWIN:
                yield name, value


def _function(value: object) -> FunctionType:
    """The function behind a member of a class."""
    function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
    assert isinstance(function, FunctionType)
    return function


def _source(function: Callable[..., object]) -> ast.FunctionDef | ast.AsyncFunctionDef:
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    return node


def _twin(name: str, value: object) -> str:
    """The source of one member's twin."""
    function = _function(value)
    if isinstance(value, property):
        return _written(name, _source(function), decorator="@property")
    overloads = [_written(name, _source(overload), stub=True) for overload in typing.get_overloads(function)]
    decorator = "@classmethod" if isinstance(value, classmethod) else ""
    return "\n".join([*overloads, _written(name, _source(function), decorator=decorator)])


def _written(
    name: str, node: ast.FunctionDef | ast.AsyncFunctionDef, *, decorator: str = "", stub: bool = False
) -> str:
    """A function's twin; a `stub` is one of its overloads."""
    returns = ast.unparse(node.returns) if node.returns is not None else "None"
    doc = ast.get_docstring(node) or ""
    calls = _calls(name, node, returns, is_property=decorator == "@property")
    node.args.args[0].annotation = None
    body = "..." if stub else f'"""{_reworded(doc)}\n"""\n{calls}'
    head = f"def {name}({ast.unparse(node.args)}) -> {_retyped(returns)}:"
    return "\n".join([decorator or ("@overload" if stub else ""), head, textwrap.indent(body, "    ")])


def _calls(name: str, node: ast.FunctionDef | ast.AsyncFunctionDef, returns: str, *, is_property: bool) -> str:
    """The statement that makes the call, by what it returns."""
    if returns.startswith("Opening"):
        return f"return cls._opened({returns[len('Opening[') : -1]}.{name}({_handed_on(node)}))"
    call = f"self._inner.{name}" if is_property else f"self._inner.{name}({_handed_on(node)})"
    if "AsyncIterator" in returns or "AsyncGenerator" in returns:
        return f"return iterated(self._portal, {call}, ahead={_AHEAD[name]})"
    if isinstance(node, ast.AsyncFunctionDef):
        return f"return self._portal.call({call})"
    return "return " + _MADE.get(returns, "{call}").format(call=call)


def _handed_on(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """The arguments, as they are handed on. A function among them runs inside the call."""
    args = node.args
    handed = [_value(arg) for arg in args.args[1:]]
    handed += [f"*{args.vararg.arg}"] if args.vararg else []
    handed += [f"{arg.arg}={_value(arg)}" for arg in args.kwonlyargs]
    handed += [f"**{args.kwarg.arg}"] if args.kwarg else []
    return ", ".join(handed)


def _value(arg: ast.arg) -> str:
    annotation = ast.unparse(arg.annotation) if arg.annotation is not None else ""
    guarded = f"self._portal.guarded({arg.arg})"
    if annotation.startswith(_FUNCTIONS):
        return f"{arg.arg} and {guarded}" if annotation.endswith("| None") else guarded
    return arg.arg


def _retyped(returns: str) -> str:
    for old, new in _TYPES.items():
        if returns == old or (old == "AsyncIterator" and old in returns):
            return returns.replace(old, new)
    return returns


def _reworded(doc: str) -> str:
    for old, new in _WORDS:
        doc = doc.replace(old, new)
    return doc


# --- modules


def _module(twin: Twin) -> str:
    """A whole module, before it is formatted."""
    members = [(name, _twin(name, value)) for name, value in _members(twin.of)]
    parts = [
        f'"""The twin of `{twin.of.__name__}`. Written by `python -m tests.sync.generate`; don\'t edit it."""',
        "from __future__ import annotations",
        *_imports(twin, "\n".join(source for _, source in members)),
        f'{twin.head}:\n    """{inspect.cleandoc(twin.doc)}\n"""',
    ]
    if twin.of is Records:
        parts.append(
            "    def __init__(self, inner: Records, portal: Portal) -> None:\n"
            "        self._inner = inner\n        self._portal = portal"
        )
    return "\n\n".join([*parts, *(textwrap.indent(source, "    ") for _, source in members)]) + "\n"


def _imports(twin: Twin, source: str) -> list[str]:
    """One import for each name that the module uses and doesn't define."""
    used = {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}
    used |= {node.id for node in ast.walk(ast.parse(f"{twin.head}: pass")) if isinstance(node, ast.Name)}
    used |= {twin.of.__name__} | ({"Portal"} if twin.of is Records else set())
    homes = _homes(twin)
    return sorted(
        f"from {homes[name]} import {name}" if homes[name] else f"import {name}" for name in used & set(homes)
    )


def _homes(twin: Twin) -> dict[str, str]:
    """From where each name that the sources know is imported; `""`: it is a module."""
    homes: dict[str, str] = {}
    for name in {_function(value).__globals__["__name__"] for _, value in _members(twin.of)}:
        for node in ast.parse(inspect.getsource(sys.modules[name])).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                homes |= {alias.name: node.module for alias in node.names}
            elif isinstance(node, ast.Import):
                homes |= {alias.name: "" for alias in node.names}
            elif isinstance(node, ast.ClassDef):
                homes[node.name] = name
            elif isinstance(node, ast.Assign):
                homes |= {target.id: name for target in node.targets if isinstance(target, ast.Name)}
    return homes | _OURS


def written(twin: Twin) -> str:
    """What the file of a twin has to be, formatted."""
    text = _module(twin)
    for command in (["check", "--fix-only", "--quiet", "--select=I,F401"], ["format"]):
        name = str(FOLDER / twin.file)
        text = subprocess.run(
            [_RUFF, *command, f"--stdin-filename={name}", "-"], input=text, capture_output=True, text=True, check=True
        ).stdout
    return text


def main() -> None:
    """Write all twins, or name those that aren't as they would be written."""
    stale = [twin for twin in TWINS if not _is_current(twin)]
    if "--check" in sys.argv[1:] and stale:
        sys.exit(f"{', '.join(twin.file for twin in stale)} of sync/: run `python -m tests.sync.generate`.")
    for twin in stale:
        (FOLDER / twin.file).write_text(written(twin), encoding="utf-8")


def _is_current(twin: Twin) -> bool:
    path = FOLDER / twin.file
    return path.exists() and path.read_text(encoding="utf-8") == written(twin)


if __name__ == "__main__":
    main()

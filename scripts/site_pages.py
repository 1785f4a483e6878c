"""What the documentation site adds to the folder `docs`: the project's own pages, and links from page to page.

Pages are written for people who read them in the repository, so their links name files. On the site, a link to a page
leads to that page, and a link to any other file of the repository becomes plain text. MkDocs calls these functions.
"""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from types import FunctionType

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
PROJECT_PAGES = ("README.md", "ARCHITECTURE.md", "AGENTS.md", "CHANGELOG.md", "examples/README.md")

_FENCED_OR_LINK = re.compile(
    r"(?P<fenced>^(?P<fence>`{3,}).*?^(?P=fence)$)|(?<!!)\[(?P<text>[^\]]*)\]\((?P<path>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)",
    flags=re.MULTILINE | re.DOTALL,
)

_DESCRIBED = re.compile(r"^::: bamboo_sessions\.(?P<name>\w+)$", flags=re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside `docs`."""
    for name in PROJECT_PAGES:
        files.append(File.generated(config, f"project/{name}", abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make every link lead to a page of the site, or to nothing; name the calls of the classes to be described."""
    source = page.file.src_uri
    markdown = _DESCRIBED.sub(lambda match: "\n".join([match[0], *_calls_from_other_modules(match["name"])]), markdown)

    def on_site(match: re.Match[str]) -> str:
        if match["fenced"]:
            return match[0]
        path = normpath(join(dirname(_repository_path(source)), match["path"]))
        target = _site_path(path)
        if target not in files.src_uris:
            return match["text"] if (ROOT / path).exists() else match[0]
        return f"[{match['text']}]({relpath(target, dirname(source) or '.')}{match['anchor'] or ''})"

    return _FENCED_OR_LINK.sub(on_site, markdown)


def _repository_path(site_path: str) -> str:
    return site_path.removeprefix("project/") if site_path.startswith("project/") else f"docs/{site_path}"


def _site_path(repository_path: str) -> str:
    if repository_path in PROJECT_PAGES:
        return f"project/{repository_path}"
    return repository_path.removeprefix("docs/")


def _calls_from_other_modules(name: str) -> Iterator[str]:
    """The methods of a class that are functions of other modules, which reading the class's source doesn't show."""
    kind = getattr(importlib.import_module("bamboo_sessions"), name)
    for method, value in vars(kind).items() if isinstance(kind, type) else ():
        path = Path(value.__code__.co_filename) if isinstance(value, FunctionType) else None
        if path is None or not path.is_relative_to(SOURCE) or f"class {name}" in path.read_text(encoding="utf-8"):
            continue
        module = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        yield f"\n::: {module}.{value.__code__.co_name}"
        yield f'    options: {{heading: "{name}.{method}", heading_level: 4}}\n'

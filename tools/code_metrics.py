"""How dense the code is, as rows of markdown: ``python tools/code_metrics.py services local_engine``.

docs/testing.md says how the numbers are read. Cyclomatic complexity is counted as radon 6.0.1 counts it (and gives the
same numbers), which has had no release since 2023; the gate's own limit is ruff's C901, which counts a little less.
"""

from __future__ import annotations

import argparse
import ast
import io
import tokenize
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_FOLDERS = ("services", "local_engine", "sandbox", "cli")
#: A function of this complexity is of rank C.
RANK_C = 11
NO_CODE = frozenset(
    {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    },
)
Function = ast.FunctionDef | ast.AsyncFunctionDef
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
FUNCTION_TYPES = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Complexity:
    """A function's cyclomatic complexity, and where it is."""

    value: int
    where: str


@dataclass
class Metrics:
    """What was counted in a folder."""

    nodes: int = 0
    body_lines: int = 0
    comprehensions: int = 0
    conditional_expressions: int = 0
    complexities: list[Complexity] = field(default_factory=list)
    files: Counter[Path] = field(default_factory=Counter)

    @property
    def nodes_per_line(self) -> float:
        return self.nodes / max(self.body_lines, 1)

    @property
    def comprehensions_per_100(self) -> float:
        return 100 * self.comprehensions / max(self.body_lines, 1)

    @property
    def conditionals_per_100(self) -> float:
        return 100 * self.conditional_expressions / max(self.body_lines, 1)

    @property
    def mean_complexity(self) -> float:
        values = [item.value for item in self.complexities]
        return sum(values) / max(len(values), 1)

    @property
    def complex_functions(self) -> list[Complexity]:
        found = [item for item in self.complexities if item.value >= RANK_C]
        return sorted(found, key=lambda item: (-item.value, item.where))

    @property
    def largest_folder(self) -> tuple[Path, int]:
        return self.files.most_common(1)[0]


def measure(folder: Path) -> Metrics:
    """The numbers of all Python files in a folder and below."""
    metrics = Metrics()
    for path in sorted(folder.rglob("*.py")):
        _add_file(metrics, path)
    return metrics


def _add_file(metrics: Metrics, path: Path) -> None:
    source = path.read_text("utf-8")
    tree = ast.parse(source)
    if path.name != "__init__.py":
        metrics.files[path.parent] += 1
    lines = _code_lines(source, tree)
    body_lines: set[int] = set()
    for function in _functions(tree):
        for statement in function.body:
            end = statement.end_lineno or statement.lineno
            body_lines.update(lines & set(range(statement.lineno, end + 1)))
        where = f"{path}:{function.lineno} {function.name}"
        metrics.complexities.append(Complexity(complexity(function), where))
    metrics.body_lines += len(body_lines)
    for function in _outermost_functions(tree):
        metrics.nodes += sum(_size(item) for item in function.body)
    for node in ast.walk(tree):
        metrics.comprehensions += isinstance(node, Comprehension)
        metrics.conditional_expressions += isinstance(node, ast.IfExp)


def _code_lines(source: str, tree: ast.Module) -> set[int]:
    """The lines with code: no comments, docstrings or empty lines."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, *FUNCTION_TYPES)):
            lines -= _docstring_lines(node.body)
    return lines


def _docstring_lines(body: list[ast.stmt]) -> set[int]:
    if not body or not _is_text(body[0]):
        return set()
    first = body[0]
    return set(range(first.lineno, (first.end_lineno or first.lineno) + 1))


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _size(statement: ast.stmt) -> int:
    if _is_text(statement):
        return 0
    return sum(1 for _ in ast.walk(statement))


def _functions(tree: ast.AST) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, FUNCTION_TYPES):
            yield node


def _outermost_functions(tree: ast.AST) -> Iterator[Function]:
    """The functions that lie in no other function."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, FUNCTION_TYPES):
            yield node
        else:
            yield from _outermost_functions(node)


def complexity(function: Function) -> int:
    """The number of independent ways through a function, without those of the functions inside it."""
    return 1 + sum(_ways_in(statement) for statement in function.body)


def _ways_in(node: ast.AST) -> int:
    if isinstance(node, FUNCTION_TYPES):
        return 0
    return _ways_of(node) + sum(_ways_in(child) for child in ast.iter_child_nodes(node))


def _ways_of(node: ast.AST) -> int:
    """How many ways a node itself adds to the function it stands in."""
    ways = 0
    if isinstance(node, ast.If | ast.IfExp):
        ways = 1
    elif isinstance(node, ast.For | ast.AsyncFor | ast.While):
        ways = 1 + bool(node.orelse)
    elif isinstance(node, ast.Try):
        ways = len(node.handlers) + bool(node.orelse)
    elif isinstance(node, ast.BoolOp):
        ways = len(node.values) - 1
    elif isinstance(node, ast.comprehension):
        ways = 1 + len(node.ifs)
    elif isinstance(node, ast.Match):
        ways = sum(1 for case in node.cases if not _is_default(case))
    return ways


def _is_default(case: ast.match_case) -> bool:
    return isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None


def table(measured: dict[str, Metrics]) -> str:
    """The rows of specification 14's table, one column per folder."""
    columns = list(measured)
    rows = [
        ["", *(f"{name}/" for name in columns), "goal"],
        ["---"] * (len(columns) + 2),
        _row(
            "AST nodes per body line",
            measured,
            lambda m: f"{m.nodes_per_line:.1f}",
            "<= 8",
        ),
        _row(
            "comprehensions per 100 body lines",
            measured,
            lambda m: f"{m.comprehensions_per_100:.1f}",
            "<= 3",
        ),
        _row(
            "conditional expressions per 100 body lines",
            measured,
            lambda m: f"{m.conditionals_per_100:.1f}",
            "<= 2.5",
        ),
        _row(
            "cyclomatic complexity, mean / functions of rank C and worse",
            measured,
            lambda m: f"{m.mean_complexity:.1f} / {len(m.complex_functions)}",
            "<= 3 / 0",
        ),
        _row(
            "files in the largest flat folder",
            measured,
            lambda m: f"{m.largest_folder[1]} (`{m.largest_folder[0]}/`)",
            "<= 15",
        ),
        _row("body lines", measured, lambda m: f"{m.body_lines}", "-"),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(
    title: str,
    measured: dict[str, Metrics],
    show: Callable[[Metrics], str],
    goal: str,
) -> list[str]:
    return [title, *(show(item) for item in measured.values()), goal]


def main() -> None:
    """Print the table, and with ``--list`` the functions of rank C and worse."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", default=DEFAULT_FOLDERS)
    parser.add_argument(
        "--list",
        action="store_true",
        help="functions of rank C and worse",
    )
    arguments = parser.parse_args()
    measured = {name.rstrip("/"): measure(Path(name)) for name in arguments.folders}
    print(table(measured))
    if arguments.list:
        for metrics in measured.values():
            for item in metrics.complex_functions:
                print(f"{item.value:4} {item.where}")


if __name__ == "__main__":
    main()

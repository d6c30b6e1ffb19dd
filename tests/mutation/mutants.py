"""All wrong lines that can be made of a file: by cosmic-ray's operators, and calls left out."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

#: Of cosmic-ray's those that make plausible faults: not each arithmetic operator by each other one,
#: and nothing that only an annotation would notice (``X | None``).
OPERATORS = (
    "core/AddNot",
    "core/ReplaceTrueWithFalse",
    "core/ReplaceFalseWithTrue",
    "core/ReplaceAndWithOr",
    "core/ReplaceOrWithAnd",
    "core/ReplaceBreakWithContinue",
    "core/ReplaceContinueWithBreak",
    "core/ReplaceUnaryOperator_Delete_Not",
    "core/ZeroIterationForLoop",
    "core/NumberReplacer",
    "core/ReplaceBinaryOperator_Add_Sub",
    "core/ReplaceBinaryOperator_Sub_Add",
    "core/ReplaceBinaryOperator_Mul_Div",
    "core/ReplaceBinaryOperator_Div_Mul",
    "core/ReplaceComparisonOperator_Lt_LtE",
    "core/ReplaceComparisonOperator_LtE_Lt",
    "core/ReplaceComparisonOperator_Gt_GtE",
    "core/ReplaceComparisonOperator_GtE_Gt",
    "core/ReplaceComparisonOperator_Eq_NotEq",
    "core/ReplaceComparisonOperator_NotEq_Eq",
    "core/ReplaceComparisonOperator_Is_IsNot",
    "core/ReplaceComparisonOperator_IsNot_Is",
)
LEFT_OUT = "a call left out"
#: Calls that no test need notice.
SAID = ("logger.", "log(", "warnings.", "super().__init__(")


@cache
def text_of(path: Path) -> str:
    """As it was when it was first asked for: somebody may go on working on it."""
    return path.read_text(encoding="utf-8")


@dataclass(frozen=True)
class Mutant:
    """One wrong line; *at* is the how-manieth of its kind in the file."""

    path: Path
    kind: str
    at: int

    def source(self) -> str | None:
        """The file with it; ``None``: it changes nothing."""
        text = text_of(self.path)
        if self.kind == LEFT_OUT:
            return without(text, list(calls(text))[self.at])
        changed: str | None = mutate_code(text, plugins.get_operator(self.kind)(), self.at)
        return None if changed == text else changed

    def line(self) -> int:
        """The first line that it changes."""
        return self._change()[0]

    def name(self, root: Path) -> str:
        """What it does to which file, however the lines around it move."""
        _, before, after = self._change()
        return f"{self.path.relative_to(root)} | {before} | {after}"

    def _change(self) -> tuple[int, str, str]:
        before = text_of(self.path).splitlines()
        after = (self.source() or "").splitlines()
        line = next((n for n, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), 0)
        return line + 1, before[line].strip(), after[line].strip() if after else before[line].strip()


def calls(text: str) -> Iterator[ast.Expr]:
    """Statements that only call something."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr):
            value = node.value.value if isinstance(node.value, ast.Await) else node.value
            if isinstance(value, ast.Call) and not ast.unparse(value).startswith(SAID):
                yield node


def without(text: str, call: ast.Expr) -> str:
    lines = text.splitlines(keepends=True)
    assert call.end_lineno is not None
    indent = lines[call.lineno - 1][: call.col_offset]
    return "".join([*lines[: call.lineno - 1], f"{indent}pass\n", *lines[call.end_lineno :]])


def mutants_of(path: Path) -> Iterator[Mutant]:
    text = text_of(path)
    for at, _ in enumerate(calls(text)):
        yield Mutant(path, LEFT_OUT, at)
    nodes = list(ast_nodes(get_ast(text)))
    for name in OPERATORS:
        operator = plugins.get_operator(name)()
        for at in range(sum(1 for node in nodes for _ in operator.mutation_positions(node))):
            yield Mutant(path, name, at)

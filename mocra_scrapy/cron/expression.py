"""Expressions over a run's stats: ``item_scraped_count > 100 and log_count/ERROR == 0``. Pure;
nothing of it is ever evaluated as Python.

The text is parsed by :mod:`ast`, and a short list of its nodes has a meaning here: ``and or not``,
comparisons, ``+ - *``, numbers, texts, ``True``, ``False``, ``None``, and names. A name is a stat,
written as Scrapy logs it, slashes and dots included; one that was never counted is 0.
``exit_code``, ``finish_reason``, ``items`` and ``errors`` are those of the run.

Where the runs before are known (``expect``), ``median(items, 10)`` is that of the last ten that
succeeded, and so ``mean``, ``least`` and ``most``, of ``items``, ``errors`` or ``seconds``.
"""

from __future__ import annotations

import ast
import operator
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

MAX_LENGTH = 1000
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_COUNT: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
}


#: Over earlier runs; and what is remembered of these.
FUNCTIONS: dict[str, Callable[[list[float]], float]] = {
    "median": statistics.median,
    "mean": statistics.fmean,
    "least": min,
    "most": max,
}
REMEMBERED = ("items", "errors", "seconds")
#: Earlier runs that a judgement needs; and the most that it may ask for.
ENOUGH, MOST_RUNS = 3, 1000


class NotEnough(Exception):
    """Too few runs were before: nothing can be said."""


class BadExpression(ValueError):
    """The text is no expression of ours, or can't be worked out for these stats (a text compared
    with a number).
    """


class Expression:
    """A checked expression.

    Args:
        earlier: it may ask for earlier runs.

    Raises:
        BadExpression: something in it has no meaning here; the text names it.
    """

    def __init__(self, text: str, *, earlier: bool = False) -> None:
        self.text, self._earlier = text, earlier
        self.calls: list[ast.Call] = []
        if len(text) > MAX_LENGTH:
            raise BadExpression(f"it has {len(text)} characters, {MAX_LENGTH} is the most")
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise BadExpression(f"it can't be read: {getattr(error, 'msg', error)}") from error
        self.names: set[str] = set()
        self._check(self._tree)

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def holds(self, stats: Mapping[str, Any], earlier: Sequence[Mapping[str, float]] = ()) -> bool:
        """Whether it is true of *stats*; *earlier*: what is remembered of the runs before, oldest
        first.

        Raises:
            BadExpression: a text was compared with a number, or the like.
            NotEnough: it asks for earlier runs, and there are fewer than three.
        """
        try:
            return bool(_value(self._tree, {**stats, EARLIER: earlier}))
        except TypeError as error:
            raise BadExpression(f"{self.text!r} can't be worked out: {error}") from error

    def value_of(self, call: ast.Call, earlier: Sequence[Mapping[str, float]]) -> float:
        """What one of :attr:`calls` gives. Raises NotEnough."""
        return _called(call, earlier)

    def _check(self, node: ast.AST) -> None:
        name = _name(node)
        if name is not None:
            self.names.add(name)
            return
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float, str, bool, type(None))):
            return
        if self._earlier and _is_call(node):
            assert isinstance(node, ast.Call)
            self.calls.append(node)
            return
        parts = _components(node)
        if parts is None:
            raise BadExpression(
                f"{ast.unparse(node)!r} has no meaning in it: there are and, or, not, comparisons, + - *, numbers, texts and names of stats"
            )
        for part in parts:
            self._check(part)


def _name(node: ast.AST) -> str | None:
    """The stat that *node* names: ``a``, ``a/b``, ``a/200``, ``a/b.c.D``."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        left = _name(node.value)
        return None if left is None else f"{left}.{node.attr}"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        left = _name(node.left)
        if isinstance(node.right, ast.Constant) and isinstance(node.right.value, int):
            right: str | None = str(node.right.value)
        else:
            right = _name(node.right)
        return None if left is None or right is None else f"{left}/{right}"
    return None


#: Where the earlier runs stand among the stats: no stat has such a name.
EARLIER = " earlier"


def _is_call(node: ast.AST) -> bool:
    """``median(items, 10)``."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS):
        return False
    if node.keywords or len(node.args) != 2 or _name(node.args[0]) not in REMEMBERED:
        return False
    number = node.args[1]
    return isinstance(number, ast.Constant) and type(number.value) is int and 1 <= number.value <= MOST_RUNS


def _called(node: ast.Call, earlier: Sequence[Mapping[str, float]]) -> float:
    name, number = _name(node.args[0]), node.args[1]
    assert isinstance(node.func, ast.Name)
    assert isinstance(number, ast.Constant)
    assert name is not None
    values = [run[name] for run in earlier if name in run][-int(number.value) :]  # type: ignore[arg-type]
    if len(values) < min(ENOUGH, number.value):  # type: ignore[operator, type-var]
        raise NotEnough
    return float(FUNCTIONS[node.func.id](values))


def _components(node: ast.AST) -> list[ast.expr] | None:
    """The parts of a node that has a meaning; ``None``: it has none."""
    if isinstance(node, ast.BoolOp):
        return node.values
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        return [node.operand]
    if isinstance(node, ast.Compare) and all(type(op) in _COMPARE for op in node.ops):
        return [node.left, *node.comparators]
    if isinstance(node, ast.BinOp) and type(node.op) in _COUNT:
        return [node.left, node.right]
    if isinstance(node, (ast.Tuple, ast.List)):
        return node.elts
    return None


def _value(node: ast.AST, stats: Mapping[str, Any]) -> Any:  # noqa: PLR0911 - one for each kind of node
    name = _name(node)
    if name is not None:
        return stats.get(name, 0)
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Call):
        return _called(node, stats[EARLIER])
    if isinstance(node, ast.BoolOp):
        both = isinstance(node.op, ast.And)
        for part in node.values:
            if bool(_value(part, stats)) is not both:
                return not both
        return both
    if isinstance(node, ast.UnaryOp):
        value = _value(node.operand, stats)
        return not value if isinstance(node.op, ast.Not) else -value
    if isinstance(node, ast.Compare):
        left = _value(node.left, stats)
        for op, part in zip(node.ops, node.comparators, strict=True):
            right = _value(part, stats)
            if not _COMPARE[type(op)](left, right):
                return False
            left = right
        return True
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left, stats), _value(node.right, stats)
        if not all(isinstance(side, (int, float)) for side in (left, right)):
            raise TypeError("only numbers are added and multiplied")  # "x" * 10**9 would fill the memory
        return _COUNT[type(node.op)](left, right)
    assert isinstance(node, (ast.Tuple, ast.List))
    return [_value(part, stats) for part in node.elts]

"""Calculator: arithmetic by walking the syntax tree; nothing is evaluated as code."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import Any

from quarterdeck.errors import ToolError
from quarterdeck.tools.base import BaseTool

Number = int | float

_MAX_LENGTH = 1_000
_MAX_BITS = 10_000
"""Whole numbers may have this many bits, about 3,000 digits."""
_MAX_FACTORIAL = 1_000

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: operator.mod,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_CONSTANTS: dict[str, Number] = {"pi": math.pi, "e": math.e, "tau": math.tau}


def _factorial(n: Number) -> int:
    if n != int(n) or not 0 <= n <= _MAX_FACTORIAL:
        raise ToolError(f"factorial takes a whole number from 0 to {_MAX_FACTORIAL}, got {n}.")
    return math.factorial(int(n))


def _round(value: Number, digits: Number = 0) -> Number:
    if not -300 <= digits <= 300:
        raise ToolError(f"round takes from -300 to 300 digits, got {digits}.")
    return round(value, int(digits)) if digits else round(value)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "ceil": math.ceil,
    "cos": math.cos,
    "acos": math.acos,
    "asin": math.asin,
    "atan": math.atan,
    "degrees": math.degrees,
    "exp": math.exp,
    "factorial": _factorial,
    "floor": math.floor,
    "log": math.log,
    "log10": math.log10,
    "log2": math.log2,
    "max": max,
    "min": min,
    "radians": math.radians,
    "round": _round,
    "sin": math.sin,
    "sqrt": math.sqrt,
    "tan": math.tan,
}


class Calculator(BaseTool):
    """Arithmetic: ``+ - * / // % **``, parentheses, and the functions and constants that the description names.

    An expression has at most 1,000 characters, and a whole number at most about 3,000 digits.
    """

    name: str = "calculator"
    description: str = (
        "Calculates an arithmetic expression with + - * / // % ** and parentheses. "
        f"Functions: {', '.join(sorted(_FUNCTIONS))}. Constants: {', '.join(sorted(_CONSTANTS))}."
    )

    async def _arun(self, expression: str) -> str:
        """Calculates.

        Args:
            expression: Such as (1250 * 1.19 - 80) / 12
        """
        return calculate(expression)


def calculate(expression: str) -> str:
    """The value of an arithmetic expression, to 15 significant digits.

    Raises:
        ToolError: It is no arithmetic, has no real value, or is too large.
    """
    if len(expression) > _MAX_LENGTH:
        raise ToolError(f"The expression has {len(expression):,} characters; the limit is {_MAX_LENGTH:,}.")
    try:
        value = _value(ast.parse(expression.strip(), mode="eval").body)
        return str(value) if isinstance(value, int) else format(value, ".15g")
    except ZeroDivisionError:
        raise ToolError("Division by zero.") from None
    except OverflowError:
        raise ToolError("The result is too large.") from None
    except (SyntaxError, RecursionError, MemoryError):
        raise ToolError(f"{expression!r} is not an arithmetic expression.") from None
    except (TypeError, ValueError) as error:
        raise ToolError(f"This cannot be calculated: {error}.") from None


def _value(node: ast.expr) -> Number:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return _checked(number)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left), _value(right))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _checked(_BINARY[type(op)](_value(left), _value(right)))
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _UNARY:
            return _UNARY[type(op)](_value(operand))
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            return _checked(_FUNCTIONS[name](*[_value(arg) for arg in args]))
        case _:
            raise ToolError(_refusal(node))


def _power(base: Number, exponent: Number) -> Number:
    too_large = abs(base) > 1 and exponent > 0 and math.log2(abs(base)) * exponent > _MAX_BITS
    if isinstance(base, int) and isinstance(exponent, int) and too_large:
        raise ToolError("The result is too large.")
    return _checked(base**exponent)


def _checked(value: Any) -> Number:
    if isinstance(value, int) and value.bit_length() <= _MAX_BITS:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ToolError("There is no real result." if isinstance(value, complex) else "The result is too large.")


def _refusal(node: ast.expr) -> str:
    match node:
        case ast.BinOp(op=ast.BitXor()):
            return "^ is not a power here: write **."
        case ast.Tuple():
            return "Write numbers without thousands separators: 1000, not 1,000."
        case ast.Name(id=name):
            return f"{name!r} is not known; known constants are {', '.join(sorted(_CONSTANTS))}."
        case ast.Call(func=ast.Name(id=name)) if name in _FUNCTIONS:
            return f"the function {name!r} takes its arguments by position."
        case ast.Call(func=ast.Name(id=name)):
            return f"the function {name!r} is not known; known are {', '.join(sorted(_FUNCTIONS))}."
        case _:
            return f"{ast.unparse(node)[:80]!r} is not arithmetic: use numbers, operators, parentheses and functions."

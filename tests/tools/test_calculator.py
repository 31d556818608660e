"""The calculator: right results, and nothing that is more than arithmetic."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.errors import ToolError
from quarterdeck.tools import Calculator
from quarterdeck.tools.builtin.calculator import calculate


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3", "7"),
        ("(1250 * 1.19 - 80) / 12", "117.291666666667"),
        ("0.1 + 0.2", "0.3"),
        ("2 ** 10 - 7 // 2 + 5 % 3", "1023"),
        ("-(2) ** 2", "-4"),
        ("2 ** -1", "0.5"),
        ("sqrt(2) * sin(pi / 2)", "1.4142135623731"),
        ("max(1, 2.5, min(9, 7))", "7"),
        ("round(2.567, 2) + round(5.4)", "7.57"),
        ("factorial(20)", "2432902008176640000"),
        ("2 ** 200", str(2**200)),
        (" 1\n", "1"),
    ],
)
def test_results(expression: str, value: str):
    assert calculate(expression) == value


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "not an arithmetic expression"),
        ("1 +", "not an arithmetic expression"),
        ("1 / 0", "Division by zero"),
        ("9 ** 9 ** 9", "too large"),
        ("2.0 ** 5000", "too large"),
        ("10 ** 2000 * 10 ** 2000", "too large"),
        ("1e308 * 10", "too large"),
        ("factorial(5000)", "factorial takes a whole number from 0 to 1000"),
        ("factorial(0.5)", "factorial takes a whole number"),
        ("(-8) ** 0.5", "no real result"),
        ("sqrt(-1)", "This cannot be calculated"),
        ("max()", "This cannot be calculated"),
        ("round(1, 10 ** 9)", "round takes from -300 to 300 digits"),
        ("2 ^ 3", "write **"),
        ("1,000 + 1", "without thousands separators"),
        ("x + 1", "'x' is not known; known constants are e, pi, tau"),
        ("eval('1')", "the function 'eval' is not known; known are abs"),
        ("(1).__class__", "is not arithmetic"),
        ("[1] * 9", "is not arithmetic"),
        ("'a' * 9", "is not arithmetic"),
        ("True + 1", "is not arithmetic"),
        ("1 if 1 else 2", "is not arithmetic"),
        ("lambda: 1", "is not arithmetic"),
        ("round(number=1)", "the function 'round' takes its arguments by position"),
        ("(" * 300 + "1" + ")" * 300, "not an arithmetic expression"),
        ("1" * 1001, "1,001 characters; the limit is 1,000"),
    ],
)
async def test_what_is_refused(call: Any, expression: str, said: str):
    result = await call(Calculator(), {"expression": expression})
    assert not result.ok
    assert said in result.output


numbers = st.integers(-1000, 1000) | st.floats(-1e6, 1e6).map(lambda x: round(x, 3))
expressions = st.recursive(
    numbers.map(lambda x: f"({x!r})"),
    lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner).map(
        lambda parts: f"({''.join(parts)})"
    ),
    max_leaves=8,
)


@given(expressions)
def test_it_agrees_with_python(expression: str):
    try:
        expected = eval(expression)
    except ZeroDivisionError:
        with pytest.raises(ToolError, match="Division by zero"):
            calculate(expression)
        return
    assert float(calculate(expression)) == pytest.approx(float(expected), rel=1e-12)


@given(st.text(alphabet="0123456789.+-*/%() ,eπ^", max_size=40) | st.text(max_size=30))
def test_any_text_is_answered_at_once(expression: str):
    begun = time.process_time()
    with contextlib.suppress(ToolError):  # the only error that it may raise
        assert calculate(expression)
    assert time.process_time() - begun < 1

"""The brackets of the compiled scan: where a row's distance is at least, and at most.

Their errors are those of `sq8`; only that the first comparison is of its own, D'^2 > ((t + e_x +
e_q) (1 + 2^-30))^2 in place of D' - (e_x + e_q) > t, which drops fewer rows, as far as the slack
reaches; and that in the second one, of the few rows that are left, the query is not quantised: of
e_q only the part for rounding stays, and about half as many rows are left in the end.  Sums are
added in any order, which all of these errors allow for.
"""

from typing import Any, Final

import numpy as np

from .native import (
    BOUND,
    ERROR,
    EXCESS,
    FLOOR,
    LENGTH,
    NORM,
    OFFSET,
    ROUNDING,
    SLACK_OF,
    STEP_OF,
)
from .shelf import CODES, ERRORS, SQUARES, STEPS
from .simd import RAISED, bytes_at, compiled, doubles_at, floats_at, inlined, summing

STEPS_MAX: Final = 127.0
WIDENED: Final = 1 + 2.0**-30
SLACK: Final = 2.0**-22
CENTROID_SLACK: Final = 2.0**-40


@summing
def quantised(
    direction: Any, centroid: Any, residual: Any, codes: Any, magnitudes: Any
) -> tuple[float, float, float, int]:
    """Step, length, error and sum of the codes of a direction (d,) from a centroid (d,).

    Overwrites the residual (d,) float64, the codes and the magnitudes int8, which are padded.
    """
    largest = 0.0
    for at in range(len(direction)):
        residual[at] = direction[at] - centroid[at]
        largest = max(largest, abs(residual[at]))
    step = np.float64(np.float32(largest / STEPS_MAX))
    inverse = 1.0 / step if step > 0 else 0.0
    length, error, total = 0.0, 0.0, 0
    for at in range(len(direction)):
        code = min(STEPS_MAX, max(-STEPS_MAX, np.rint(residual[at] * inverse)))
        lost = residual[at] - code * step
        error += lost * lost
        length += code * code
        codes[at] = np.int8(code)
        magnitudes[at] = np.int8(abs(code))
        total += int(code)
    length, error = step * np.sqrt(length), np.sqrt(error)
    return step, length, error, total


@summing
def product(one: Any, other: Any) -> float:
    """The product of two vectors (d,), float64."""
    total = 0.0
    for at in range(len(one)):
        total += one[at] * other[at]
    return total


@inlined
def asked(
    is_dot: bool, direction: Any, centroid: Any, residual: Any, query: Any, numbers: Any
) -> None:
    """Quantise a direction (d,) for a partition, to query (2, padded) int8 and numbers (NUMBERS,).

    The numbers: step, length and error of the codes, what of the error is for rounding, what `dot`
    has too much, what the centroid adds to a product, and to a margin.  The others are kept.  The
    residual (d,) is overwritten by what was quantised, under dot by `begin` alone.
    """
    if not is_dot:
        step, length, error, total = quantised(direction, centroid, residual, query[0], query[1])
        slack = SLACK * (error + length) + numbers[ROUNDING]
        numbers[STEP_OF], numbers[LENGTH], numbers[EXCESS] = step, length, RAISED * total
        numbers[SLACK_OF], numbers[ERROR] = slack, error + slack
        return
    numbers[OFFSET] = product(direction, centroid)
    numbers[FLOOR] = CENTROID_SLACK * np.sqrt(product(centroid, centroid))


@compiled
def begin(
    is_dot: bool, direction: Any, origin: Any, residual: Any, query: Any, numbers: Any
) -> None:
    """What is known of a query (d,) before the first partition; origin: zeros (d,)."""
    numbers[NORM] = np.sqrt(product(direction, direction))
    if is_dot:
        asked(False, direction, origin, residual, query, numbers)


@inlined
def compared(
    is_dot: bool, columns: Any, first: int, last: int, dots: Any, numbers: Any, excess: Any
) -> None:
    """What the brackets of the rows from first to before last exceed `numbers[BOUND]` by.

    columns: the partition's in the table; excess: float64 (TILE,), of squares but for dot.
    """
    steps, squares = floats_at(columns[STEPS]), doubles_at(columns[SQUARES])
    errors = floats_at(columns[ERRORS])
    bound, step, error = numbers[BOUND], numbers[STEP_OF], numbers[ERROR]
    offset, floor, norm = numbers[OFFSET], numbers[FLOOR], numbers[NORM]
    square = numbers[LENGTH] * numbers[LENGTH]
    if is_dot:
        for at in range(last - first):
            row = first + at
            middle = -(steps[row] * step * dots[at]) - offset
            margin = errors[row] * norm + np.sqrt(squares[row]) * error + floor
            excess[at] = middle - margin - bound
        return
    for at in range(last - first):
        row = first + at
        middle = squares[row] + square - 2 * (steps[row] * step * dots[at])
        reach = (bound + error + errors[row]) * WIDENED
        excess[at] = middle - reach * reach


@summing
def refined(is_dot: bool, columns: Any, row: int, residual: Any, numbers: Any) -> float:
    """The middle of a row's bracket for a residual (d,) that is not quantised; see `sq8`."""
    codes = bytes_at(columns[CODES] + row * len(residual))
    step = np.float64(floats_at(columns[STEPS])[row])
    total = 0.0
    if is_dot:
        for at in range(len(residual)):
            total += residual[at] * codes[at]
        return -(step * total) - numbers[OFFSET]
    for at in range(len(residual)):
        lost = residual[at] - step * codes[at]
        total += lost * lost
    return np.sqrt(total)


@inlined
def margin_of(is_dot: bool, columns: Any, row: int, numbers: Any) -> float:
    """That of the bracket around what `refined` returns."""
    error = np.float64(floats_at(columns[ERRORS])[row])
    if not is_dot:
        return error + numbers[SLACK_OF]
    length = np.sqrt(doubles_at(columns[SQUARES])[row])
    return error * numbers[NORM] + length * numbers[SLACK_OF] + numbers[FLOOR]

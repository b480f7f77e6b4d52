"""The error of a loss that is not finite."""

from __future__ import annotations


class NotFiniteError(ArithmeticError):
    """The loss became infinite or not a number."""

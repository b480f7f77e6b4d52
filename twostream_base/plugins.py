"""Plug-ins: a name from one of the project's dicts, or the user's own `package.module:function`."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from twostream_base.errors import InputError


def read_options(texts: Sequence[str], *, option: str) -> dict[str, Any]:
    """Read the `key=value` texts of a command-line option; see `read_pairs`, `read_value`."""
    return {key: read_value(text) for key, text in read_pairs(texts, option=option).items()}


def read_pairs(texts: Sequence[str], *, option: str) -> dict[str, str]:
    """Split the `key=value` texts of a command-line option.

    Raises:
        InputError: a text of another form, or a key given twice.
    """
    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not key or key in pairs:
            raise InputError(f"{option} {text!r}: expected key=value, each key once")
        pairs[key] = value
    return pairs


def read_value(text: str) -> Any:
    """Turn text into the value that was meant: JSON, a number as `.5`, `True`, or else the text."""
    for read in (json.loads, float):
        with suppress(ValueError):
            return read(text)
    return {"true": True, "false": False}.get(text.lower(), text)


def load(name: Any, entries: Mapping[str, Any]) -> Any:
    """Return `entries[name]`, or import the function that `package.module:function` names.

    Modules are looked for in the current folder too. What is no text is an entry itself.
    """
    if not isinstance(name, str):
        return name
    if name in entries:
        return entries[name]
    module_name, colon, attribute = name.partition(":")
    if not colon:
        raise InputError(f"{name!r} is not one of {', '.join(entries)}, nor module:function")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"cannot load {name!r}: {error}") from error

"""Plug-ins: a name from one of the project's dicts, or the user's own `package.module:function`.

Who may name what: any file a key of our dicts, the user alone a function to import.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from twostream_base.errors import InputError


def read_options(texts: Sequence[str], *, option: str) -> dict[str, Any]:
    """Read the `key=value` texts of a command-line option; see `read_pairs`, `read_value`.

    What a `TrustedName` says is trusted too.
    """
    values = {key: read_value(text) for key, text in read_pairs(texts, option=option).items()}
    return {
        key: trust(value, isinstance(text, TrustedName))
        for text, (key, value) in zip(texts, values.items(), strict=True)
    }


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


class TrustedName(str):
    """A name that the user has typed, so that it may be a `module:function`; see `load`."""

    __slots__ = ()


Trust = bool | Collection[str]  # all names, none, or these


def trust(values: Any, trust_plugins: Trust) -> Any:
    """Mark the texts in JSON values as typed by the user, where they name trusted plug-ins.

    Args:
        trust_plugins: whether all may run code; or the names that may. Options behind a name, as in
            `own:halve k=2`, do not count.
    """
    if isinstance(values, str):
        name = values.split()[0] if values.strip() else ""
        trusted = trust_plugins if isinstance(trust_plugins, bool) else name in trust_plugins
        return TrustedName(values) if trusted and ":" in name else values
    if isinstance(values, Mapping):
        return {key: trust(value, trust_plugins) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return type(values)(trust(value, trust_plugins) for value in values)
    return values


def load(name: Any, entries: Mapping[str, Any]) -> Any:
    """Return `entries[name]`; or what a `TrustedName` such as `package.module:function` imports.

    A plain text may come from a file, and no file runs code: it is looked up in `entries` alone.
    So a reader of files cannot forget the rule, and whatever the user types is marked: by the
    option types of the command line, or where Python is told to `trust_plugins`. Modules are looked
    for in the current folder too, after all others. What is no text is an entry itself.

    Raises:
        InputError: no such name, a plug-in that is not trusted, or one that cannot be imported.
    """
    if not isinstance(name, str):
        return name
    if name in entries:
        return entries[name]
    module_name, colon, attribute = name.partition(":")
    if not colon:
        raise InputError(f"{name!r} is not one of {', '.join(entries)}, nor module:function")
    if not isinstance(name, TrustedName):
        raise InputError(
            f"the plug-in {name!r} would run code, which no file may ask for. If you trust it, "
            "give --trust-plugins, or the same name on the command line (in Python "
            "trust_plugins=True, or the function itself)"
        )
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"cannot load {name!r}: {error}") from error


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Errors about what a file says name that file."""
    try:
        yield
    except InputError as error:
        if str(path) in str(error):
            raise
        raise InputError(f"{path}: {error}") from error


_KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "bool": ((bool,), "true or false"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "str": ((str,), "text"),
}


def check_options(
    function: Callable[..., Any],
    options: Mapping[str, Any],
    *,
    what: str,
    positional: int = 0,
    reserved: Collection[str] = (),
) -> None:
    """Compare the options of a plug-in with the signature of the function that takes them.

    Args:
        what: they are options of, for messages.
        positional, reserved: how many of its first parameters, and which others by name, are not
            options because the program fills them in.

    Raises:
        InputError: an option that it does not take, or a value of another type: that of the
            annotation, or else of the default value.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some built-in functions do not tell what they take
        return
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    filled = {parameter.name for parameter in parameters[:positional]} | set(reserved)
    known = {
        parameter.name: parameter
        for parameter in parameters
        if parameter.name not in filled
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    for key, value in options.items():
        if key in filled or not (key in known or takes_any):
            raise InputError(f"{what} has no option {key!r}; allowed: {', '.join(known) or 'none'}")
        if key not in known:
            continue
        default, annotation = known[key].default, known[key].annotation
        if value is None and default is None:
            continue
        named = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
        kind = named.removesuffix(" | None")
        if kind not in _KINDS:
            kind = type(default).__name__ if annotation is inspect.Parameter.empty else ""
            kind = "float" if kind == "int" else kind  # `p=2` does not say that 2.5 is wrong
        types, words = _KINDS.get(kind, ((object,), ""))
        if not isinstance(value, types) or (isinstance(value, bool) and kind in ("int", "float")):
            raise InputError(f"{what}: the option {key} is {value!r}; expected {words}")

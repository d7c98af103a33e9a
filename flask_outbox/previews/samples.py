"""Read the sample data of a mail: a Python file beside its templates, with one function for each variant.

::

    subject = "Welcome, {{ user.name }}"

    def default():
        return {"user": User(name="Susan")}

    def long_name():
        '''A name that does not fit on a line.'''
        return {"user": User(name="Susan " * 20)}
"""

from __future__ import annotations

import inspect
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..errors import InvalidMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .mails import Mail

DEFAULT = "default"


@dataclass(frozen=True)
class Variant:
    """One set of sample data: its *name*, what its docstring says, and *make*, which returns the context, or a Message."""

    name: str
    description: str = ""
    make: Callable[[], Any] = dict


@dataclass(frozen=True)
class Samples:
    """The sample data of one mail: its *subject*, its *variants*, and the names of the *accepted* findings of lint."""

    variants: tuple[Variant, ...] = (Variant(DEFAULT),)
    subject: str = ""
    accepted: tuple[str, ...] = ()

    def variant(self, name: str | None) -> Variant:
        """Return the variant with *name*, or the first one without a name; raise InvalidMessage if there is none."""
        for variant in self.variants:
            if name in {None, variant.name}:
                return variant
        names = ", ".join(variant.name for variant in self.variants)
        message = f"there is no variant {name!r:.100}: the sample data has {names}"
        raise InvalidMessage(message)


def read_samples(mail: Mail) -> Samples:
    """Run the file with the sample data of *mail*; raise InvalidMessage if it fails. Without a file, nothing is given."""
    if mail.sample is None:
        return Samples()
    module = ModuleType(f"{__name__}.{mail.sample.stem}")
    module.__file__ = str(mail.sample)
    with sample_explained(mail.sample):
        # It is the app's own code, from its own folder; importing it would leave a __pycache__ among the templates.
        exec(compile(mail.sample.read_bytes(), module.__file__, "exec"), vars(module))  # noqa: S102
    return Samples(_variants(module, mail.sample), str(vars(module).get("subject", "")), tuple(vars(module).get("accepted", ())))


def _variants(module: ModuleType, path: Path) -> tuple[Variant, ...]:
    """Return the public functions that *module* defines, in their order."""
    functions = [
        (name, value)
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    ]
    if not functions:
        message = f"{path} has no variant: define a function, def default(): return {{...}}"
        raise InvalidMessage(message)
    return tuple(Variant(name, (inspect.getdoc(function) or "").partition("\n")[0], function) for name, function in functions)


@contextmanager
def sample_explained(path: Path) -> Iterator[None]:
    """Translate whatever the sample data in *path* raises into an InvalidMessage with the line."""
    try:
        yield
    except InvalidMessage:
        raise
    except Exception as error:  # the developer wants to see every mistake as an answer, not as a page that breaks
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = getattr(error, "lineno", None) or (lines[-1] if lines else None)
        where = f"{path.name}, line {line}" if line else path.name
        message = f"the sample data fails ({where}): {type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise InvalidMessage(message) from error

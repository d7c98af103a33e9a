"""Render a template pair, ``name.txt`` and ``name.html``, in an environment made for mail.

In it a missing variable is an error, and every link is absolute and begins with the configured base URL, never with the Host
header of a request.
"""

from __future__ import annotations

from collections import ChainMap
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin, urlsplit

from flask import Flask, request
from jinja2 import StrictUndefined, TemplateError, TemplateNotFound, TemplateSyntaxError, UndefinedError
from werkzeug.routing import BuildError

from ..errors import InvalidMessage
from .inline import inline_css
from .language import variants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jinja2 import Environment

# The errors of a wrong expression in a template; url_for raises a LookupError for an unknown endpoint.
BROKEN = (TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
# As Flask's own url_for quotes an anchor.
ANCHOR_SAFE = "%!#$&'()*+,/:;=?@"


def halves(template: str) -> tuple[str, str]:
    """Return the file names of both halves of *template*."""
    return f"{template}.txt", f"{template}.html"


def localized(templates: Environment, template: str, locale: str) -> str:
    """Return the name of the pair that is closest to *locale*: ``name.de_AT``, ``name.de``, or else ``name`` itself.

    Both halves are in one language: raises InvalidMessage if one exists without the other.
    """
    for variant in variants(locale):
        name = f"{template}.{variant}"
        missing = [half for half in halves(name) if not _exists(templates, half)]
        if not missing:
            return name
        if len(missing) == 1:
            message = f"the template {missing[0]} is missing: a mail needs both halves in one language, and the other one exists"
            raise InvalidMessage(message)
    return template


def full_context(app: Flask, context: dict[str, Any]) -> dict[str, Any]:
    """Return *context* with what the context processors of *app* add; raise InvalidMessage if one of them fails.

    They cannot replace ``url_for``, as the usual recipe for cache busting does: its links would be relative.
    """
    full = context.copy()
    with explained("a context processor of the app"):
        app.update_template_context(full)
    if "url_for" not in context:
        full.pop("url_for", None)
    return full


def render(templates: Environment, template: str, context: dict[str, Any], *, inlined: bool = False) -> tuple[str, str]:
    """Return both halves of *template*, rendered; raise InvalidMessage if one is missing or broken.

    *inlined* moves the CSS of the HTML half into ``style`` attributes.
    """
    text, html = (_render(templates, name, context) for name in halves(template))
    return text, inline_css(html) if inlined else html


def _exists(templates: Environment, name: str) -> bool:
    try:
        templates.get_template(name)
    except TemplateNotFound:
        return False
    except BROKEN:
        # What is wrong with it is told when it is rendered.
        return True
    return True


def _render(templates: Environment, name: str, context: dict[str, Any]) -> str:
    with explained(f"the template {name}"):
        return templates.get_template(name).render(context)


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Translate every error of rendering into an InvalidMessage of one sentence; *what* names the template."""
    try:
        yield
    except TemplateNotFound as error:
        message = f"the template {error.name} is missing: a mail needs both halves, .txt and .html"
        raise InvalidMessage(message) from error
    except TemplateSyntaxError as error:
        where = f"the template {error.name}" if error.name else what
        message = f"{where} is broken in line {error.lineno}: {error.message}"
        raise InvalidMessage(message) from error
    except UndefinedError as error:
        message = f"{what} uses a variable that was not given: {error.message}"
        raise InvalidMessage(message) from error
    except BROKEN as error:
        message = f"{what} cannot be rendered: {type(error).__name__}: {_first_line(error)}"
        raise InvalidMessage(message) from error
    except RuntimeError as error:
        # Flask's words for a proxy such as request or session without a request.
        if "request context" not in _first_line(error):
            raise
        message = f"{what} needs a request, and there is none in a command or a worker: {_first_line(error)}"
        raise InvalidMessage(message) from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def mail_templates(app: Flask, base_url: str) -> Environment:
    """Return *app*'s template environment for mail: variables must exist, and links begin with *base_url*."""
    environment = app.jinja_env.overlay(undefined=StrictUndefined)
    own: dict[str, Any] = {"url_for": url_builder(app, base_url) if base_url else _no_base_url}
    environment.globals = ChainMap(own, app.jinja_env.globals)  # type: ignore[assignment] # any mapping serves
    return environment


def url_builder(app: Flask, base_url: str) -> Callable[..., str]:
    """Return Flask's ``url_for``, except that every link is absolute and begins with *base_url*, never with a request's Host."""
    base = urlsplit(base_url)
    adapter = app.url_map.bind(base.netloc, base.path or "/", url_scheme=base.scheme)

    def url_for(endpoint: str, *, _anchor: str | None = None, _method: str | None = None, **values: Any) -> str:
        for name in ("_external", "_scheme"):
            values.pop(name, None)
        if endpoint.startswith("."):
            # As Flask does: relative to the blueprint of the request.
            blueprint = request.blueprint if request else None
            endpoint = f"{blueprint}{endpoint}" if blueprint else endpoint[1:]
        app.inject_url_defaults(endpoint, values)
        try:
            url = adapter.build(endpoint, values, method=_method, force_external=True)
        except BuildError as error:
            values.update(_anchor=_anchor, _method=_method, _scheme=None, _external=True)
            return urljoin(base_url, app.handle_url_build_error(error, endpoint, values))
        return url if _anchor is None else f"{url}#{quote(_anchor, safe=ANCHOR_SAFE)}"

    return url_for


def _no_base_url(endpoint: str, **_: Any) -> str:
    message = f"the template links to {endpoint!r}, and MAIL_BASE_URL is not set: a link in a mail must be absolute. Set it"
    raise InvalidMessage(message)

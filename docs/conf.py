"""How Sphinx builds the documentation: ``make docs``."""

import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
# The library's docstrings, and the extension that reads its settings and commands.
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

project = "Flask-Outbox"
copyright = "the authors of Flask-Outbox"  # noqa: A001 - Sphinx's own name
release = version = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]["version"]

extensions = ["pallets_sphinx_themes", "myst_parser", "sphinx.ext.autodoc", "reference"]
exclude_patterns = ["_build", "_ext"]
myst_enable_extensions = ["colon_fence", "deflist"]
# Every heading can be linked to, as on GitHub.
myst_heading_anchors = 3
suppress_warnings = ["myst.header"]  # the benchmarks begin each part with a heading of its own level

# A block that names no language is a diagram or a file.
highlight_language = "text"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
# What an integration needs and the documentation does not.
autodoc_mock_imports = ["flask_security", "pytest"]
PUBLIC = ("Attachment", "Attempt", "Connection", "Email", "Message")
autodoc_type_aliases = {name: f"flask_outbox.{name}" for name in PUBLIC}
# Internal types, and those of other libraries: their documentation is online, and this one is built without a network.
nitpick_ignore_regex = [(r"py:.*", r"(?!flask_outbox\.[A-Z]).*")]

html_theme = "flask"
html_title = "Flask-Outbox"
html_static_path = ["_static"]
html_css_files = ["outbox.css"]
html_sidebars = {"**": ["home.html", "localtoc.html", "relations.html", "searchbox.html"]}
templates_path = ["_templates"]
html_domain_indices = False
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
# The theme would ask PyPI for the newest version.
version_banner = False

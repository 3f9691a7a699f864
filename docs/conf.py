"""Sphinx configuration: `make docs` builds the site, offline, with every warning an error."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

from certmix.version import __version__  # noqa: E402  # after the path to it

project = "certmix"
author = "The certmix authors"
release = version = __version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "generate", "docstrings", "mathml"]

exclude_patterns = ["_ext", "llms.txt"]
# Result files start at any level; in a docstring, `sample` may be the function or its module.
suppress_warnings = ["myst.header", "ref.python"]
myst_enable_extensions = ["dollarmath", "deflist", "attrs_inline"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # tests/test_notebooks.py executes it; the site shows what is stored in it
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "ignore-module-all": True}
autodoc_typehints = "none"  # NumPy expands its aliases over many lines; docstrings say types and shapes
default_role = "py:obj"
smartquotes = False  # --option stays --option
nitpicky = True
# Types in signatures and backticks in docstrings may name what is documented elsewhere; links in pages may not.
nitpick_ignore_regex = [("py:class", r".*"), ("py:obj", r".*")]

html_theme = "furo"
html_title = "certmix"
html_static_path = ["_static"]
html_css_files = ["certmix.css"]
html_extra_path = ["llms.txt", "generated/site"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = html_show_copyright = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1b5e91", "color-brand-content": "#1b5e91"},
    "dark_css_variables": {"color-brand-primary": "#7ab8ea", "color-brand-content": "#7ab8ea"},
}
pygments_style = "friendly"
pygments_dark_style = "monokai"

"""How the site is built: `make docs`."""

import sys
from pathlib import Path

from sursum import __version__

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "sursum"
author = "The sursum developers"
copyright = author
release = __version__

extensions = [
    *("myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"),
    *("mathml", "generated", "executed", "notebooks"),
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "_ext", "_static"]

myst_enable_extensions = ["colon_fence", "dollarmath", "deflist"]
myst_heading_anchors = 3
default_role = "code"  # a name in single backticks, as in docstrings
napoleon_custom_sections = [("Reference", "References"), ("Arguments", "params_style")]
napoleon_use_ivar = True
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_class_signature = "mixed"

html_theme = "furo"
html_title = "sursum"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_math_renderer = "mathml"
pygments_style = "friendly"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

"""Sphinx configuration. ``make docs`` builds with warnings as errors."""

from mocra_scrapy import __version__

project = "mocra_scrapy"
copyright = "mocra_scrapy contributors"
version = release = __version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = f"mocra_scrapy {__version__}"
exclude_patterns = ["_build"]
nitpicky = False
autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_use_ivar = True

"""Every interpreter that finds this first (``PYTHONPATH``) has the add-on in Scrapy's own default of
``ADDONS``: the process of the tests, and each that a test starts.
"""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder, SourceFileLoader

DEFAULTS = "scrapy.settings.default_settings"


class SwitchingLoader(SourceFileLoader):
    def exec_module(self, module):
        super().exec_module(module)
        module.ADDONS = {"mocra_scrapy.Addon": 300}
        # Scrapy 2.14 leaves a socket unclosed for each port that another crawl has, and Python's
        # warning of it gets among those that a test counts.
        module.TELNETCONSOLE_PORT = [0, 0]


class SwitchOn(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != DEFAULTS:
            return None
        spec = PathFinder.find_spec(name, path, target)
        spec.loader = SwitchingLoader(name, spec.origin)
        return spec


sys.meta_path.insert(0, SwitchOn())

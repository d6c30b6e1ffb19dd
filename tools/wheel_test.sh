#!/bin/sh
# Builds the wheel and runs tests against it in an environment (tools/setup.sh makes it) and a folder of their own, where the source tree
# can't be imported.
set -eu
cd "$(dirname "$0")/.."
rm -rf dist build
.venv/bin/python -m build --outdir dist >dist.log 2>&1 || { cat dist.log; exit 1; }
rm -f dist.log
.venv/bin/python -m twine --no-color check --strict dist/* # what a package index says to it
wheel=$(ls "$PWD"/dist/*.whl)
.venv-wheel/bin/python -m pip install -q --disable-pip-version-check --force-reinstall --no-deps "$wheel"
.venv-wheel/bin/python -m pip check # the wheel itself asks for what is there
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp -r tests docs pyproject.toml README.md "$folder"
cd "$folder"
"$OLDPWD/.venv-wheel/bin/python" -c '
import mocra_scrapy, pathlib, sys
where = pathlib.Path(mocra_scrapy.__file__)
assert ".venv-wheel" in where.parts, f"{where} is not the wheel"'
"$OLDPWD/.venv-wheel/bin/python" -m pytest -q -n 2 -p no:cacheprovider tests/conformance tests/e2e/test_template.py -m "not redis or e2e"

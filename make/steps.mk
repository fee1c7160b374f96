.PHONY: bench-steps

bench-steps: install  ## step splitting and the symbolic locator, beside Math-Verify
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.steps

#!/bin/sh
# The compiler of the workspace's crates for `cargo xtask fuzz`: instrumented as libFuzzer wants it (edge counters, compared values).
# Other crates are not, so that coverage is ours alone; nor are build scripts, which do not link libFuzzer. All options are stable.
case " $* " in
*" --crate-name build_script_"*) exec "$@" ;;
esac
exec "$@" --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares

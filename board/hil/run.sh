#!/bin/sh
# usage: board/hil/run.sh [PATTERN [TIMEOUT]]
# make hil: makes the guest's kernel ready, boots it and runs the tests that need
# it: the drivers on real kernel buses, and a whole gateway with a real server.
# make powercut: the same with other tests.
set -eu
cd "$(dirname "$0")/../.."
POSTERN_HIL=$(board/hil/setup.sh)
export POSTERN_HIL
out=$(mktemp)
trap 'rm -f "$out"' EXIT
go test -count=1 -v -timeout "${2:-10m}" -run "${1:-^TestHIL}" ./board/hil ./internal/integration >"$out" 2>&1 && rc=0 || rc=$?
grep -E '^ *(--- |FAIL|ok|.*_test.go:)' "$out" | grep -v -E '(PASS|SKIP): .*/.*/' || true
if [ "$rc" != 0 ]; then
	cat "$out"
	echo "hil: failed" >&2
	exit 1
fi
echo "hil: passed on Linux $(basename "$POSTERN_HIL") (arm64, QEMU)"

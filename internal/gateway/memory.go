package gateway

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// The bounds of the limit that LimitMemory sets.
const (
	minLimit = 32 << 20
	maxLimit = 512 << 20
)

// gcPercent is how much the heap may grow between two collections. What a
// gateway keeps is 2 to 3 MB, so collecting earlier than the default costs
// little and saves the 2 to 3 MB that would lie around. One with many nodes keeps
// 20 MB, of which a smaller part may lie around: with 2,000 nodes that saves
// 8 MB at the peak of a read-out and costs 0.3 % of a core.
const (
	gcPercent     = 40
	gcPercentMany = 25
	manyNodes     = 500
)

// LimitMemory sets the soft limit of the Go heap (GOMEMLIMIT) to a quarter of
// what the machine or the control group has, between 32 and 512 MiB. A limit
// that the operator set in the environment stays; so does GOGC, which is set
// lower than usual as well, and lower still for many nodes. It returns the limit.
func LimitMemory(nodes int) int64 {
	if os.Getenv("GOGC") == "" {
		percent := gcPercent
		if nodes >= manyNodes {
			percent = gcPercentMany
		}
		debug.SetGCPercent(percent)
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		return debug.SetMemoryLimit(-1)
	}
	total := procKB("/proc/meminfo", "MemTotal:") << 10
	if group := groupLimit(); group > 0 && (total == 0 || group < total) {
		total = group
	}
	limit := memoryLimit(total)
	debug.SetMemoryLimit(limit)
	return limit
}

func memoryLimit(total uint64) int64 {
	if total == 0 {
		return maxLimit
	}
	return int64(min(max(total/4, minLimit), maxLimit))
}

// groupLimit is the memory limit of this process's control group (version 2),
// 0 for none.
func groupLimit() uint64 {
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0
	}
	for _, l := range strings.Split(string(data), "\n") {
		path, ok := strings.CutPrefix(l, "0::")
		if !ok {
			continue
		}
		b, err := os.ReadFile("/sys/fs/cgroup" + path + "/memory.max")
		if err != nil {
			return 0
		}
		n, _ := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64) // "max" is none
		return n
	}
	return 0
}

// vishvananda/netlink with one handle: main change|add DEVICE COUNT, one line of JSON.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
)

const population = 1000

func seconds(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "vishvananda:", err)
		os.Exit(1)
	}
}

// VmHWM of proc(5). Not Maxrss: that one is inherited from whoever started this program.
func peakRssKb() int {
	status, err := os.ReadFile("/proc/self/status")
	check(err)
	for _, line := range strings.Split(string(status), "\n") {
		if strings.HasPrefix(line, "VmHWM:") {
			kilobytes, err := strconv.Atoi(strings.Fields(line)[1])
			check(err)
			return kilobytes
		}
	}
	return -1
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: main change|add DEVICE COUNT")
		os.Exit(2)
	}
	add := os.Args[1] == "add"
	count, err := strconv.Atoi(os.Args[3])
	check(err)
	handle, err := netlink.NewHandle(syscall.NETLINK_ROUTE)
	check(err)
	link, err := handle.LinkByName(os.Args[2])
	check(err)
	latencies := make([]float64, 0, count)
	var before, after syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &before))
	start := time.Now()
	at := start
	for i := 0; i < count; i++ {
		minor := 1 + i%population
		if add {
			minor = population + 1 + i
		}
		rate := uint64(11000000)
		if i/population%2 == 1 {
			rate = 10000000
		}
		class := netlink.NewHtbClass(netlink.ClassAttrs{
			LinkIndex: link.Attrs().Index,
			Parent:    netlink.MakeHandle(1, 0),
			Handle:    netlink.MakeHandle(1, uint16(minor)),
		}, netlink.HtbClassAttrs{Rate: rate})
		if add {
			check(handle.ClassAdd(class))
		} else {
			check(handle.ClassChange(class))
		}
		then := time.Now()
		latencies = append(latencies, float64(then.Sub(at).Nanoseconds())/1e3)
		at = then
	}
	wall := at.Sub(start).Seconds()
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &after))
	sort.Float64s(latencies)
	check(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"operations": count, "seconds": wall,
		"p50_us": latencies[count/2], "p95_us": latencies[count*95/100], "p99_us": latencies[count*99/100],
		"cpu_user":    seconds(after.Utime) - seconds(before.Utime),
		"cpu_system":  seconds(after.Stime) - seconds(before.Stime),
		"peak_rss_kb": peakRssKb(),
	}))
}

"""pyroute2: `pyroute2_client.py change|add DEVICE COUNT`, one line of JSON."""

import json
import resource
import sys
import time

from pyroute2 import IPRoute

POPULATION = 1000



def peak_rss_kb():
    """VmHWM of proc(5). Not ru_maxrss: that one is inherited from whoever started this program."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


work, device, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
with IPRoute() as ip:
    index = ip.link_lookup(ifname=device)[0]
    command = "add" if work == "add" else "change"
    latencies = []
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = at = time.perf_counter()
    for i in range(count):
        minor = POPULATION + 1 + i if work == "add" else 1 + i % POPULATION
        rate = "10mbit" if i // POPULATION % 2 else "11mbit"
        ip.tc(f"{command}-class", "htb", index, 0x10000 | minor, parent=0x10000, rate=rate)
        then = time.perf_counter()
        latencies.append(then - at)
        at = then
    after = resource.getrusage(resource.RUSAGE_SELF)
latencies.sort()
print(
    json.dumps(
        {
            "operations": count,
            "seconds": at - start,
            "p50_us": latencies[count // 2] * 1e6,
            "p95_us": latencies[count * 95 // 100] * 1e6,
            "p99_us": latencies[count * 99 // 100] * 1e6,
            "cpu_user": after.ru_utime - before.ru_utime,
            "cpu_system": after.ru_stime - before.ru_stime,
            "peak_rss_kb": peak_rss_kb(),
        }
    )
)

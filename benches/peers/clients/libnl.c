// libnl-route-3 as its documentation has it: one class object an operation, one message, one acknowledgement.
//
//     libnl change|add DEVICE COUNT
#include <net/if.h>
#include <netlink/netlink.h>
#include <netlink/route/class.h>
#include <netlink/route/qdisc/htb.h>
#include <netlink/route/tc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure.h"

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: libnl change|add DEVICE COUNT\n");
        return 2;
    }
    int add = !strcmp(argv[1], "add"), count = atoi(argv[3]);
    struct nl_sock *socket = nl_socket_alloc();
    if (!socket || nl_connect(socket, NETLINK_ROUTE) < 0) return 1;
    int device = (int)if_nametoindex(argv[2]);
    uint64_t *latencies = malloc((count ? count : 1) * sizeof *latencies);
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    uint64_t start = now(), at = start;
    for (int i = 0; i < count; i++) {
        struct rtnl_class *class = rtnl_class_alloc();
        rtnl_tc_set_ifindex(TC_CAST(class), device);
        rtnl_tc_set_parent(TC_CAST(class), TC_HANDLE(1, 0));
        rtnl_tc_set_handle(TC_CAST(class), TC_HANDLE(1, add ? POPULATION + 1 + i : 1 + i % POPULATION));
        rtnl_tc_set_kind(TC_CAST(class), "htb");
        unsigned rate = i / POPULATION % 2 ? 1250000 : 1375000;
        rtnl_htb_set_rate(class, rate);
        rtnl_htb_set_ceil(class, rate);
        int error = rtnl_class_add(socket, class, add ? NLM_F_CREATE | NLM_F_EXCL : 0);
        if (error < 0) {
            fprintf(stderr, "libnl: operation %d: %s\n", i, nl_geterror(error));
            return 1;
        }
        rtnl_class_put(class);
        uint64_t then = now();
        latencies[i] = then - at;
        at = then;
    }
    double wall = (at - start) / 1e9;
    getrusage(RUSAGE_SELF, &after);
    qsort(latencies, count, sizeof *latencies, by_size);
    printf("{\"operations\":%d,\"seconds\":%.6f,\"p50_us\":%.3f,\"p95_us\":%.3f,\"p99_us\":%.3f,\"cpu_user\":%.6f,\"cpu_system\":%.6f,"
           "\"peak_rss_kb\":%ld}\n",
           count, wall, latencies[count / 2] / 1e3, latencies[count * 95l / 100] / 1e3, latencies[count * 99l / 100] / 1e3,
           seconds(after.ru_utime) - seconds(before.ru_utime), seconds(after.ru_stime) - seconds(before.ru_stime), peak_rss_kb());
    return 0;
}

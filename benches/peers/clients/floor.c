// The kernel's floor: messages built beforehand, one blocking socket, nothing else. What a client of any language could
// reach at best.
//
//     floor change|add DEVICE COUNT PER_SEND     one acknowledgement for each send
//     floor dump COUNT_OF_DEVICES                classes of devices 0.., read with a 32 KiB buffer
//
// Prints one line of JSON. Latencies are of a whole send.
#define _GNU_SOURCE
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "measure.h"

#ifndef SOL_NETLINK
#define SOL_NETLINK 270
#endif

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void put(char **at, unsigned short type, const void *value, unsigned short length) {
    struct rtattr *attribute = (void *)*at;
    attribute->rta_type = type;
    attribute->rta_len = RTA_LENGTH(length);
    memcpy(RTA_DATA(attribute), value, length);
    *at += RTA_ALIGN(attribute->rta_len);
}

// tc class change|add dev DEVICE parent 1: classid 1:MINOR htb rate RATE
static size_t class_message(char *buffer, int type_flags, int device, unsigned minor, unsigned rate, unsigned sequence) {
    struct nlmsghdr *header = (void *)buffer;
    struct tcmsg *message = NLMSG_DATA(header);
    memset(buffer, 0, NLMSG_LENGTH(sizeof *message));
    header->nlmsg_type = RTM_NEWTCLASS;
    header->nlmsg_flags = NLM_F_REQUEST | type_flags;
    header->nlmsg_seq = sequence;
    message->tcm_ifindex = device;
    message->tcm_handle = 1u << 16 | minor;
    message->tcm_parent = type_flags & NLM_F_CREATE ? 1u << 16 : 0;
    char *at = buffer + NLMSG_LENGTH(sizeof *message);
    put(&at, TCA_KIND, "htb", 4);
    struct rtattr *options = (void *)at;
    options->rta_type = TCA_OPTIONS;
    at += RTA_LENGTH(0);
    struct tc_htb_opt parameters = {
        .rate = {.cell_log = 3, .linklayer = TC_LINKLAYER_ETHERNET, .cell_align = -1, .rate = rate},
        .ceil = {.cell_log = 3, .linklayer = TC_LINKLAYER_ETHERNET, .cell_align = -1, .rate = rate},
        .buffer = (unsigned)(1600ull * 15625000 / rate + 1),
        .cbuffer = (unsigned)(1600ull * 15625000 / rate + 1),
    };
    put(&at, TCA_HTB_PARMS, &parameters, sizeof parameters);
    options->rta_len = at - (char *)options;
    header->nlmsg_len = at - buffer;
    return header->nlmsg_len;
}

static int open_socket(void) {
    int s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (s < 0) die("socket");
    int one = 1, size = 1 << 20;
    setsockopt(s, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one);
    setsockopt(s, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof one);
    setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    if (connect(s, (void *)&kernel, sizeof kernel)) die("connect");
    return s;
}

static void dump(int devices) {
    int s = open_socket();
    static char buffer[32768];
    unsigned long classes = 0;
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    uint64_t start = now();
    for (int device = 0; device < devices; device++) {
        char name[IF_NAMESIZE];
        snprintf(name, sizeof name, "d%d", device);
        struct { struct nlmsghdr header; struct tcmsg message; } ask = {
            {.nlmsg_len = sizeof ask, .nlmsg_type = RTM_GETTCLASS, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP, .nlmsg_seq = 1},
            {.tcm_ifindex = (int)if_nametoindex(name)},
        };
        if (send(s, &ask, sizeof ask, 0) < 0) die("send");
        for (int over = 0; !over;) {
            ssize_t length = recv(s, buffer, sizeof buffer, 0);
            if (length < 0) die("recv");
            unsigned left = length;
            for (struct nlmsghdr *h = (void *)buffer; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
                if (h->nlmsg_type == NLMSG_DONE) over = 1;
                if (h->nlmsg_type == RTM_NEWTCLASS) classes++;
            }
        }
    }
    double wall = (now() - start) / 1e9;
    getrusage(RUSAGE_SELF, &after);
    printf("{\"operations\":%lu,\"seconds\":%.6f,\"cpu_user\":%.6f,\"cpu_system\":%.6f,\"peak_rss_kb\":%ld}\n", classes, wall,
           seconds(after.ru_utime) - seconds(before.ru_utime), seconds(after.ru_stime) - seconds(before.ru_stime), peak_rss_kb());
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "dump")) {
        dump(atoi(argv[2]));
        return 0;
    }
    if (argc != 5) {
        fprintf(stderr, "usage: floor change|add DEVICE COUNT PER_SEND | floor dump DEVICES\n");
        return 2;
    }
    int add = !strcmp(argv[1], "add"), device = (int)if_nametoindex(argv[2]), count = atoi(argv[3]), per_send = atoi(argv[4]);
    if (!device || count < 1 || per_send < 1) die(argv[2]);
    int s = open_socket();
    int sends = (count + per_send - 1) / per_send;
    // Everything is built before the clock starts.
    char *all = malloc((size_t)count * 128);
    size_t *starts = malloc((sends + 1) * sizeof *starts);
    uint64_t *latencies = malloc(sends * sizeof *latencies);
    size_t used = 0;
    for (int i = 0; i < count; i++) {
        int last = i % per_send == per_send - 1 || i == count - 1;
        if (i % per_send == 0) starts[i / per_send] = used;
        int flags = (last ? NLM_F_ACK : 0) | (add ? NLM_F_CREATE | NLM_F_EXCL : 0);
        unsigned minor = add ? POPULATION + 1 + i : 1 + i % POPULATION;
        // 10 and 11 Mbit/s in turn, so that each change is one.
        used += class_message(all + used, flags, device, minor, i / POPULATION % 2 ? 1250000 : 1375000, i + 1);
    }
    starts[sends] = used;
    static char answer[8192];
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    uint64_t start = now(), at = start;
    for (int i = 0; i < sends; i++) {
        if (send(s, all + starts[i], starts[i + 1] - starts[i], 0) < 0) die("send");
        ssize_t length = recv(s, answer, sizeof answer, 0);
        if (length < 0) die("recv");
        struct nlmsgerr *error = NLMSG_DATA((struct nlmsghdr *)answer);
        if (error->error) {
            fprintf(stderr, "floor: message %u: %s\n", ((struct nlmsghdr *)answer)->nlmsg_seq, strerror(-error->error));
            return 1;
        }
        uint64_t then = now();
        latencies[i] = then - at;
        at = then;
    }
    double wall = (at - start) / 1e9;
    getrusage(RUSAGE_SELF, &after);
    qsort(latencies, sends, sizeof *latencies, by_size);
    printf("{\"operations\":%d,\"seconds\":%.6f,", count, wall);
    if (per_send == 1)
        printf("\"p50_us\":%.3f,\"p95_us\":%.3f,\"p99_us\":%.3f,", latencies[sends / 2] / 1e3, latencies[sends * 95l / 100] / 1e3,
               latencies[sends * 99l / 100] / 1e3);
    printf("\"cpu_user\":%.6f,\"cpu_system\":%.6f,\"peak_rss_kb\":%ld}\n",
           seconds(after.ru_utime) - seconds(before.ru_utime), seconds(after.ru_stime) - seconds(before.ru_stime), peak_rss_kb());
    return 0;
}

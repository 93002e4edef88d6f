// SPDX-License-Identifier: MIT OR Apache-2.0
// Lines and frames a second into a sink that only counts.
//   simulate_bench [accounts events [seed]]      default 20000 1000000 1
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <fr/os.h>
#include <fr/simulate.h>

static fr_status count_bytes(void *context, fr_slice bytes, fr_error *err)
{
    (void)err;
    *(uint64_t *)context += bytes.size;
    return FR_OK;
}

static int run(const char *name, const fr_simulate_options *options)
{
    uint64_t bytes = 0;
    fr_error err = {0};
    fr_simulate_facts facts;
    uint64_t start = fr_os_monotonic_ns(fr_os_real());
    if (fr_simulate_stream(options, &(fr_simulate_sink){count_bytes, &bytes}, &facts, &err) !=
        FR_OK) {
        fprintf(stderr, "%s: %s\n", name, err.text);
        return 1;
    }
    double ns = (double)(fr_os_monotonic_ns(fr_os_real()) - start);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("%-10s %10.0f events/s %8.0f ns/event %7.1f B/event %6.1f MB/s  commits %llu  peak RSS "
           "%ld MiB\n",
           name, (double)facts.events * 1e9 / ns, ns / (double)facts.events,
           (double)bytes / (double)facts.events, (double)bytes * 1e3 / ns,
           (unsigned long long)facts.commits, usage.ru_maxrss / 1024);
    return 0;
}

int main(int argc, char **argv)
{
    fr_simulate_options options = {
        .story = {.account_count = argc > 2 ? (uint32_t)strtoul(argv[1], NULL, 10) : 20000,
                  .event_count = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000,
                  .seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 1},
        .format = FR_SIMULATE_JETSTREAM,
    };
    if (run("jetstream", &options) != 0) {
        return 1;
    }
    options.format = FR_SIMULATE_FRAMES;
    options.story.event_count =
        FR_MIN(options.story.event_count, 200000); /* a signature each: 35,000 a second */
    return run("frames", &options);
}

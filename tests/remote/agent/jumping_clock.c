/* For LD_PRELOAD: a wall clock that is CLOCK_JUMP seconds off; without that, it jumps an hour ahead, back, and an hour
   behind, four times a second. The monotonic clock goes on. The kernel knows nothing of it: who has it wait for a time of
   the wall clock waits an hour too long, or not at all, as after a real jump. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static int (*real)(clockid_t, struct timespec *);

static long jump(void) {
    struct timespec now;
    const char *fixed = getenv("CLOCK_JUMP");
    if (fixed) return atol(fixed);
    real(CLOCK_MONOTONIC, &now);
    return (long[]){3600, 0, -3600, 0}[now.tv_nsec / 250000000];
}

int clock_gettime(clockid_t id, struct timespec *out) {
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(id, out);
    if (code == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) out->tv_sec += jump();
    return code;
}

int gettimeofday(struct timeval *out, void *zone) {
    struct timespec now;
    int code = clock_gettime(CLOCK_REALTIME, &now);
    (void)zone;
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return code;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}

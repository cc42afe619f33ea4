/* The CUDA runtime's calls that the agent uses, on ordinary memory: what goes through them really moves. */
#include <stdlib.h>
#include <string.h>

enum { most = 4096 };
static void *known[most];        /* device allocations that are not freed */
static int alive;                /* all things that are not freed */
static int failing, failing_sync, failing_free; /* what the next cudaMalloc and cudaStreamSynchronize return */
static int major = 5, minor = 3; /* the GPU's compute capability */
static float now;                /* milliseconds; every copy takes one */

int stubFail(int code) { failing = code; return 0; }
int stubFailSync(int code) { failing_sync = code; return 0; }
int stubFailFree(int code) { failing_free = code; return 0; }
int stubCapability(int one, int two) { major = one; minor = two; return 0; }
int stubAlive(void) { return alive; }
int stubForget(void) { /* device memory that could not be freed */
    for (int i = 0; i < most; i++)
        if (known[i]) { free(known[i]); known[i] = NULL; alive--; }
    return 0;
}
int stubKnows(void *p) {
    for (int i = 0; i < most; i++)
        if (p && known[i] == p) return 1;
    return 0;
}
int cudaMalloc(void **p, size_t n) {
    if (failing) { int code = failing; failing = 0; *p = NULL; return code; }
    *p = malloc(n);
    alive++;
    for (int i = 0; i < most; i++)
        if (!known[i]) { known[i] = *p; break; }
    return 0;
}
int cudaFree(void *p) {
    if (failing_free) return failing_free; /* as after a sticky error, until the test ends it */
    if (p && !stubKnows(p)) return 1;
    for (int i = 0; i < most; i++)
        if (p && known[i] == p) known[i] = NULL;
    if (p) alive--;
    free(p);
    return 0;
}
int cudaHostAlloc(void **p, size_t n, unsigned flags) { (void)flags; alive++; *p = malloc(n); return 0; }
int cudaFreeHost(void *p) { alive -= p != NULL; free(p); return 0; }
int cudaMemcpyAsync(void *to, const void *from, size_t n, int kind, void *stream) {
    if (!stream || (kind != 1 && kind != 2)) return 1;
    if (!stubKnows(kind == 1 ? to : (void *)from)) return 1;
    memcpy(to, from, n);
    now += 1;
    return 0;
}
int cudaStreamCreate(void **stream) { alive++; *stream = malloc(1); return 0; }
int cudaStreamSynchronize(void *stream) {
    if (failing_sync) { int code = failing_sync; failing_sync = 0; return code; }
    return stream ? 0 : 400;
}
int cudaStreamDestroy(void *stream) { alive -= stream != NULL; free(stream); return 0; }
int cudaEventCreate(void **event) { alive++; *event = calloc(1, sizeof(float)); return 0; }
int cudaEventRecord(void *event, void *stream) {
    if (!stream) return 400;
    *(float *)event = now;
    now += 0.5f;
    return 0;
}
int cudaEventElapsedTime(float *ms, void *from, void *to) { *ms = *(float *)to - *(float *)from; return 0; }
int cudaEventDestroy(void *event) { alive -= event != NULL; free(event); return 0; }
int cudaMemGetInfo(size_t *free_, size_t *total) { *free_ = 1u << 30; *total = 4ul << 30; return 0; }
int cudaGetDeviceCount(int *n) { *n = 1; return 0; }
int cudaDeviceGetAttribute(int *v, int attribute, int device) {
    (void)device;
    const char *given = getenv("STUB_CAPABILITY"); /* for processes that a test cannot call into */
    if (given) { major = given[0] - '0'; minor = given[2] - '0'; }
    *v = attribute == 75 ? major : attribute == 76 ? minor : -1;
    return 0;
}
int cudaRuntimeGetVersion(int *v) { *v = 10020; return 0; }
int cudaDriverGetVersion(int *v) { *v = 10020; return 0; }
const char *cudaGetErrorName(int code) {
    return code == 2 ? "cudaErrorMemoryAllocation" : code == 700 ? "cudaErrorIllegalAddress" : "unrecognized error code";
}
const char *cudaGetErrorString(int code) {
    return code == 2 ? "out of memory" : code == 700 ? "an illegal memory access was encountered" : "unrecognized error code";
}

/* The CUDA runtime's calls that the agent uses, on ordinary memory: what goes through them really moves. */
#include <stdlib.h>
#include <string.h>

static int failing; /* what the next cudaMalloc returns */

int stubFail(int code) { failing = code; return 0; }
int cudaMalloc(void **p, size_t n) {
    if (failing) { int code = failing; failing = 0; *p = NULL; return code; }
    *p = malloc(n);
    return 0;
}
int cudaFree(void *p) { free(p); return 0; }
int cudaHostAlloc(void **p, size_t n, unsigned flags) { (void)flags; *p = malloc(n); return 0; }
int cudaFreeHost(void *p) { free(p); return 0; }
int cudaMemcpyAsync(void *to, const void *from, size_t n, int kind, void *stream) {
    if (!stream || (kind != 1 && kind != 2)) return 1;
    memcpy(to, from, n);
    return 0;
}
int cudaStreamCreate(void **stream) { *stream = malloc(1); return 0; }
int cudaStreamSynchronize(void *stream) { return stream ? 0 : 400; }
int cudaStreamDestroy(void *stream) { free(stream); return 0; }
int cudaMemGetInfo(size_t *free_, size_t *total) { *free_ = 1u << 30; *total = 4ul << 30; return 0; }
int cudaGetDeviceCount(int *n) { *n = 1; return 0; }
int cudaDeviceGetAttribute(int *v, int attribute, int device) {
    (void)device;
    *v = attribute == 75 ? 5 : attribute == 76 ? 3 : -1;
    return 0;
}
int cudaRuntimeGetVersion(int *v) { *v = 10020; return 0; }
int cudaDriverGetVersion(int *v) { *v = 10020; return 0; }
const char *cudaGetErrorString(int code) { return code == 2 ? "out of memory" : "unrecognized error code"; }

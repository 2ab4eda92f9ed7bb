/* A SIMULATED NVIDIA driver in host memory, so that real CUDA packages run where there is no GPU.
 *
 * It is built as libcuda.so.1 by simulated_driver.py and is nothing but a test double: its GPU is named "simulated",
 * it runs no kernel, and every operation has happened when its call returns. What stands in for a kernel is a
 * function on the host, enqueued with `simulated_enqueue`; a capturing stream records it, a graph runs it again.
 * Names, types and error codes are those of NVIDIA's cuda.h (CUDA 13.2). One thread at a time.
 *
 * Read once, when the library is loaded: SIMULATED_COMPUTE_CAPABILITY ("8.9"), SIMULATED_MEMORY_BYTES (1 GiB),
 * SIMULATED_CUDA_VERSION ("13.2"), SIMULATED_DEVICES (1), SIMULATED_CUINIT (an error code that cuInit answers).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int CUresult;
typedef int CUdevice;
typedef unsigned long long CUdeviceptr;

enum {
    SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101,
    INVALID_CONTEXT = 201, INVALID_HANDLE = 400, NOT_FOUND = 500, NOT_READY = 600, NOT_SUPPORTED = 801,
    CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901, ILLEGAL_STATE = 401
};

static const struct { CUresult code; const char *name, *text; } ERRORS[] = {
    {0, "CUDA_SUCCESS", "no error"},
    {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {34, "CUDA_ERROR_STUB_LIBRARY", "CUDA driver is a stub library"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {400, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {401, "CUDA_ERROR_ILLEGAL_STATE", "the operation cannot be performed in the present state"},
    {500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {600, "CUDA_ERROR_NOT_READY", "device not ready"},
    {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {801, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"},
    {900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

typedef void (*Callback)(void *);

/* One recorded operation: a copy where `callback` is null, else a call. */
typedef struct Step { Callback callback; void *user, *to; const void *from; size_t size; struct Step *next; } Step;
typedef struct { Step *first, *last; } Steps;
typedef struct { Steps steps; } Graph;
typedef struct { int capturing, invalidated; Steps steps; } Stream;
typedef struct { int recorded; struct timespec at; } Event;
typedef struct Block { void *address; size_t size; int on_device; struct Block *next; } Block;

static struct { long device_allocations, host_allocations, streams, events, graphs, executable_graphs, contexts; } live;
static Block *blocks;
static size_t memory_limit, memory_used;
static int initialised, devices, cuinit_answer, cuda_version, capability[2], context_references, captures;
static const char *failing;
static CUresult failing_code;
static Stream default_stream;
static char context_object;

#define DEPTH 32
static _Thread_local void *stack[DEPTH];
static _Thread_local int depth;

static size_t number(const char *name, size_t otherwise) {
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

static void version(const char *name, const char *otherwise, int *major, int *minor) {
    const char *text = getenv(name);
    *minor = 0;
    sscanf(text && *text ? text : otherwise, "%d.%d", major, minor);
}

__attribute__((constructor)) static void read_environment(void) {
    int major, minor;
    version("SIMULATED_COMPUTE_CAPABILITY", "8.9", &capability[0], &capability[1]);
    version("SIMULATED_CUDA_VERSION", "13.2", &major, &minor);
    cuda_version = 1000 * major + 10 * minor;
    memory_limit = number("SIMULATED_MEMORY_BYTES", (size_t)1 << 30);
    devices = (int)number("SIMULATED_DEVICES", 1);
    cuinit_answer = (int)number("SIMULATED_CUINIT", 0);
}

/* The answer that a test asked this function to give next; SUCCESS otherwise. */
static CUresult asked_for(const char *function) {
    if (!failing || strcmp(failing, function)) return SUCCESS;
    failing = NULL;
    return failing_code;
}

#define REFUSE(condition, code) do { if (condition) return (code); } while (0)
#define INITIALISED do { CUresult asked = asked_for(__func__); REFUSE(asked, asked); \
                         REFUSE(!initialised, NOT_INITIALIZED); } while (0)
#define IN_CONTEXT do { INITIALISED; REFUSE(!depth || !stack[depth - 1] || !context_references, INVALID_CONTEXT); } while (0)

/* ---- what tests ask ---- */

void simulated_set_memory_limit(size_t bytes) { memory_limit = bytes; }

/* Let the next call of one function, by its exported name ("cuMemAlloc_v2"), answer an error code. */
void simulated_fail_next(const char *function, CUresult code) {
    static char kept[64];
    snprintf(kept, sizeof kept, "%s", function);
    failing = kept;
    failing_code = code;
}

/* How many of a kind are alive; -1 for an unknown kind. */
long simulated_live(const char *kind) {
    if (!strcmp(kind, "device_allocations")) return live.device_allocations;
    if (!strcmp(kind, "host_allocations")) return live.host_allocations;
    if (!strcmp(kind, "streams")) return live.streams;
    if (!strcmp(kind, "events")) return live.events;
    if (!strcmp(kind, "graphs")) return live.graphs;
    if (!strcmp(kind, "executable_graphs")) return live.executable_graphs;
    if (!strcmp(kind, "context_references")) return context_references;
    if (!strcmp(kind, "contexts_on_this_thread")) return depth;
    if (!strcmp(kind, "captures")) return captures;
    return -1;
}

/* After an event could not be destroyed, on request. */
void simulated_forget_events(void) { live.events = 0; }

/* ---- errors, version, device ---- */

CUresult cuGetErrorName(CUresult code, const char **name) {
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
        if (ERRORS[i].code == code) return *name = ERRORS[i].name, SUCCESS;
    return *name = NULL, INVALID_VALUE;
}

CUresult cuGetErrorString(CUresult code, const char **text) {
    for (size_t i = 0; i < sizeof ERRORS / sizeof *ERRORS; i++)
        if (ERRORS[i].code == code) return *text = ERRORS[i].text, SUCCESS;
    return *text = NULL, INVALID_VALUE;
}

CUresult cuInit(unsigned int flags) {
    (void)flags;
    REFUSE(cuinit_answer, cuinit_answer);
    REFUSE(devices < 1, NO_DEVICE);
    initialised = 1;
    return SUCCESS;
}

CUresult cuDriverGetVersion(int *answer) { return *answer = cuda_version, SUCCESS; }

CUresult cuDeviceGetCount(int *count) {
    INITIALISED;
    return *count = devices, SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    INITIALISED;
    REFUSE(ordinal < 0 || ordinal >= devices, INVALID_DEVICE);
    return *device = ordinal, SUCCESS;
}

CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
    INITIALISED;
    REFUSE(device < 0 || device >= devices, INVALID_DEVICE);
    snprintf(name, (size_t)length, "simulated GPU %d.%d", capability[0], capability[1]);
    return SUCCESS;
}

CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device) {
    INITIALISED;
    REFUSE(device < 0 || device >= devices, INVALID_DEVICE);
    *value = attribute == 75 ? capability[0] : attribute == 76 ? capability[1] : attribute == 16 ? 4 : 0;
    return SUCCESS;
}

CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice device) {
    (void)device;
    INITIALISED;
    return *major = capability[0], *minor = capability[1], SUCCESS;
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
    (void)device;
    INITIALISED;
    return *bytes = memory_limit, SUCCESS;
}

/* ---- the primary context, counted, and each thread's stack of contexts ---- */

CUresult cuDevicePrimaryCtxRetain(void **context, CUdevice device) {
    INITIALISED;
    REFUSE(device < 0 || device >= devices, INVALID_DEVICE);
    context_references++;
    return *context = &context_object, SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    (void)device;
    INITIALISED;
    REFUSE(!context_references, INVALID_CONTEXT);
    context_references--;
    return SUCCESS;
}

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned int *flags, int *active) {
    (void)device;
    INITIALISED;
    return *flags = 0, *active = context_references > 0, SUCCESS;
}

CUresult cuCtxPushCurrent_v2(void *context) {
    INITIALISED;
    REFUSE(depth == DEPTH || context != &context_object, INVALID_VALUE);
    stack[depth++] = context;
    return SUCCESS;
}

CUresult cuCtxPopCurrent_v2(void **context) {
    INITIALISED;
    REFUSE(!depth, INVALID_CONTEXT);
    depth--;
    if (context) *context = stack[depth];
    return SUCCESS;
}

CUresult cuCtxSetCurrent(void *context) {
    INITIALISED;
    if (!context) return depth -= depth > 0, SUCCESS;
    if (!depth) depth = 1;
    return stack[depth - 1] = context, SUCCESS;
}

CUresult cuCtxGetCurrent(void **context) {
    INITIALISED;
    return *context = depth ? stack[depth - 1] : NULL, SUCCESS;
}

CUresult cuCtxGetDevice(CUdevice *device) {
    IN_CONTEXT;
    return *device = 0, SUCCESS;
}

CUresult cuCtxGetApiVersion(void *context, unsigned int *answer) {
    (void)context;
    IN_CONTEXT;
    return *answer = 3020, SUCCESS;
}

/* A call that a driver does not permit while this thread captures ends the capture's hope. */
static Stream *captured_stream;
#define NOT_WHILE_CAPTURING do { if (captured_stream) return captured_stream->invalidated = 1, CAPTURE_UNSUPPORTED; } while (0)

CUresult cuCtxSynchronize(void) {
    IN_CONTEXT;
    NOT_WHILE_CAPTURING;
    return SUCCESS;
}

/* ---- memory ---- */

static void *new_block(size_t size, int on_device) {
    Block *block = malloc(sizeof *block);
    *block = (Block){NULL, size, on_device, blocks};
    if (posix_memalign(&block->address, 4096, size)) return free(block), NULL;
    memset(block->address, 0xA5, size); /* as on a GPU, nobody may count on zeros */
    blocks = block;
    return block->address;
}

static CUresult free_block(void *address, int on_device) {
    for (Block **place = &blocks; *place; place = &(*place)->next) {
        Block *block = *place;
        if (block->address != address || block->on_device != on_device) continue;
        *place = block->next;
        if (on_device) memory_used -= block->size, live.device_allocations--;
        else live.host_allocations--;
        free(block->address);
        free(block);
        return SUCCESS;
    }
    return INVALID_VALUE;
}

/* Whether all of a span lies in one living allocation on the device. */
static int on_device(CUdeviceptr address, size_t size) {
    for (Block *block = blocks; block; block = block->next) {
        CUdeviceptr start = (CUdeviceptr)(uintptr_t)block->address;
        if (block->on_device && address >= start && address + size <= start + block->size) return 1;
    }
    return 0;
}

CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t size) {
    IN_CONTEXT;
    NOT_WHILE_CAPTURING;
    REFUSE(!size, INVALID_VALUE);
    REFUSE(size > memory_limit || memory_used > memory_limit - size, OUT_OF_MEMORY);
    void *block = new_block(size, 1);
    REFUSE(!block, OUT_OF_MEMORY);
    memory_used += size;
    live.device_allocations++;
    return *address = (CUdeviceptr)(uintptr_t)block, SUCCESS;
}

CUresult cuMemFree_v2(CUdeviceptr address) {
    IN_CONTEXT;
    NOT_WHILE_CAPTURING;
    return free_block((void *)(uintptr_t)address, 1);
}

CUresult cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
    IN_CONTEXT;
    *total = memory_limit;
    *free_bytes = memory_used < memory_limit ? memory_limit - memory_used : 0;
    return SUCCESS;
}

CUresult cuMemHostAlloc(void **address, size_t size, unsigned int flags) {
    (void)flags;
    IN_CONTEXT;
    NOT_WHILE_CAPTURING;
    REFUSE(!size, INVALID_VALUE);
    *address = new_block(size, 0);
    REFUSE(!*address, OUT_OF_MEMORY);
    live.host_allocations++;
    return SUCCESS;
}

CUresult cuMemFreeHost(void *address) {
    IN_CONTEXT;
    NOT_WHILE_CAPTURING;
    return free_block(address, 0);
}

CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *address, void *host, unsigned int flags) {
    (void)flags;
    IN_CONTEXT;
    return *address = (CUdeviceptr)(uintptr_t)host, SUCCESS;
}

CUresult cuMemHostGetFlags(unsigned int *flags, void *host) {
    (void)host;
    IN_CONTEXT;
    return *flags = 0, SUCCESS;
}

/* ---- streams: a step is taken now, or recorded while the stream captures ---- */

static Stream *stream_of(void *handle) { return (uintptr_t)handle < 3 ? &default_stream : handle; }

static void take(const Step *step) {
    if (step->callback) step->callback(step->user);
    else memcpy(step->to, step->from, step->size);
}

static void append(Steps *steps, Step step) {
    Step *kept = malloc(sizeof *kept);
    *kept = step;
    kept->next = NULL;
    if (steps->last) steps->last->next = kept;
    else steps->first = kept;
    steps->last = kept;
}

static void forget(Steps *steps) {
    for (Step *step = steps->first, *next; step; step = next) next = step->next, free(step);
    *steps = (Steps){NULL, NULL};
}

static CUresult enqueue(void *handle, Step step) {
    Stream *stream = stream_of(handle);
    REFUSE(stream->invalidated, CAPTURE_INVALIDATED);
    if (stream->capturing) append(&stream->steps, step);
    else take(&step);
    return SUCCESS;
}

/* What stands in for a kernel: a host function, called now or, while the stream captures, by every launch. */
CUresult simulated_enqueue(void *stream, Callback callback, void *user) {
    IN_CONTEXT;
    return enqueue(stream, (Step){.callback = callback, .user = user});
}

CUresult cuLaunchHostFunc(void *stream, Callback callback, void *user) {
    IN_CONTEXT;
    return enqueue(stream, (Step){.callback = callback, .user = user});
}

CUresult cuStreamCreate(void **stream, unsigned int flags) {
    (void)flags;
    IN_CONTEXT;
    live.streams++;
    return *stream = calloc(1, sizeof(Stream)), SUCCESS;
}

CUresult cuStreamDestroy_v2(void *handle) {
    IN_CONTEXT;
    Stream *stream = stream_of(handle);
    REFUSE(stream == &default_stream, INVALID_HANDLE);
    if (stream == captured_stream) captured_stream = NULL, captures--;
    forget(&stream->steps);
    free(stream);
    live.streams--;
    return SUCCESS;
}

CUresult cuStreamSynchronize(void *handle) {
    IN_CONTEXT;
    Stream *stream = stream_of(handle);
    if (stream->capturing) return stream->invalidated = 1, CAPTURE_UNSUPPORTED;
    return SUCCESS;
}

CUresult cuStreamQuery(void *handle) { return cuStreamSynchronize(handle); }

CUresult cuStreamWaitEvent(void *stream, void *event, unsigned int flags) {
    (void)stream, (void)event, (void)flags;
    IN_CONTEXT;
    return SUCCESS;
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t size, void *stream) {
    IN_CONTEXT;
    REFUSE(!on_device(to, size), INVALID_VALUE);
    return enqueue(stream, (Step){.to = (void *)(uintptr_t)to, .from = from, .size = size});
}

CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t size, void *stream) {
    IN_CONTEXT;
    REFUSE(!on_device(from, size), INVALID_VALUE);
    return enqueue(stream, (Step){.to = to, .from = (void *)(uintptr_t)from, .size = size});
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t size, void *stream) {
    IN_CONTEXT;
    REFUSE(!on_device(to, size) || !on_device(from, size), INVALID_VALUE);
    return enqueue(stream, (Step){.to = (void *)(uintptr_t)to, .from = (void *)(uintptr_t)from, .size = size});
}

CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t size) { return cuMemcpyHtoDAsync_v2(to, from, size, 0); }
CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t size) { return cuMemcpyDtoHAsync_v2(to, from, size, 0); }
CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t size) { return cuMemcpyDtoDAsync_v2(to, from, size, 0); }

CUresult cuMemsetD8Async(CUdeviceptr address, unsigned char value, size_t size, void *stream) {
    IN_CONTEXT;
    REFUSE(!on_device(address, size), INVALID_VALUE);
    REFUSE(stream_of(stream)->capturing, NOT_SUPPORTED);
    return memset((void *)(uintptr_t)address, value, size), SUCCESS;
}

/* ---- events ---- */

CUresult cuEventCreate(void **event, unsigned int flags) {
    (void)flags;
    IN_CONTEXT;
    live.events++;
    return *event = calloc(1, sizeof(Event)), SUCCESS;
}

CUresult cuEventDestroy_v2(void *event) {
    IN_CONTEXT;
    free(event);
    live.events--;
    return SUCCESS;
}

CUresult cuEventRecord(void *event, void *handle) {
    IN_CONTEXT;
    Stream *stream = stream_of(handle);
    REFUSE(stream->invalidated, CAPTURE_INVALIDATED);
    ((Event *)event)->recorded = !stream->capturing; /* one that was captured has no time of its own */
    clock_gettime(CLOCK_MONOTONIC, &((Event *)event)->at);
    return SUCCESS;
}

CUresult cuEventSynchronize(void *event) {
    (void)event;
    IN_CONTEXT;
    NOT_WHILE_CAPTURING;
    return SUCCESS;
}

CUresult cuEventQuery(void *event) { return cuEventSynchronize(event); }

CUresult cuEventElapsedTime_v2(float *ms, void *start, void *end) {
    IN_CONTEXT;
    const Event *first = start, *last = end;
    REFUSE(!first->recorded || !last->recorded, INVALID_HANDLE);
    *ms = (float)((double)(last->at.tv_sec - first->at.tv_sec) * 1e3 + (double)(last->at.tv_nsec - first->at.tv_nsec) / 1e6);
    return SUCCESS;
}

CUresult cuEventElapsedTime(float *ms, void *start, void *end) { return cuEventElapsedTime_v2(ms, start, end); }

/* ---- capture and graphs ---- */

CUresult cuStreamBeginCapture_v2(void *handle, int mode) {
    (void)mode;
    IN_CONTEXT;
    Stream *stream = stream_of(handle);
    REFUSE(stream == &default_stream, CAPTURE_UNSUPPORTED);
    REFUSE(captured_stream, ILLEGAL_STATE); /* the simulation has one capture at a time */
    stream->capturing = 1;
    captured_stream = stream;
    captures++;
    return SUCCESS;
}

CUresult cuStreamEndCapture(void *handle, void **graph) {
    IN_CONTEXT;
    Stream *stream = stream_of(handle);
    *graph = NULL;
    REFUSE(!stream->capturing, ILLEGAL_STATE);
    int invalidated = stream->invalidated;
    stream->capturing = stream->invalidated = 0;
    captured_stream = NULL;
    captures--;
    if (invalidated) return forget(&stream->steps), CAPTURE_INVALIDATED;
    Graph *made = calloc(1, sizeof *made);
    made->steps = stream->steps;
    stream->steps = (Steps){NULL, NULL};
    live.graphs++;
    return *graph = made, SUCCESS;
}

CUresult cuStreamIsCapturing(void *handle, int *status) {
    IN_CONTEXT;
    Stream *stream = stream_of(handle);
    return *status = stream->invalidated ? 2 : stream->capturing, SUCCESS;
}

CUresult cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags) {
    (void)flags;
    IN_CONTEXT;
    Graph *copy = calloc(1, sizeof *copy);
    for (const Step *step = ((Graph *)graph)->steps.first; step; step = step->next) append(&copy->steps, *step);
    live.executable_graphs++;
    return *executable = copy, SUCCESS;
}

CUresult cuGraphLaunch(void *executable, void *stream) {
    IN_CONTEXT;
    REFUSE(stream_of(stream)->capturing, NOT_SUPPORTED);
    for (const Step *step = ((Graph *)executable)->steps.first; step; step = step->next) take(step);
    return SUCCESS;
}

static void destroy_graph(Graph *graph) { forget(&graph->steps), free(graph); }

CUresult cuGraphDestroy(void *graph) {
    IN_CONTEXT;
    live.graphs--;
    return destroy_graph(graph), SUCCESS;
}

CUresult cuGraphExecDestroy(void *executable) {
    IN_CONTEXT;
    live.executable_graphs--;
    return destroy_graph(executable), SUCCESS;
}

/* ---- everything else ---- */

static CUresult not_supported(void) { return NOT_SUPPORTED; }
static void *const not_supported_function = (void *)not_supported;

/* What pycuda links to besides; here so that it loads. */
#define X(name) CUresult name(void) { return NOT_SUPPORTED; }
X(cuArray3DCreate_v2) X(cuArray3DGetDescriptor_v2) X(cuArrayCreate_v2) X(cuArrayDestroy) X(cuArrayGetDescriptor_v2)
X(cuCtxAttach) X(cuCtxCreate_v4) X(cuCtxDetach) X(cuCtxDisablePeerAccess) X(cuCtxEnablePeerAccess)
X(cuCtxGetCacheConfig) X(cuCtxGetLimit) X(cuCtxGetSharedMemConfig) X(cuCtxSetCacheConfig) X(cuCtxSetLimit)
X(cuCtxSetSharedMemConfig) X(cuDeviceCanAccessPeer) X(cuDeviceGetByPCIBusId) X(cuDeviceGetPCIBusId)
X(cuFuncGetAttribute) X(cuFuncSetAttribute) X(cuFuncSetBlockShape) X(cuFuncSetCacheConfig) X(cuFuncSetSharedSize)
X(cuIpcCloseMemHandle) X(cuIpcGetEventHandle) X(cuIpcGetMemHandle) X(cuIpcOpenEventHandle) X(cuIpcOpenMemHandle_v2)
X(cuLaunch) X(cuLaunchGrid) X(cuLaunchGridAsync) X(cuLaunchKernel) X(cuLinkAddData_v2) X(cuLinkAddFile_v2)
X(cuLinkComplete) X(cuLinkCreate_v2) X(cuLinkDestroy) X(cuMemAllocManaged) X(cuMemAllocPitch_v2)
X(cuMemGetAddressRange_v2) X(cuMemHostRegister_v2) X(cuMemHostUnregister) X(cuMemcpy2DAsync_v2)
X(cuMemcpy2DUnaligned_v2) X(cuMemcpy2D_v2) X(cuMemcpy3DAsync_v2) X(cuMemcpy3DPeer) X(cuMemcpy3DPeerAsync)
X(cuMemcpy3D_v2) X(cuMemcpyAtoA_v2) X(cuMemcpyAtoD_v2) X(cuMemcpyAtoH_v2) X(cuMemcpyDtoA_v2) X(cuMemcpyHtoA_v2)
X(cuMemcpyPeer) X(cuMemcpyPeerAsync) X(cuMemsetD16Async) X(cuMemsetD16_v2) X(cuMemsetD2D16Async) X(cuMemsetD2D16_v2)
X(cuMemsetD2D32Async) X(cuMemsetD2D32_v2) X(cuMemsetD2D8Async) X(cuMemsetD2D8_v2) X(cuMemsetD32Async)
X(cuMemsetD32_v2) X(cuMemsetD8_v2) X(cuModuleGetFunction) X(cuModuleGetGlobal_v2) X(cuModuleGetSurfRef)
X(cuModuleGetTexRef) X(cuModuleLoad) X(cuModuleLoadData) X(cuModuleLoadDataEx) X(cuModuleUnload) X(cuParamSetSize)
X(cuParamSetTexRef) X(cuParamSetf) X(cuParamSeti) X(cuParamSetv) X(cuProfilerInitialize) X(cuProfilerStart)
X(cuProfilerStop) X(cuStreamAttachMemAsync) X(cuSurfRefGetArray) X(cuSurfRefSetArray) X(cuTexRefCreate)
X(cuTexRefDestroy) X(cuTexRefGetAddressMode) X(cuTexRefGetAddress_v2) X(cuTexRefGetArray) X(cuTexRefGetFilterMode)
X(cuTexRefGetFlags) X(cuTexRefGetFormat) X(cuTexRefSetAddress2D_v3) X(cuTexRefSetAddressMode)
X(cuTexRefSetAddress_v2) X(cuTexRefSetArray) X(cuTexRefSetFilterMode) X(cuTexRefSetFlags) X(cuTexRefSetFormat)
#undef X

/* The versions in which the names below got the meaning that this file gives them: an older driver lacks them. */
static const struct { const char *base, *exported; int since; } NEWER[] = {{"cuEventElapsedTime", "cuEventElapsedTime_v2", 12080}};

CUresult cuGetProcAddress_v2(const char *symbol, void **function, int asked, uint64_t flags, int *status) {
    (void)flags;
    static const char *const SUFFIXES[] = {"_v2", ""};
    static void *self;
    char name[128];
    *function = NULL;
    if (status) *status = 0;
    for (size_t i = 0; i < sizeof NEWER / sizeof *NEWER; i++)
        if (!strcmp(symbol, NEWER[i].base) && asked >= NEWER[i].since && cuda_version < NEWER[i].since) {
            if (status) *status = 1; /* CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND */
            return SUCCESS;
        }
    Dl_info mine;
    if (!self && dladdr(not_supported_function, &mine)) self = dlopen(mine.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    for (size_t i = 0; i < 2 && !*function; i++) {
        snprintf(name, sizeof name, "%s%s", symbol, SUFFIXES[i]);
        *function = dlsym(self, name);
    }
    if (!*function) *function = not_supported_function;
    return SUCCESS;
}

CUresult cuGetProcAddress(const char *symbol, void **function, int asked, uint64_t flags) {
    return cuGetProcAddress_v2(symbol, function, asked, flags, NULL);
}

// Stands between a program and the C library (LD_PRELOAD) and counts what is allocated and freed, and how often Swift's
// runtime is asked to count a reference, while the test says so.
//
// The test and the program share one page, the file that MEMORY_METER names. Memory taken from the kernel in pages counts
// like any other: a pool that asks for a page each time would be no pool.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

// The order is meters.py's as well.
struct meter {
    int64_t counts;     // 0: nothing is counted
    int64_t plants;     // whether each send allocates, once: what the meter must notice
    int64_t taken;      // malloc and its family, pages
    int64_t given_back; // free, pages
    int64_t references; // retained, released
};

static struct meter *meter;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("MEMORY_METER");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *page = (void *)syscall(SYS_mmap, NULL, sizeof *meter, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (page != MAP_FAILED) meter = page;
}

#define COUNT(what)                                                                                                    \
    do {                                                                                                               \
        if (meter && __atomic_load_n(&meter->counts, __ATOMIC_ACQUIRE))                                                \
            __atomic_add_fetch(&meter->what, 1, __ATOMIC_ACQ_REL);                                                     \
    } while (0)

// The C library's own, by the names under which it keeps them for such as this: looking them up would allocate.
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

void *malloc(size_t size) {
    COUNT(taken);
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    COUNT(taken);
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size) {
    COUNT(taken);
    return __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    COUNT(taken);
    return __libc_memalign(alignment, size);
}

void *memalign(size_t alignment, size_t size) { return aligned_alloc(alignment, size); }

int posix_memalign(void **result, size_t alignment, size_t size) {
    *result = aligned_alloc(alignment, size);
    return *result ? 0 : ENOMEM;
}

void free(void *memory) {
    if (memory) COUNT(given_back);
    __libc_free(memory);
}

#define LOOKUP(name)                                                                                                   \
    static __typeof__(&name) next;                                                                                     \
    if (!next) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

void *mmap(void *place, size_t length, int protection, int flags, int file, off_t offset) {
    LOOKUP(mmap);
    COUNT(taken);
    return next(place, length, protection, flags, file, offset);
}

int munmap(void *place, size_t length) {
    LOOKUP(munmap);
    COUNT(given_back);
    return next(place, length);
}

ssize_t send(int descriptor, const void *bytes, size_t count, int flags) {
    LOOKUP(send);
    if (meter && meter->plants) {
        // A compiler would see that nobody needs it.
        void *volatile planted = malloc(1);
        free(planted);
    }
    return next(descriptor, bytes, count, flags);
}

// Elsewhere these keep registers that a function of C does not.
#if defined(__x86_64__)
#define REFERENCE(name)                                                                                                \
    void *name(void *object) {                                                                                         \
        LOOKUP(name);                                                                                                  \
        COUNT(references);                                                                                             \
        return next(object);                                                                                           \
    }
REFERENCE(swift_retain)
REFERENCE(swift_release)
REFERENCE(swift_bridgeObjectRetain)
REFERENCE(swift_bridgeObjectRelease)
#endif

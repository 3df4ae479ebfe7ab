/* Writes down what a process does to the files of one folder: for LD_PRELOAD.
 *
 * DISK_LOG names the log, DISK_LOG_FOLDER the folder. A record is what was done (W write, T truncate,
 * S sync, U unlink), the length of the path, offset and length as 64 bits each, the path, the data.
 * Records are in the order in which things were done, since one is made and written at a time.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
static int log_file = -1;

#define REAL(result, name, ...)                                       \
    static result (*real)(__VA_ARGS__);                               \
    if (real == NULL) real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static int is_watched(const char *path)
{
    const char *folder = getenv("DISK_LOG_FOLDER");
    return folder != NULL && strncmp(path, folder, strlen(folder)) == 0;
}

static int path_of(int file, char *path)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return is_watched(path);
}

static void record(char what, const char *path, uint64_t offset, const void *data, uint64_t length)
{
    struct __attribute__((packed)) {
        char what;
        uint32_t path_length;
        uint64_t offset, length;
    } head = {what, (uint32_t)strlen(path), offset, data == NULL ? 0 : length};
    if (log_file < 0)
        log_file = open(getenv("DISK_LOG"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    struct iovec parts[] = {
        {&head, sizeof head}, {(void *)path, head.path_length}, {(void *)data, head.length}};
    if (writev(log_file, parts, 3) != (ssize_t)(sizeof head + head.path_length + head.length))
        abort(); /* a log with a hole proves nothing */
}

#define LOGGED_WRITE(name, offset_type)                                              \
    ssize_t name(int file, const void *data, size_t length, offset_type offset)      \
    {                                                                                \
        REAL(ssize_t, #name, int, const void *, size_t, offset_type);                \
        char path[PATH_MAX];                                                         \
        if (!path_of(file, path)) return real(file, data, length, offset);           \
        pthread_mutex_lock(&one_at_a_time);                                          \
        ssize_t done = real(file, data, length, offset);                             \
        if (done > 0) record('W', path, (uint64_t)offset, data, (uint64_t)done);     \
        pthread_mutex_unlock(&one_at_a_time);                                        \
        return done;                                                                 \
    }
LOGGED_WRITE(pwrite, off_t)
LOGGED_WRITE(pwrite64, off64_t)

#define LOGGED_TRUNCATE(name, offset_type)                                           \
    int name(int file, offset_type size)                                             \
    {                                                                                \
        REAL(int, #name, int, offset_type);                                          \
        char path[PATH_MAX];                                                         \
        if (!path_of(file, path)) return real(file, size);                           \
        pthread_mutex_lock(&one_at_a_time);                                          \
        int failed = real(file, size);                                               \
        if (!failed) record('T', path, (uint64_t)size, NULL, 0);                     \
        pthread_mutex_unlock(&one_at_a_time);                                        \
        return failed;                                                               \
    }
LOGGED_TRUNCATE(ftruncate, off_t)
LOGGED_TRUNCATE(ftruncate64, off64_t)

#define LOGGED_SYNC(name)                                                            \
    int name(int file)                                                               \
    {                                                                                \
        REAL(int, #name, int);                                                       \
        char path[PATH_MAX];                                                         \
        if (!path_of(file, path)) return real(file);                                 \
        pthread_mutex_lock(&one_at_a_time);                                          \
        int failed = real(file);                                                     \
        if (!failed) record('S', path, 0, NULL, 0);                                  \
        pthread_mutex_unlock(&one_at_a_time);                                        \
        return failed;                                                               \
    }
LOGGED_SYNC(fsync)
LOGGED_SYNC(fdatasync)

int unlink(const char *path)
{
    REAL(int, "unlink", const char *);
    if (!is_watched(path)) return real(path);
    pthread_mutex_lock(&one_at_a_time);
    int failed = real(path);
    if (!failed) record('U', path, 0, NULL, 0);
    pthread_mutex_unlock(&one_at_a_time);
    return failed;
}

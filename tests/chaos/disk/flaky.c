/* A file system that fails every n-th call, or that has no locks: preloaded (LD_PRELOAD) into all processes of a sweep.

   CHAOS_DISK names a file of four numbers (int32), which all processes map: with `every` more than 0 each such call of
   open, write, fsync and rename fails with the errno `error`; with `locks` more than 0 each flock fails with that errno;
   `calls` counts. Only files below CHAOS_DISK_ROOT are meant. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct control {
  int32_t every, error, locks, calls;
};

static struct control *control;
static const char *root;

__attribute__((constructor)) static void find_control(void) {
  const char *path = getenv("CHAOS_DISK");
  root = getenv("CHAOS_DISK_ROOT");
  if (path == NULL || root == NULL) return;
  int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
  if (fd < 0) return;
  void *found = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  syscall(SYS_close, fd);
  if (found != MAP_FAILED) control = found;
}

static int is_below(int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path);
  return length > 0 && (size_t)length > strlen(root) && strncmp(path, root, strlen(root)) == 0;
}

/* Return whether this call fails, and set errno. */
static int fails(int fd) {
  if (control == NULL) return 0;
  int32_t every = control->every;
  if (every <= 0 || !is_below(fd)) return 0;
  if (__atomic_add_fetch(&control->calls, 1, __ATOMIC_RELAXED) % every != 0) return 0;
  errno = control->error;
  return 1;
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static int opened(int fd) {
  if (fd < 0 || !fails(fd)) return fd;
  int error = errno;
  syscall(SYS_close, fd);
  errno = error;
  return -1;
}

#define MODE(flags, mode)               \
  mode_t mode = 0;                      \
  if (flags & O_CREAT) {                \
    va_list rest;                       \
    va_start(rest, flags);              \
    mode = va_arg(rest, mode_t);        \
    va_end(rest);                       \
  }

int open(const char *path, int flags, ...) {
  MODE(flags, mode)
  REAL(open);
  return opened(real(path, flags, mode));
}

int open64(const char *path, int flags, ...) {
  MODE(flags, mode)
  REAL(open64);
  return opened(real(path, flags, mode));
}

int openat(int folder, const char *path, int flags, ...) {
  MODE(flags, mode)
  REAL(openat);
  return opened(real(folder, path, flags, mode));
}

int openat64(int folder, const char *path, int flags, ...) {
  MODE(flags, mode)
  REAL(openat64);
  return opened(real(folder, path, flags, mode));
}

ssize_t write(int fd, const void *data, size_t size) {
  REAL(write);
  return fails(fd) ? -1 : real(fd, data, size);
}

int fsync(int fd) {
  REAL(fsync);
  return fails(fd) ? -1 : real(fd);
}

int rename(const char *from, const char *to) {
  REAL(rename);
  if (control != NULL && control->every > 0) {
    int fd = (int)syscall(SYS_openat, AT_FDCWD, from, O_PATH | O_CLOEXEC, 0);
    int failed = fd >= 0 && fails(fd), error = errno;
    if (fd >= 0) syscall(SYS_close, fd);
    if (failed) {
      errno = error;
      return -1;
    }
  }
  return real(from, to);
}

int flock(int fd, int kind) {
  if (control != NULL && control->locks > 0 && is_below(fd)) {
    errno = control->locks;
    return -1;
  }
  int (*real)(int, int) = (int (*)(int, int))dlsym(RTLD_NEXT, "flock");
  return real(fd, kind);
}

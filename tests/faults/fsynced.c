/* Notes on every file how much of it was made sure of: its size when the last fsync that succeeded was called.
 *
 * Loaded into a server with LD_PRELOAD; tests/faults/power.py cuts the files there. The note is an attribute of the
 * file itself, so it goes along when the server renames it, and goes when the file is deleted. Sizes are taken
 * before the call, for another thread may write while it lasts; a server syncs one file from one thread at a time.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

static int noted(long call, int fd) {
    struct stat before;
    int is_file = fstat(fd, &before) == 0 && S_ISREG(before.st_mode);
    int result = (int)syscall(call, fd);
    if (result == 0 && is_file) {
        char size[24];
        fsetxattr(fd, "user.fsynced", size, snprintf(size, sizeof size, "%lld", (long long)before.st_size), 0);
    }
    return result;
}

int fsync(int fd) { return noted(SYS_fsync, fd); }

int fdatasync(int fd) { return noted(SYS_fdatasync, fd); }

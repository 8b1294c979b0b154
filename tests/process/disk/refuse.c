/* Preloaded into a node, stands in for a disk that refuses: as long as there is a file of the name that
 * REFUSE holds, no sync of a file of the log succeeds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int is_refused(int file)
{
    const char *sign = getenv("REFUSE");
    char link[64], path[4096];
    ssize_t length;

    if (!sign || access(sign, F_OK))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return strstr(path, "/log/") != NULL;
}

int fdatasync(int file)
{
    if (is_refused(file)) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_fdatasync, file);
}

/* Preloaded into a node, remembers on the side what would survive a power cut: of each file its
 * content at its last sync, of each folder its names at its last sync. Nothing is synced for real.
 *
 * POWER_CUT_ROOT is the folder that is watched, POWER_CUT_MEMORY where things are remembered:
 * f-ID the content of a file, d-ID the names of a folder (kind, ID, name a line). An ID is inode and
 * time of birth, since inodes are used again.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static void identify(int folder, const char *name, int flags, char *id)
{
    struct statx status;
    memset(&status, 0, sizeof status);
    statx(folder, name, flags, STATX_INO | STATX_BTIME, &status);
    sprintf(id, "%llu-%lld.%u", (unsigned long long)status.stx_ino,
            (long long)status.stx_btime.tv_sec, status.stx_btime.tv_nsec);
}

/* Copies what is written of a file; what was only reserved stays a hole. */
static void copy(int from, int to, off_t size)
{
    off_t at = 0;
    while (at < size) {
        off_t data = lseek(from, at, SEEK_DATA);
        if (data < 0)
            break;
        off_t end = lseek(from, data, SEEK_HOLE);
        lseek(to, data, SEEK_SET);
        for (off_t next = data; next < end;)
            if (sendfile(to, from, &next, end - next) <= 0)
                break;
        at = end;
    }
    if (ftruncate(to, size))
        abort();
}

static void remember_names(const char *path, const char *memory)
{
    FILE *out = fopen(memory, "w");
    DIR *folder = opendir(path);
    struct dirent *entry;
    while (out && folder && (entry = readdir(folder))) {
        struct stat status;
        char id[128];
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        if (fstatat(dirfd(folder), entry->d_name, &status, AT_SYMLINK_NOFOLLOW))
            continue;
        identify(dirfd(folder), entry->d_name, AT_SYMLINK_NOFOLLOW, id);
        fprintf(out, "%c %s %s\n", S_ISDIR(status.st_mode) ? 'd' : 'f', id, entry->d_name);
    }
    if (folder)
        closedir(folder);
    if (out)
        fclose(out);
}

static void remember(int file)
{
    const char *root = getenv("POWER_CUT_ROOT"), *memory = getenv("POWER_CUT_MEMORY");
    char link[64], path[4096], id[128], fresh[4400], known[4400];
    struct stat status;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (!root || !memory || length < 0 || fstat(file, &status))
        return;
    path[length] = 0;
    if (strncmp(path, root, strlen(root)))
        return;
    identify(file, "", AT_EMPTY_PATH, id);
    snprintf(fresh, sizeof fresh, "%s/fresh", memory);
    snprintf(known, sizeof known, "%s/%c-%s", memory, S_ISDIR(status.st_mode) ? 'd' : 'f', id);
    pthread_mutex_lock(&one_at_a_time);
    if (S_ISDIR(status.st_mode)) {
        remember_names(path, fresh);
        rename(fresh, known);
    } else {
        int from = open(path, O_RDONLY), to = open(fresh, O_CREAT | O_TRUNC | O_WRONLY, status.st_mode & 0777);
        if (from >= 0 && to >= 0) {
            copy(from, to, status.st_size);
            rename(fresh, known);
        }
        close(from);
        close(to);
    }
    pthread_mutex_unlock(&one_at_a_time);
}

int fsync(int file)
{
    remember(file);
    return 0;
}

int fdatasync(int file)
{
    remember(file);
    return 0;
}

/* Preloaded into a node, stands in for a disk that hangs: as long as there is a file of the name that
 * HANG holds, no sync comes back. Nothing is synced for real.
 */
#include <stdlib.h>
#include <unistd.h>

static int hang(void)
{
    const char *sign = getenv("HANG");
    while (sign && !access(sign, F_OK))
        usleep(10000);
    return 0;
}

int fsync(int file)
{
    (void)file;
    return hang();
}

int fdatasync(int file)
{
    (void)file;
    return hang();
}

/* Preloaded into a process: SIGKILL just before the call that the countdown in the file KILL_AT_FILE ends at.

   Counted are the calls by which something of the process outlives it: what it writes, sends, renames, removes and syncs, and
   what it connects to and receives. A countdown of 0 counts nothing. The file holds one int64_t, mapped, so that it can be set
   while the process runs, and is what is left of it when another one reads it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int64_t none, *left = &none;

__attribute__((constructor)) static void begin(void) {
	const char *path = getenv("KILL_AT_FILE");
	int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	if (file < 0) return;
	void *mapped = mmap(NULL, sizeof *left, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	close(file);
	if (mapped != MAP_FAILED) left = mapped;
}

static void count(void) {
	int64_t seen = __atomic_load_n(left, __ATOMIC_SEQ_CST);
	while (seen > 0)
		if (__atomic_compare_exchange_n(left, &seen, seen - 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
			if (seen == 1) syscall(SYS_kill, getpid(), SIGKILL);
			return;
		}
}

#define COUNTED(result, name, parameters, arguments)                                                                      \
	result name parameters {                                                                                                \
		static result(*next) parameters;                                                                                      \
		if (!next) next = (result(*) parameters)dlsym(RTLD_NEXT, #name);                                                      \
		count();                                                                                                              \
		return next arguments;                                                                                                \
	}

COUNTED(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))
COUNTED(ssize_t, send, (int fd, const void *data, size_t size, int flags), (fd, data, size, flags))
COUNTED(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
COUNTED(ssize_t, recv, (int fd, void *data, size_t size, int flags), (fd, data, size, flags))
COUNTED(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), (fd, message, flags))
COUNTED(int, connect, (int fd, const struct sockaddr *address, socklen_t size), (fd, address, size))
COUNTED(int, fsync, (int fd), (fd))
COUNTED(int, rename, (const char *from, const char *to), (from, to))
COUNTED(int, unlink, (const char *path), (path))

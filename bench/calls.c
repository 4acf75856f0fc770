// SPDX-License-Identifier: GPL-2.0
/* Calls the kernel for next to nothing: calls COUNT. Prints the CPU seconds that COUNT times getpgid(2) took. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	long count = argc > 1 ? atol(argv[1]) : 0;
	struct rusage u;

	for (long i = 0; i < count; i++)
		syscall(SYS_getpgid, 0);
	getrusage(RUSAGE_SELF, &u);
	printf("%.6f\n", u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6);
	return 0;
}

/* A program to probe: for each number that it reads, so many calls of work(); then it says what it did. */
#ifdef LISTENED
#define _SDT_HAS_SEMAPHORES 1
__attribute__((section(".probes"))) unsigned short trial_work_semaphore;
#else
unsigned short trial_work_semaphore;
#endif
#include <sys/sdt.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct item {
	signed char c;
	short h;
	unsigned u;
	long l;
};

long total = 70;
long table[4] = { 1, 2, 3, 4 };

__attribute__((noinline)) int work(int n, struct item *item, char *text, unsigned char half)
{
	DTRACE_PROBE9(trial, work, n, item->h, item->c, item->u, item->l, total, text, -5, table[n & 3]);
	total++;
	return half + n;
}


int main(void)
{
	struct item item = { -3, -300, 4000000000u, -1L << 40 };
	char *text = malloc(9), line[20];

	text[0] = 0;
	table[1]++;
	while (fgets(line, sizeof(line), stdin)) {
		int count = atoi(line), listened = trial_work_semaphore;

		for (int i = 0; i < count; i++)
			work(i, &item, text, 7);
		getppid();
		printf("%d %d %p\n", listened, getpid(), (void *)text);
		fflush(stdout);
	}
	return 0;
}

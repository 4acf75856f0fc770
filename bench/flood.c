// SPDX-License-Identifier: GPL-2.0
/*
 * Sends UDP datagrams: flood ADDRESS PORT COUNT BYTES FLOWS RATE. RATE is packets per second, 0: as fast as one
 * CPU can. Ends after SECONDS_MAX whatever happens. Prints how many were sent, in how many seconds, and the
 * CPU seconds that took: most of what a packet goes through up to the receiving socket is done by its sender.
 * Every datagram carries its number, so that none is like another; the rest of it is the same text each time.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#define BATCH 64
#define BYTES_MAX 1472
#define FLOWS_MAX 256
#define SECONDS_MAX 60

static char data[BATCH][BYTES_MAX];
static struct iovec parts[BATCH];
static struct mmsghdr messages[BATCH];
static int sockets[FLOWS_MAX];

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static double cpu(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void sleep_until(double when)
{
	struct timespec t = { .tv_sec = when };

	t.tv_nsec = (when - t.tv_sec) * 1e9;
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

static int prepare(const char *address, int port, int bytes, int flows)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };

	if (inet_pton(AF_INET, address, &to.sin_addr) != 1)
		return -1;
	for (int i = 0; i < flows; i++) {
		sockets[i] = socket(AF_INET, SOCK_DGRAM, 0);
		if (sockets[i] < 0 || connect(sockets[i], (struct sockaddr *)&to, sizeof(to)))
			return -1;
	}
	for (int i = 0; i < BATCH; i++) {
		memset(data[i], 'a' + i % 26, BYTES_MAX);
		parts[i] = (struct iovec){ data[i], bytes };
		messages[i].msg_hdr.msg_iov = &parts[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	return 0;
}

static long flood(long count, int flows, double rate)
{
	double start = now();
	long sent = 0;

	for (int flow = 0; sent < count && now() < start + SECONDS_MAX; flow = (flow + 1) % flows) {
		int done;

		if (rate > 0)
			sleep_until(start + sent / rate);
		for (int i = 0; i < BATCH; i++) {
			long number = sent + i;

			memcpy(data[i], &number, sizeof(number));
		}
		done = sendmmsg(sockets[flow], messages, count - sent < BATCH ? count - sent : BATCH, 0);
		if (done > 0)
			sent += done;
	}
	return sent;
}

int main(int argc, char **argv)
{
	double start, start_cpu;
	long count, sent;
	int bytes, flows;

	if (argc != 7) {
		fprintf(stderr, "usage: flood ADDRESS PORT COUNT BYTES FLOWS RATE\n");
		return 2;
	}
	count = atol(argv[3]);
	bytes = atoi(argv[4]);
	flows = atoi(argv[5]);
	if (bytes < (int)sizeof(long) || bytes > BYTES_MAX || flows < 1 || flows > FLOWS_MAX ||
	    prepare(argv[1], atoi(argv[2]), bytes, flows)) {
		fprintf(stderr, "flood: can't send that\n");
		return 1;
	}
	start = now();
	start_cpu = cpu();
	sent = flood(count, flows, atof(argv[6]));
	printf("%ld %.6f %.6f\n", sent, now() - start, cpu() - start_cpu);
	return 0;
}

/*
 * The peer in C: an ordered list of rules, scanned until one holds. Compiled on the spot.
 *
 * Standard input, in this machine's byte order:  u32 rules | u32 packets | u32 repeats
 *                                                rules of   { u32 source, mask, destination, mask, protocol << 16 | port }
 *                                                packets of { u32 source, destination, protocol << 16 | port }
 * Standard output: nanoseconds a packet, then the sum of the indices of the rules found (the number of rules: none).
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct rule {
	uint32_t source, source_mask, destination, destination_mask, service;
};
struct packet {
	uint32_t source, destination, service;
};

static void *take(size_t count, size_t size) {
	void *all = malloc(count * size + 1);
	if (!all || fread(all, size, count, stdin) != count) exit(1);
	return all;
}

int main(void) {
	uint32_t head[3];
	if (fread(head, 4, 3, stdin) != 3) return 1;
	uint32_t count = head[0];
	struct rule *rules = take(count, sizeof *rules);
	struct packet *packets = take(head[1], sizeof *packets);
	struct timespec start, end;
	uint64_t sum = 0;
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (uint32_t repeat = 0; repeat < head[2]; repeat++)
		for (uint32_t at = 0; at < head[1]; at++) {
			struct packet p = packets[at];
			uint32_t index = 0;
			for (; index < count; index++) {
				const struct rule *r = &rules[index];
				if ((p.source & r->source_mask) == r->source && (p.destination & r->destination_mask) == r->destination &&
				    p.service == r->service)
					break;
			}
			sum += index;
		}
	clock_gettime(CLOCK_MONOTONIC, &end);
	double ns = (end.tv_sec - start.tv_sec) * 1e9 + (end.tv_nsec - start.tv_nsec);
	printf("%.4f %llu\n", ns / head[1] / head[2], (unsigned long long)sum);
	return 0;
}

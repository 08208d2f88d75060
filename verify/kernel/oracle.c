/*
 * oracle: asks the Linux kernel what it does with packets, one after another.
 *
 *   oracle [-lncv] DEVICE...      DEVICE = tun:NAME | tap:NAME, numbered from 0
 *     -l legacy rule traces   -n nft rule traces   -c conntrack events   -v the kernel verifies checksums itself
 *
 * It makes a network namespace of its own, creates the devices in it and then does what standard input says. Rules,
 * routes and addresses are loaded from outside (`nsenter -t PID -n iptables-restore`). When it ends, for whatever
 * reason, the kernel deletes the namespace with everything in it; it ends when standard input closes, so a killed
 * driver leaves nothing behind.
 *
 * Why no timeouts and no guessing: a write to a TUN or TAP device (without NAPI) runs the whole receive path in the
 * writer's context: PREROUTING, routing, FORWARD, POSTROUTING, transmit. When it returns, everything the packet
 * caused is already queued: what came out on the device descriptors, rule traces and connection-tracking events on the
 * netlink sockets. Write one packet, drain everything: that belongs to that packet. The same holds for send() on a raw
 * socket, which stands for the node's own packets (OUTPUT).
 *
 * Netlink messages are handed over as they are; the driver reads their attributes.
 *
 * All integers are of this machine's byte order.
 *   request   u32 length of the rest | u8 operation | u8 0 | u16 device | packet
 *   answer    u32 length of the rest | u16 errno of the write | u16 items | items of { u16 kind, u16 length, bytes }
 * One answer to each request, in order, and one empty answer at the start that says the devices are there.
 * Item kinds: 0..4095 a packet that came out of that device, else KIND_*.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netlink.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum operation {
	INJECT = 1, /* the packet arrives on the device (TAP: an Ethernet frame) */
	SEND = 2,   /* the node itself sends the packet */
	DRAIN = 3,  /* throw away whatever is queued */
	FLUSH = 4,  /* forget all connections, then DRAIN */
	PACE = 5,   /* see below */
};

enum kind {
	KIND_LOG = 0x1000,       /* nflog message of group 0: legacy TRACE */
	KIND_PACE = 0x1006,      /* u64: nanoseconds that the packets of a PACE took together */
	KIND_INPUT = 0x1001,     /* nflog message of group INPUT_GROUP: a packet that INPUT let in */
	KIND_TRACE = 0x1002,     /* nft trace message */
	KIND_CONNTRACK = 0x1003, /* conntrack event */
	KIND_OVERFLOW = 0x1004,  /* a netlink socket lost messages */
	KIND_ANSWER = 0x1005,    /* nflog message of group ANSWER_GROUP: what the node says by itself, e.g. for REJECT */
};

enum {
	MAX_DEVICES = 1024,
	INPUT_GROUP = 1,         /* the nflog groups that rules of the driver log to */
	ANSWER_GROUP = 2,
	LOG_BYTES = 128,         /* of a logged packet: the headers */
	MAX_REQUEST = 70000,
	SOCKET_BYTES = 64 << 20, /* netlink receive buffer: drained after each packet, so never near full */
};

/* A descriptor that is drained after each packet: a device, or a netlink socket (kind >= KIND_LOG). */
struct source {
	int fd;
	uint16_t kind;
};
static struct source sources[MAX_DEVICES + 4];
static int source_count, device_count, poller, raw4, raw6;
static char is_tap[MAX_DEVICES];

static void die(const char *what) {
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---- answers: collected in memory, written when the requests at hand are done ---------------------------------- */

static char *answers;
static size_t used, room;

static void append(const void *bytes, size_t length) {
	if (used + length > room) {
		room = (used + length) * 2;
		answers = realloc(answers, room);
		if (!answers) die("memory");
	}
	memcpy(answers + used, bytes, length);
	used += length;
}

static void put16(uint16_t value) { append(&value, sizeof value); }

static void write_answers(void) {
	for (size_t done = 0; done < used;) {
		ssize_t count = write(STDOUT_FILENO, answers + done, used - done);
		if (count < 0 && errno == EINTR) continue;
		if (count < 0) exit(0); /* nobody reads any more */
		done += count;
	}
	used = 0;
}

/* ---- devices and sockets ---------------------------------------------------------------------------------------- */

static void watch(int fd, uint16_t kind) {
	sources[source_count] = (struct source){fd, kind};
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = source_count++};
	if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
}

static void open_device(const char *spec) {
	struct ifreq request = {0};
	if (!strncmp(spec, "tun:", 4)) request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
	else if (!strncmp(spec, "tap:", 4)) request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
	if (!request.ifr_flags || strlen(spec + 4) >= IFNAMSIZ || device_count == MAX_DEVICES) {
		fprintf(stderr, "bad device %s\n", spec);
		exit(2);
	}
	strcpy(request.ifr_name, spec + 4);
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) die("/dev/net/tun");
	if (ioctl(fd, TUNSETIFF, &request) < 0) die(spec);
	/* Whoever gets the packet would make the missing checksum, so that the kernel does not, over what we compare. */
	if (ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM) < 0) die("TUNSETOFFLOAD");
	is_tap[device_count] = request.ifr_flags & IFF_TAP;
	watch(fd, device_count++);
}

static int open_netlink(uint16_t kind) {
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_NETFILTER), bytes = SOCKET_BYTES;
	if (fd < 0) die("netlink");
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
	struct sockaddr_nl address = {.nl_family = AF_NETLINK};
	if (bind(fd, (struct sockaddr *)&address, sizeof address)) die("netlink bind");
	if (kind) watch(fd, kind);
	return fd;
}

static void join(int fd, int group) {
	if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group)) die("netlink group");
}

/* Sends one nfnetlink request with at most one attribute and waits for its acknowledgement. */
static void ask(int fd, int subsystem, int type, int group, int attribute, const void *value, size_t length) {
	struct {
		struct nlmsghdr header;
		struct nfgenmsg message;
		struct nlattr attribute;
		char value[16];
	} request = {0};
	size_t body = length ? NLA_HDRLEN + length : 0;
	request.header.nlmsg_len = NLMSG_LENGTH(sizeof request.message) + NLMSG_ALIGN(body);
	request.header.nlmsg_type = subsystem << 8 | type;
	request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	request.message.res_id = htons(group);
	request.attribute.nla_len = body;
	request.attribute.nla_type = attribute;
	memcpy(request.value, value, length);
	if (send(fd, &request, request.header.nlmsg_len, 0) < 0) die("netlink send");
	for (;;) {
		char reply[4096] __attribute__((aligned(8)));
		ssize_t count = recv(fd, reply, sizeof reply, 0);
		if (count < 0 && errno == EAGAIN) {
			struct pollfd pending = {fd, POLLIN, 0};
			poll(&pending, 1, -1);
			continue;
		}
		if (count < 0) die("netlink receive");
		struct nlmsghdr *header = (struct nlmsghdr *)reply;
		if (header->nlmsg_type != NLMSG_ERROR) continue;
		errno = -((struct nlmsgerr *)NLMSG_DATA(header))->error;
		if (errno) die("netlink request");
		return;
	}
}

/* Receives what the kernel logs to one nflog group: metadata and `bytes` of the packet, one message each, at once. */
static void open_log(uint16_t kind, int group, int bytes) {
	int fd = open_netlink(0);
	struct nfulnl_msg_config_cmd bind_group = {.command = NFULNL_CFG_CMD_BIND};
	struct nfulnl_msg_config_mode mode = {
		.copy_mode = bytes ? NFULNL_COPY_PACKET : NFULNL_COPY_META,
		.copy_range = htonl(bytes),
	};
	uint32_t threshold = htonl(1);
	ask(fd, NFNL_SUBSYS_ULOG, NFULNL_MSG_CONFIG, group, NFULA_CFG_CMD, &bind_group, sizeof bind_group);
	ask(fd, NFNL_SUBSYS_ULOG, NFULNL_MSG_CONFIG, group, NFULA_CFG_MODE, &mode, sizeof mode);
	ask(fd, NFNL_SUBSYS_ULOG, NFULNL_MSG_CONFIG, group, NFULA_CFG_QTHRESH, &threshold, sizeof threshold);
	watch(fd, kind);
}

static void open_conntrack(void) {
	int fd = open_netlink(KIND_CONNTRACK);
	join(fd, NFNLGRP_CONNTRACK_NEW);
	join(fd, NFNLGRP_CONNTRACK_UPDATE);
	join(fd, NFNLGRP_CONNTRACK_DESTROY);
}

static void flush_connections(void) {
	static int fd;
	if (!fd) fd = open_netlink(0);
	ask(fd, NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE, 0, 0, "", 0);
}

/* ---- one packet --------------------------------------------------------------------------------------------------- */

static int items;

static void add_item(uint16_t kind, const char *bytes, size_t length) {
	put16(kind);
	put16(length);
	append(bytes, length);
	items++;
}

static void drain(const struct source *source) {
	static char buffer[1 << 17] __attribute__((aligned(8)));
	for (;;) {
		ssize_t count = read(source->fd, buffer, sizeof buffer);
		if (count < 0 && errno == EINTR) continue;
		if (count < 0 && errno == ENOBUFS) add_item(KIND_OVERFLOW, "", 0);
		if (count < 0) return;
		if (source->kind < KIND_LOG) {
			size_t header = sizeof(struct virtio_net_hdr);
			if ((size_t)count > header) add_item(source->kind, buffer + header, count - header);
			return; /* rarely more than one: asking epoll again is cheaper than a read that fails */
		}
		for (struct nlmsghdr *m = (struct nlmsghdr *)buffer; NLMSG_OK(m, count); m = NLMSG_NEXT(m, count))
			add_item(source->kind, (char *)m, m->nlmsg_len);
	}
}

static void drain_all(void) {
	struct epoll_event ready[16];
	int count;
	while ((count = epoll_wait(poller, ready, 16, 0)) != 0)
		for (int i = 0; i < count; i++) drain(&sources[ready[i].data.u32]);
}

/*
 * Every packet on a device has a virtio header in front. Unless told otherwise it says what the veth of a pod says: the
 * checksum of layer 4 is still to be made, by hardware. So the kernel takes it for right, in every protocol.
 */
static int verify_checksums;

static ssize_t inject(const struct source *device, const char *packet, size_t length) {
	struct virtio_net_hdr header = {0};
	size_t ip = is_tap[device->kind] ? ETH_HLEN : 0;
	if (!verify_checksums && length > ip) {
		header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		header.csum_start = ip + (packet[ip] >> 4 == 4 ? (packet[ip] & 15) * 4 : 40);
	}
	struct iovec parts[] = {{&header, sizeof header}, {(void *)packet, length}};
	return writev(device->fd, parts, 2);
}

static ssize_t send_as_node(const char *packet, size_t length) {
	if (packet[0] >> 4 == 4) {
		struct sockaddr_in to = {.sin_family = AF_INET};
		memcpy(&to.sin_addr, packet + 16, 4);
		return sendto(raw4, packet, length, 0, (struct sockaddr *)&to, sizeof to);
	}
	struct sockaddr_in6 to = {.sin6_family = AF_INET6};
	memcpy(&to.sin6_addr, packet + 24, 16);
	return sendto(raw6, packet, length, 0, (struct sockaddr *)&to, sizeof to);
}

/*
 * PACE: what packets cost. The packet of the request is u32 rounds | u32 flush | packets of { u16 device, u16 length, bytes };
 * they are injected one after the other, `rounds` times all of them, and the processor time of this thread is answered:
 * what other processes do meanwhile does not count. With `flush` connections are forgotten before each round, aside of the
 * time. What comes out is not read before the end, so that devices are full and drop it, which costs the same each time.
 */
static uint64_t thread_ns(void) {
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static uint64_t pace(const char *at, size_t length) {
	const char *end = at + length;
	uint32_t rounds, flush;
	if (length < 8) die("pace");
	memcpy(&rounds, at, 4);
	memcpy(&flush, at + 4, 4);
	uint64_t spent = 0;
	for (uint32_t round = 0; round < rounds; round++) {
		if (flush) flush_connections();
		uint64_t start = thread_ns();
		for (const char *next = at + 8; next + 4 <= end;) {
			uint16_t device, bytes;
			memcpy(&device, next, 2);
			memcpy(&bytes, next + 2, 2);
			if (device >= device_count || bytes > end - next - 4) die("pace");
			inject(&sources[device], next + 4, bytes);
			next += 4 + bytes;
		}
		spent += thread_ns() - start;
	}
	drain_all();
	return spent;
}

static void serve(const char *request, size_t length) {
	uint8_t operation = request[0];
	uint16_t device;
	memcpy(&device, request + 2, 2);
	const char *packet = request + 4;
	length -= 4;
	if (operation < INJECT || operation > PACE || (operation == INJECT && device >= device_count) ||
	    (operation == SEND && length < (packet[0] >> 4 == 4 ? 20 : 40))) {
		fprintf(stderr, "bad request\n");
		exit(2);
	}
	size_t start = used;
	append("\0\0\0\0\0\0\0\0", 8);
	items = errno = 0;
	if (operation == FLUSH) flush_connections();
	ssize_t taken = operation == INJECT ? inject(&sources[device], packet, length)
	              : operation == SEND   ? send_as_node(packet, length)
	                                    : 0;
	uint16_t error = taken < 0 ? errno : 0;
	drain_all();
	if (operation == DRAIN || operation == FLUSH || operation == PACE) used = start + 8, items = 0;
	if (operation == PACE) {
		uint64_t spent = pace(packet, length);
		used = start + 8, items = 0; /* what came out meanwhile */
		add_item(KIND_PACE, &spent, sizeof spent);
	}
	uint32_t rest = used - start - 4;
	uint16_t count = items;
	memcpy(answers + start, &rest, 4);
	memcpy(answers + start + 4, &error, 2);
	memcpy(answers + start + 6, &count, 2);
}

int main(int argc, char **argv) {
	int option, legacy = 0, nft = 0, conntrack = 0;
	while ((option = getopt(argc, argv, "lncv")) > 0) switch (option) {
		case 'l': legacy = 1; break;
		case 'n': nft = 1; break;
		case 'c': conntrack = 1; break;
		case 'v': verify_checksums = 1; break;
		default: return 2;
		}
	signal(SIGINT, SIG_IGN); /* Ctrl-C is for the driver; its end is ours */
	if (unshare(CLONE_NEWNET)) die("unshare");
	if ((poller = epoll_create1(EPOLL_CLOEXEC)) < 0) die("epoll");
	for (int i = optind; i < argc; i++) open_device(argv[i]);
	raw4 = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW); /* IPPROTO_RAW: we bring the IP header */
	raw6 = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	/* SO_PRIORITY tells the node's packets of ours from the kernel's own (meta priority in the driver's nft table). */
	int priority = 6;
	if (raw4 >= 0) setsockopt(raw4, SOL_SOCKET, SO_PRIORITY, &priority, sizeof priority);
	if (raw6 >= 0) setsockopt(raw6, SOL_SOCKET, SO_PRIORITY, &priority, sizeof priority);
	open_log(KIND_INPUT, INPUT_GROUP, LOG_BYTES);
	open_log(KIND_ANSWER, ANSWER_GROUP, LOG_BYTES);
	if (legacy) open_log(KIND_LOG, 0, 0);
	if (nft) join(open_netlink(KIND_TRACE), NFNLGRP_NFTRACE);
	if (conntrack) open_conntrack();
	append("\4\0\0\0\0\0\0\0", 8);
	write_answers();

	static char input[1 << 20];
	size_t held = 0;
	for (;;) {
		ssize_t count = read(STDIN_FILENO, input + held, sizeof input - held);
		if (count < 0 && errno == EINTR) continue;
		if (count <= 0) return 0; /* the driver is gone */
		held += count;
		size_t at = 0;
		for (uint32_t length; held - at >= 4; at += 4 + length) {
			memcpy(&length, input + at, 4);
			if (length < 4 || length > MAX_REQUEST) return 2;
			if (held - at < 4 + length) break;
			serve(input + at + 4, length);
			if (used > sizeof input) write_answers();
		}
		memmove(input, input + at, held - at);
		held -= at;
		write_answers();
	}
}

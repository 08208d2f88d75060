/*
 * Asks the kernel's own eBPF maps and programs. A thin layer over bpf(2): no libbpf, no ELF, nothing pinned, so that
 * everything is gone when the process ends.
 *
 *   request   | length u32 | operation u32 | fd u32 | bytes … |     length: of what follows it
 *   answer    | length u32 | errno u32 | bytes … |
 *
 * Numbers are in the machine's byte order. Keys, values and packets in `bytes` stand one behind the other; the sizes are
 * those the map was made with.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { CREATE = 1, UPDATE = 2, LOOKUP = 3, DELETE = 4, DUMP = 5, LOAD = 6, RUN = 7, CLOSE = 8, TIME = 9, TIME_EACH = 10 };

/* File descriptors that one batch of programs and maps can have; their key and value sizes. */
enum { MOST_FDS = 4096 };
static struct { uint32_t key, value; } sizes[MOST_FDS];

static uint8_t *answer;
static size_t answer_length, answer_room;

static void die(const char *what) {
  perror(what);
  exit(1);
}

static int bpf(int command, union bpf_attr *attr) { return syscall(__NR_bpf, command, attr, sizeof *attr); }

static uint64_t pointer(const void *to) { return (uint64_t)(uintptr_t)to; }

/* Room for `length` more bytes of the answer, zeroed. */
static uint8_t *extend(size_t length) {
  while (answer_length + length > answer_room) {
    answer_room = answer_room ? answer_room * 2 : 1 << 16;
    answer = realloc(answer, answer_room);
    if (!answer) die("realloc");
  }
  uint8_t *at = answer + answer_length;
  memset(at, 0, length);
  answer_length += length;
  return at;
}

static void put(uint32_t number) { memcpy(extend(4), &number, 4); }

static uint32_t take(const uint8_t **at) {
  uint32_t number;
  memcpy(&number, *at, 4);
  *at += 4;
  return number;
}

static int read_all(void *into, size_t length) {
  for (uint8_t *at = into; length > 0;) {
    ssize_t got = read(0, at, length);
    if (got == 0) return 0;
    if (got < 0) die("read");
    at += got;
    length -= got;
  }
  return 1;
}

static void write_all(const uint8_t *at, size_t length) {
  while (length > 0) {
    ssize_t put = write(1, at, length);
    if (put < 0) die("write");
    at += put;
    length -= put;
  }
}

/* bytes: type, key bytes, value bytes, entries, flags. Answers the descriptor. */
static int create(const uint8_t *at) {
  union bpf_attr attr = {0};
  attr.map_type = take(&at);
  attr.key_size = take(&at);
  attr.value_size = take(&at);
  attr.max_entries = take(&at);
  attr.map_flags = take(&at);
  int fd = bpf(BPF_MAP_CREATE, &attr);
  if (fd < 0) return errno;
  if (fd >= MOST_FDS) {
    close(fd);
    return EMFILE;
  }
  sizes[fd].key = attr.key_size;
  sizes[fd].value = attr.value_size;
  put(fd);
  return 0;
}

/* The same command for each key (and value) in bytes; answers an errno each, behind it the value that was found. */
static int each(uint32_t operation, uint32_t fd, const uint8_t *at, const uint8_t *end) {
  uint32_t key = sizes[fd].key, value = sizes[fd].value;
  uint32_t step = operation == UPDATE ? key + value : key;
  int command = operation == UPDATE   ? BPF_MAP_UPDATE_ELEM
                : operation == LOOKUP ? BPF_MAP_LOOKUP_ELEM
                                      : BPF_MAP_DELETE_ELEM;
  for (; at + step <= end; at += step) {
    uint8_t *result = extend(4 + (operation == LOOKUP ? value : 0));
    union bpf_attr attr = {.map_fd = fd};
    attr.key = pointer(at);
    if (operation == UPDATE) attr.value = pointer(at + key);
    else if (operation == LOOKUP) attr.value = pointer(result + 4);
    uint32_t error = bpf(command, &attr) == 0 ? 0 : errno;
    memcpy(result, &error, 4);
  }
  return at == end ? 0 : EBADMSG;
}

/* bytes: UPDATE or DELETE, then keys (and values). Answers the nanoseconds of this thread that all of them took, low word first. */
static int time_each(uint32_t fd, const uint8_t *at, const uint8_t *end) {
  if (end - at < 4) return EBADMSG;
  uint32_t operation = take(&at), key = sizes[fd].key, value = sizes[fd].value;
  uint32_t step = operation == UPDATE ? key + value : key;
  if (key == 0 || (operation != UPDATE && operation != DELETE) || (end - at) % step != 0) return EINVAL;
  struct timespec before, after;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
  for (; at < end; at += step) {
    union bpf_attr attr = {.map_fd = fd};
    attr.key = pointer(at);
    if (operation == UPDATE) attr.value = pointer(at + key);
    if (bpf(operation == UPDATE ? BPF_MAP_UPDATE_ELEM : BPF_MAP_DELETE_ELEM, &attr) != 0) return errno;
  }
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
  uint64_t took = (after.tv_sec - before.tv_sec) * 1000000000ll + (after.tv_nsec - before.tv_nsec);
  put(took);
  put(took >> 32);
  return 0;
}

/* Every key and value of the map, in the kernel's order. */
static int dump(uint32_t fd) {
  uint32_t key = sizes[fd].key, value = sizes[fd].value;
  uint8_t *before = calloc(1, key);
  union bpf_attr attr;
  for (int first = 1;; first = 0) {
    size_t start = answer_length;
    uint8_t *next = extend(key + value);
    memset(&attr, 0, sizeof attr);
    attr.map_fd = fd;
    attr.key = first ? 0 : pointer(before);
    attr.next_key = pointer(next);
    if (bpf(BPF_MAP_GET_NEXT_KEY, &attr) != 0) {
      answer_length = start;
      break;
    }
    memcpy(before, next, key);
    memset(&attr, 0, sizeof attr);
    attr.map_fd = fd;
    attr.key = pointer(before);
    attr.value = pointer(next + key);
    if (bpf(BPF_MAP_LOOKUP_ELEM, &attr) != 0) break;
  }
  int error = errno;
  free(before);
  return error == ENOENT ? 0 : error;
}

/* bytes: instructions of an XDP program. Answers the descriptor, or what the verifier says. */
static int load(const uint8_t *at, const uint8_t *end) {
  static char log[1 << 16];
  log[0] = 0;
  union bpf_attr attr = {0};
  attr.prog_type = BPF_PROG_TYPE_XDP;
  attr.insns = pointer(at);
  attr.insn_cnt = (end - at) / sizeof(struct bpf_insn);
  attr.license = pointer("Apache-2.0");
  int fd = bpf(BPF_PROG_LOAD, &attr);
  if (fd >= 0) {
    put(fd);
    return 0;
  }
  int error = errno;
  attr.log_buf = pointer(log);
  attr.log_size = sizeof log;
  attr.log_level = 1;
  bpf(BPF_PROG_LOAD, &attr);
  size_t said = strnlen(log, sizeof log);
  memcpy(extend(said), log, said);
  return error;
}

/* bytes: a program's descriptor, a length and a frame, again and again. Answers what each run returned. */
static int run(const uint8_t *at, const uint8_t *end) {
  while (at + 8 <= end) {
    union bpf_attr attr = {0};
    attr.test.prog_fd = take(&at);
    attr.test.data_size_in = take(&at);
    if (attr.test.data_size_in > (size_t)(end - at)) return EBADMSG;
    attr.test.data_in = pointer(at);
    at += attr.test.data_size_in;
    if (bpf(BPF_PROG_TEST_RUN, &attr) != 0) return errno;
    put(attr.test.retval);
  }
  return at == end ? 0 : EBADMSG;
}

/* bytes: how often, and a frame. Answers what the last run returned and the nanoseconds of one, as the kernel counts them. */
static int time_runs(uint32_t program, const uint8_t *at, const uint8_t *end) {
  if (end - at < 4) return EBADMSG;
  union bpf_attr attr = {0};
  attr.test.prog_fd = program;
  attr.test.repeat = take(&at);
  attr.test.data_size_in = end - at;
  attr.test.data_in = pointer(at);
  if (bpf(BPF_PROG_TEST_RUN, &attr) != 0) return errno;
  put(attr.test.retval);
  put(attr.test.duration);
  return 0;
}

int main(void) {
  /* Before Linux 5.11 maps count against this limit. */
  setrlimit(RLIMIT_MEMLOCK, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY});
  uint8_t *request = NULL;
  uint32_t length, room = 0;
  while (read_all(&length, 4)) {
    if (length > room) {
      request = realloc(request, room = length);
      if (!request) die("realloc");
    }
    if (!read_all(request, length)) return 1;
    const uint8_t *at = request, *end = request + length;
    uint32_t operation = take(&at), fd = take(&at);
    answer_length = 0;
    put(0);
    put(0);
    int error = EINVAL;
    if (fd >= MOST_FDS) error = EBADF;
    else if (operation == CREATE) error = create(at);
    else if (operation == UPDATE || operation == LOOKUP || operation == DELETE) error = each(operation, fd, at, end);
    else if (operation == DUMP) error = dump(fd);
    else if (operation == LOAD) error = load(at, end);
    else if (operation == RUN) error = run(at, end);
    else if (operation == TIME) error = time_runs(fd, at, end);
    else if (operation == TIME_EACH) error = time_each(fd, at, end);
    else if (operation == CLOSE) error = close(fd) == 0 ? 0 : errno;
    uint32_t head[2] = {answer_length - 4, error};
    memcpy(answer, head, sizeof head);
    write_all(answer, answer_length);
  }
  return 0;
}

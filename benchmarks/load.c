/* The load client: thousands of Socket.IO clients on websockets in one process, cheap enough not to be what is
   measured. It counts events, checks each client's sequence numbers and takes the time from the stamp in the
   event. benchmarks/load.py compiles it, writes commands to its standard input and reads the answers.

   An event is known by `"seq":` and 10 digits, then `,"at":` and 16 digits: a counter of the client's own
   room, and microseconds of CLOCK_MONOTONIC (plus 10^15). Where they stand is searched once. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { UPGRADING, OPENING, ENTERING, JOINING, READY, CLOSED };
enum { CHUNK = 1 << 18, AT_ONCE = 64, SUBBUCKETS = 64, BUCKETS = SUBBUCKETS * 40 };
#define SEQ_BASE 1000000000ULL
#define AT_BASE 1000000000000000ULL

struct client {
    int fd, state, stalled;
    uint32_t ack;        /* the last ack id asked for */
    uint64_t next;       /* the sequence number that must come next */
    uint64_t asked_at;   /* when the command was sent that is under way; 0: none */
    unsigned char *rest; /* a frame that has not wholly arrived */
    size_t rest_size;
};

/* What benchmarks/load.py reads while we run. */
struct progress {
    volatile uint64_t delivered, asked, acked, refused, faults, closed, ready;
};

static struct client *clients;
static int client_count, begun, poller, looping, each_its_room, buffer_bytes;
static struct progress *progress;
static uint64_t histogram[BUCKETS];
static char fault[256], host[64], path[128], namespace_[64], token[2048];
static int port;
static unsigned char chunk[CHUNK + (1 << 21)];

static uint64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void die(const char *what) {
    printf("error %s: %s\n", what, strerror(errno));
    exit(1);
}

static void note_fault(struct client *c, const char *what, uint64_t wanted, uint64_t got) {
    if (!progress->faults++)
        snprintf(fault, sizeof fault, "client %d: %s, wanted %llu, got %llu", (int)(c - clients), what,
                 (unsigned long long)wanted, (unsigned long long)got);
}

/* Latencies, in buckets of 1.6 % */

static void record(uint64_t us) {
    int shift = us < 128 ? 0 : 57 - __builtin_clzll(us);
    uint64_t bucket = (uint64_t)shift * SUBBUCKETS + (us >> shift);
    histogram[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
}

static double percentile(double part) {
    uint64_t total = 0, seen = 0;
    for (int i = 0; i < BUCKETS; i++) total += histogram[i];
    for (int i = 0; i < BUCKETS; i++) {
        seen += histogram[i];
        if (seen && seen >= part * total) {
            int shift = i < 128 ? 0 : i / SUBBUCKETS - 1;
            return ((uint64_t)(i - shift * SUBBUCKETS) << shift) / 1000.0;
        }
    }
    return 0;
}

/* Going out */

static void send_text(struct client *c, const char *text, size_t size) {
    static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    unsigned char frame[4096];
    size_t head = size < 126 ? 6 : 8;
    if (size > sizeof frame - 8) die("message too long");
    frame[0] = 0x81;
    frame[1] = 0x80 | (size < 126 ? size : 126);
    if (size >= 126) frame[2] = size >> 8, frame[3] = size & 255;
    memcpy(frame + head - 4, mask, 4);
    for (size_t i = 0; i < size; i++) frame[head + i] = text[i] ^ mask[i & 3];
    if (write(c->fd, frame, head + size) != (ssize_t)(head + size)) note_fault(c, "write failed", size, errno);
}

static void ask(struct client *c) {
    char text[256];
    unsigned number = ++c->ack;
    int size = snprintf(text, sizeof text,
                        "42%s,%u[\"send\",{\"text\":\"a short message of client %d\",\"number\":%u}]", namespace_,
                        number, (int)(c - clients), number);
    c->asked_at = now_us();
    progress->asked++;
    send_text(c, text, size);
}

static void begin(struct client *c) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    char request[512];
    int one = 1, size;
    inet_pton(AF_INET, host, &address.sin_addr);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0) die("socket");
    if (buffer_bytes) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof buffer_bytes);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address)) die("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    size = snprintf(request, sizeof request,
                    "GET %s/?EIO=4&transport=websocket HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\n"
                    "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                    "Sec-WebSocket-Version: 13\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) "
                    "Gecko/20100101 Firefox/140.0\r\nAccept-Language: en-US,en;q=0.5\r\n\r\n",
                    path, host, port);
    if (write(c->fd, request, size) != size) die("handshake");
    c->state = UPGRADING;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event)) die("epoll");
}

static void begin_next(void) {
    if (begun < client_count) begin(&clients[begun++]);
}

/* Coming in */

static uint64_t digits(const unsigned char *p, int count) {
    uint64_t value = 0;
    while (count--) value = value * 10 + (*p++ - '0');
    return value;
}

static void take_event(struct client *c, const unsigned char *p, size_t size) {
    static size_t seq_at, at_at;
    if (seq_at + 16 > size || at_at + 21 > size || !seq_at || memcmp(p + seq_at, "\"seq\":", 6) ||
        memcmp(p + at_at, "\"at\":", 5)) {
        const unsigned char *seq = memmem(p, size, "\"seq\":", 6), *at = memmem(p, size, "\"at\":", 5);
        if (!seq || !at) return;
        seq_at = seq - p, at_at = at - p;
    }
    uint64_t seq = digits(p + seq_at + 6, 10) - SEQ_BASE;
    if (seq != c->next) note_fault(c, seq > c->next ? "gap" : "inversion", c->next, seq);
    c->next = seq + 1;
    progress->delivered++;
    record(now_us() - (digits(p + at_at + 5, 16) - AT_BASE));
}

static void take_ack(struct client *c, const unsigned char *p, size_t size) {
    const unsigned char *args = memchr(p, '[', size);
    int ok = args && memmem(args, size - (args - p), "\"ok\"", 4);
    const unsigned char *id = args;
    while (id && id > p && id[-1] >= '0' && id[-1] <= '9') id--;
    if (c->state == JOINING) {
        if (!ok) note_fault(c, "join refused", 0, 0);
        c->state = READY;
        progress->ready++;
        begin_next();
        return;
    }
    if (!id || digits(id, args - id) != c->ack || !c->asked_at) note_fault(c, "wrong ack", c->ack, 0);
    if (ok) progress->acked++;
    else progress->refused++;
    record(now_us() - c->asked_at);
    c->asked_at = 0;
    if (looping) ask(c);
}

static void take_message(struct client *c, const unsigned char *p, size_t size) {
    char text[3072];
    int length;
    if (size >= 1 && p[0] == '2') {
        send_text(c, "3", 1);
    } else if (size >= 1 && p[0] == '0' && c->state == OPENING) {
        length = snprintf(text, sizeof text, "40%s,{\"token\":\"%s\"}", namespace_, token);
        send_text(c, text, length);
        c->state = ENTERING;
    } else if (size >= 2 && p[0] == '4') {
        if (p[1] == '2') {
            take_event(c, p, size);
        } else if (p[1] == '3') {
            take_ack(c, p, size);
        } else if (p[1] == '0') {
            int room = each_its_room ? (int)(c - clients) : 0;
            length = snprintf(text, sizeof text, "42%s,0[\"join\",{\"room\":\"r%d\"}]", namespace_, room);
            send_text(c, text, length);
            c->state = JOINING;
        } else {
            note_fault(c, "refused or disconnected", '0', p[1]);
        }
    }
}

static void end(struct client *c) {
    close(c->fd);
    if (c->state < READY) note_fault(c, "closed while connecting", READY, c->state);
    c->state = CLOSED;
    progress->closed++;
}

/* Takes all whole frames; returns how many bytes they were. */
static size_t take_frames(struct client *c, const unsigned char *p, size_t size) {
    size_t done = 0;
    if (c->state == UPGRADING) {
        const unsigned char *body = memmem(p, size, "\r\n\r\n", 4);
        if (!body) return 0;
        if (size < 12 || memcmp(p + 9, "101", 3)) note_fault(c, "no websocket", 101, digits(p + 9, 3));
        c->state = OPENING;
        done = body + 4 - p;
    }
    while (size - done >= 2) {
        const unsigned char *f = p + done;
        size_t head = 2, length = f[1] & 127, left = size - done;
        if (length == 126) {
            if (left < 4) break;
            head = 4, length = (size_t)f[2] << 8 | f[3];
        } else if (length == 127) {
            if (left < 10) break;
            for (head = 10, length = 0; head > 2; head--) length |= (size_t)f[head - 1] << 8 * (10 - head);
            head = 10;
        }
        if (left < head + length) break;
        if ((f[0] & 15) == 1) take_message(c, f + head, length);
        else if ((f[0] & 15) == 8) note_fault(c, "close frame", 0, length >= 2 ? f[head] << 8 | f[head + 1] : 0);
        done += head + length;
    }
    return done;
}

static void receive(struct client *c) {
    memcpy(chunk, c->rest, c->rest_size);
    ssize_t got = read(c->fd, chunk + c->rest_size, CHUNK);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        end(c);
        return;
    }
    size_t size = c->rest_size + got, done = take_frames(c, chunk, size);
    c->rest_size = size - done;
    free(c->rest);
    c->rest = NULL;
    if (c->rest_size > (1 << 21) - CHUNK) die("a frame is too large");
    if (c->rest_size) memcpy(c->rest = malloc(c->rest_size), chunk + done, c->rest_size);
}

/* Commands: one line each, one line back */

static int local_port(struct client *c) {
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    getsockname(c->fd, (struct sockaddr *)&address, &size);
    return ntohs(address.sin_port);
}

static void obey(char *line) {
    int number;
    if (sscanf(line, "connect %d %63s %d %127s %63s %d %d %2047s", &client_count, host, &port, path,
               namespace_, &each_its_room, &buffer_bytes, token) == 8) {
        clients = calloc(client_count, sizeof *clients);
        for (int i = 0; i < AT_ONCE; i++) begin_next();
        puts("ok");
    } else if (!strcmp(line, "reset")) {
        memset(histogram, 0, sizeof histogram);
        progress->delivered = progress->asked = progress->acked = progress->refused = 0;
        puts("ok");
    } else if (!strcmp(line, "report")) {
        printf("%.3f %.3f %.3f %s\n", percentile(0.5), percentile(0.99), percentile(1), fault);
    } else if (sscanf(line, "stall %d", &number) == 1 && number < client_count) {
        epoll_ctl(poller, EPOLL_CTL_DEL, clients[number].fd, NULL);
        clients[number].stalled = 1;
        printf("%d\n", local_port(&clients[number]));
    } else if (!strcmp(line, "loop")) {
        looping = 1;
        for (int i = 0; i < client_count; i++) ask(&clients[i]);
        puts("ok");
    } else if (!strcmp(line, "rest")) {
        looping = 0;
        puts("ok");
    } else {
        printf("error what is \"%s\"?\n", line);
    }
    fflush(stdout);
}

int main(int argc, char **argv) {
    static char lines[8192];
    size_t held = 0;
    struct epoll_event events[512], input = {.events = EPOLLIN, .data.ptr = NULL};
    int shared = argc > 1 ? open(argv[1], O_RDWR) : -1;
    if (shared < 0) die("usage: load PROGRESS_FILE");
    progress = mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED, shared, 0);
    if (progress == MAP_FAILED) die("mmap");
    poller = epoll_create1(0);
    if (epoll_ctl(poller, EPOLL_CTL_ADD, 0, &input)) die("epoll");
    for (;;) {
        int count = epoll_wait(poller, events, 512, -1);
        for (int i = 0; i < count; i++) {
            struct client *c = events[i].data.ptr;
            if (c) {
                if (c->state != CLOSED && !c->stalled) receive(c);
                continue;
            }
            ssize_t got = read(0, lines + held, sizeof lines - held - 1);
            if (got <= 0) return 0;
            held += got;
            for (char *stop; (stop = memchr(lines, '\n', held)); held -= stop + 1 - lines, memmove(lines, stop + 1, held)) {
                *stop = 0;
                obey(lines);
            }
        }
    }
}

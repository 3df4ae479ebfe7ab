/* The other end: answers every POST with Kochava's success, as lightly as can be.

   One thread, one epoll, after so many microseconds of latency; with a certificate, over TLS.
   It prints its port, and ends when its standard input does. GET /count says what it has answered.

       sink MICROSECONDS [CERTIFICATE KEY] */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <openssl/ssl.h>
#endif

#define MOST_CONNECTIONS 65536
#define CHUNK 65536

typedef struct {
    char *received;
    size_t length, room;
    unsigned serial; /* another connection may get the same number later */
#ifdef WITH_TLS
    SSL *tls;
#endif
} Connection;

typedef struct {
    int64_t at;
    int number;
    unsigned serial;
} Due;

static Connection connections[MOST_CONNECTIONS];
static Due *dues; /* a ring: all wait equally long, so that the first in is the first due */
static size_t first_due, due_count, due_room = 1024;
static uint64_t posts, bytes;
static int64_t latency;
static int epoll, timer;
#ifdef WITH_TLS
static SSL_CTX *context;
#endif

static const char SUCCESS[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                              "Content-Length: 15\r\n\r\n{\"success\":\"1\"}";

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static ssize_t receive(int number, char *into, size_t room) {
#ifdef WITH_TLS
    if (context) {
        int got = SSL_read(connections[number].tls, into, (int)room);
        if (got > 0) return got;
        int why = SSL_get_error(connections[number].tls, got);
        errno = why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? EAGAIN : EIO;
        return why == SSL_ERROR_ZERO_RETURN ? 0 : -1;
    }
#endif
    return recv(number, into, room, 0);
}

static void answer(int number, const char *text, size_t length) {
    /* Short, and asked for one after the other: there is room for it. */
#ifdef WITH_TLS
    if (context) {
        SSL_write(connections[number].tls, text, (int)length);
        return;
    }
#endif
    if (send(number, text, length, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
        perror("send");
}

static void set_timer(void) {
    struct itimerspec when = {{0, 0}, {0, 0}};
    if (due_count) {
        int64_t at = dues[first_due].at;
        when.it_value.tv_sec = at / 1000000000;
        when.it_value.tv_nsec = at % 1000000000;
    }
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static void put_off(int number) {
    if (due_count == due_room) {
        Due *larger = malloc(2 * due_room * sizeof *larger);
        if (!larger) fail("malloc");
        for (size_t i = 0; i < due_count; i++) larger[i] = dues[(first_due + i) % due_room];
        free(dues);
        dues = larger, first_due = 0, due_room *= 2;
    }
    Due due = {now() + latency, number, connections[number].serial};
    dues[(first_due + due_count++) % due_room] = due;
    if (due_count == 1) set_timer();
}

static void answer_due(void) {
    uint64_t fired;
    if (read(timer, &fired, sizeof fired) < 0 && errno != EAGAIN) fail("read");
    while (due_count && dues[first_due].at <= now()) {
        Due due = dues[first_due];
        first_due = (first_due + 1) % due_room;
        due_count--;
        if (connections[due.number].serial == due.serial)
            answer(due.number, SUCCESS, sizeof SUCCESS - 1);
    }
    set_timer();
}

static void finish(int number, const char *request, size_t length) {
    if (!strncmp(request, "GET", 3)) {
        char body[96], text[256];
        int size = snprintf(body, sizeof body, "{\"posts\":%llu,\"bytes\":%llu}",
                            (unsigned long long)posts, (unsigned long long)bytes);
        size = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", size, body);
        answer(number, text, (size_t)size);
        return;
    }
    posts++;
    bytes += length;
    if (latency)
        put_off(number);
    else
        answer(number, SUCCESS, sizeof SUCCESS - 1);
}

static void close_connection(int number) {
    Connection *connection = &connections[number];
    connection->serial++;
    connection->length = 0;
#ifdef WITH_TLS
    if (connection->tls) SSL_free(connection->tls);
    connection->tls = NULL;
#endif
    close(number);
}

static size_t length_of_body(const char *head, const char *end) {
    static const char NAME[] = "\r\ncontent-length:";
    for (; end - head > (long)sizeof NAME; head++)
        if (*head == '\r' && !strncasecmp(head, NAME, sizeof NAME - 1))
            return strtoul(head + sizeof NAME - 1, NULL, 10);
    return 0;
}

static void read_requests(int number) {
    Connection *connection = &connections[number];
    for (;;) {
        if (connection->room - connection->length < CHUNK) {
            connection->room = connection->length + 2 * CHUNK;
            connection->received = realloc(connection->received, connection->room);
            if (!connection->received) fail("realloc");
        }
        ssize_t got = receive(number, connection->received + connection->length, CHUNK);
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0) {
            close_connection(number);
            return;
        }
        connection->length += (size_t)got;
        char *head = connection->received, *end;
        size_t left = connection->length;
        while ((end = memmem(head, left, "\r\n\r\n", 4))) {
            size_t body = length_of_body(head, end + 2), whole = (size_t)(end - head) + 4 + body;
            if (whole > left) break;
            finish(number, head, body);
            head += whole, left -= whole;
        }
        memmove(connection->received, head, left);
        connection->length = left;
        if (got < CHUNK) {
#ifdef WITH_TLS
            if (context) continue; /* TLS may hold more than the socket tells of */
#endif
            return;
        }
    }
}

static void watch(int number) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = number};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, number, &event)) fail("epoll_ctl");
}

static void accept_connection(int listening) {
    int number = accept4(listening, NULL, NULL, SOCK_NONBLOCK), on = 1;
    if (number < 0) return;
    if (number >= MOST_CONNECTIONS) {
        close(number);
        return;
    }
    setsockopt(number, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
#ifdef WITH_TLS
    if (context) {
        connections[number].tls = SSL_new(context);
        SSL_set_fd(connections[number].tls, number);
        SSL_set_accept_state(connections[number].tls);
    }
#endif
    watch(number);
}

int main(int count, char **arguments) {
    signal(SIGPIPE, SIG_IGN);
    if (count < 2) return 2;
    latency = atoll(arguments[1]) * 1000;
    if (count > 3) {
#ifdef WITH_TLS
        context = SSL_CTX_new(TLS_server_method());
        if (SSL_CTX_use_certificate_chain_file(context, arguments[2]) != 1 ||
            SSL_CTX_use_PrivateKey_file(context, arguments[3], SSL_FILETYPE_PEM) != 1)
            return 2;
#else
        return 2;
#endif
    }
    dues = malloc(due_room * sizeof *dues);
    if (!dues) fail("malloc");
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(listening, (struct sockaddr *)&address, size) || listen(listening, 1024)) fail("bind");
    getsockname(listening, (struct sockaddr *)&address, &size);
    epoll = epoll_create1(0);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    watch(listening);
    watch(timer);
    watch(STDIN_FILENO);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    struct epoll_event events[256];
    for (;;) {
        int ready = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            int number = events[i].data.fd;
            if (number == STDIN_FILENO)
                return 0;
            else if (number == listening)
                accept_connection(listening);
            else if (number == timer)
                answer_due();
            else
                read_requests(number);
        }
    }
}

/* Independent Modbus peer made of libmodbus, for tests.
 *
 * peer slave|master rtu TTY BAUD
 * peer slave|master tcp PORT
 *
 * A slave reads its setting from standard input: "unit N", "size N" (addresses
 * of each table), "TABLE ADDRESS VALUE..." with the tables c, d, i, h, then
 * "serve". It prints "ready" and serves until standard input is closed. A
 * master reads "unit N" and requests, and prints "ok VALUE..." or "error TEXT".
 * The line is 8E1.
 */
#include <errno.h>
#include <modbus.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST 2000 /* numbers of a line */

static void die(const char *what) {
  fprintf(stderr, "peer: %s: %s\n", what, modbus_strerror(errno));
  exit(1);
}

static modbus_t *line(int argc, char **argv) {
  modbus_t *m;
  if (argc == 5 && !strcmp(argv[2], "rtu"))
    m = modbus_new_rtu(argv[3], atoi(argv[4]), 'E', 8, 1);
  else if (argc == 4 && !strcmp(argv[2], "tcp"))
    m = modbus_new_tcp("127.0.0.1", atoi(argv[3]));
  else {
    fprintf(stderr, "usage: peer slave|master rtu TTY BAUD | tcp PORT\n");
    exit(2);
  }
  if (!m) die("new");
  return m;
}

/* words takes the numbers of the rest of a line. */
static int words(char *rest, long *v) {
  int n = 0;
  for (char *w; n < MOST && (w = strtok(rest, " \n")); rest = NULL) v[n++] = strtol(w, NULL, 0);
  return n;
}

static void slave(modbus_t *m, int rtu) {
  char buf[65536];
  long v[MOST];
  int unit = 1, size = 200;
  modbus_mapping_t *map = NULL;
  while (fgets(buf, sizeof buf, stdin)) {
    char *rest = strchr(buf, ' ');
    if (!strncmp(buf, "serve", 5)) break;
    if (!rest) continue;
    if (!strncmp(buf, "unit", 4)) { unit = atoi(rest); continue; }
    if (!strncmp(buf, "size", 4)) { size = atoi(rest); continue; }
    if (!map && !(map = modbus_mapping_new(size, size, size, size))) die("mapping");
    int n = words(rest, v);
    for (int i = 1; i < n && v[0] + i - 1 < size; i++) {
      long at = v[0] + i - 1;
      switch (buf[0]) {
      case 'c': map->tab_bits[at] = v[i]; break;
      case 'd': map->tab_input_bits[at] = v[i]; break;
      case 'i': map->tab_input_registers[at] = v[i]; break;
      case 'h': map->tab_registers[at] = v[i]; break;
      }
    }
  }
  if (!map && !(map = modbus_mapping_new(size, size, size, size))) die("mapping");
  if (modbus_set_slave(m, unit)) die("unit");
  uint8_t q[MODBUS_TCP_MAX_ADU_LENGTH];
  int fd = -1, listener = -1;
  if (rtu) {
    if (modbus_connect(m)) die("connect");
    fd = modbus_get_socket(m);
  } else if ((listener = modbus_tcp_listen(m, 1)) < 0)
    die("listen");
  printf("ready\n");
  fflush(stdout);
  for (;;) {
    struct pollfd p[2] = {{0, POLLIN, 0}, {fd >= 0 ? fd : listener, POLLIN, 0}};
    if (poll(p, 2, -1) < 0) die("poll");
    if (p[0].revents) exit(0);
    if (fd < 0) {
      if ((fd = modbus_tcp_accept(m, &listener)) < 0) die("accept");
      continue;
    }
    int n = modbus_receive(m, q);
    if (n > 0) modbus_reply(m, q, n, map);
    if (n < 0 && !rtu && (errno == ECONNRESET || errno == EBADF)) {
      modbus_close(m);
      fd = -1;
    }
  }
}

static void answer(int rc, const uint16_t *w, const uint8_t *b, int n) {
  if (rc < 0) {
    printf("error %s\n", modbus_strerror(errno));
  } else {
    printf("ok");
    for (int i = 0; i < n; i++) printf(" %d", w ? w[i] : b[i]);
    printf("\n");
  }
  fflush(stdout);
}

static void master(modbus_t *m) {
  char buf[65536];
  long v[MOST] = {0};
  uint16_t w[MOST] = {0};
  uint8_t b[MOST] = {0};
  modbus_set_response_timeout(m, 2, 0);
  if (modbus_connect(m)) die("connect");
  while (fgets(buf, sizeof buf, stdin)) {
    char *rest = strchr(buf, ' ');
    if (!rest) continue;
    *rest++ = 0;
    int n = words(rest, v);
    for (int i = 0; i < n; i++) w[i] = v[i], b[i] = v[i];
    if (!strcmp(buf, "unit")) { if (modbus_set_slave(m, v[0])) die("unit"); }
    else if (!strcmp(buf, "rc")) answer(modbus_read_bits(m, v[0], v[1], b), NULL, b, v[1]);
    else if (!strcmp(buf, "rd")) answer(modbus_read_input_bits(m, v[0], v[1], b), NULL, b, v[1]);
    else if (!strcmp(buf, "ri")) answer(modbus_read_input_registers(m, v[0], v[1], w), w, NULL, v[1]);
    else if (!strcmp(buf, "rh")) answer(modbus_read_registers(m, v[0], v[1], w), w, NULL, v[1]);
    else if (!strcmp(buf, "wc")) answer(modbus_write_bit(m, v[0], v[1]), w, NULL, 0);
    else if (!strcmp(buf, "wr")) answer(modbus_write_register(m, v[0], v[1]), w, NULL, 0);
    else if (!strcmp(buf, "wcs")) answer(modbus_write_bits(m, v[0], n - 1, b + 1), w, NULL, 0);
    else if (!strcmp(buf, "wrs")) answer(modbus_write_registers(m, v[0], n - 1, w + 1), w, NULL, 0);
    else if (!strcmp(buf, "mask")) answer(modbus_mask_write_register(m, v[0], v[1], v[2]), w, NULL, 0);
    else if (!strcmp(buf, "rw")) { /* write from, read from, read count, values */
      uint16_t got[MOST];
      answer(modbus_write_and_read_registers(m, v[0], n - 3, w + 3, v[1], v[2], got), got, NULL, v[2]);
    } else
      printf("error no such request\n");
  }
}

int main(int argc, char **argv) {
  modbus_t *m = line(argc < 3 ? 0 : argc, argv);
  if (!strcmp(argv[1], "slave")) slave(m, !strcmp(argv[2], "rtu"));
  else master(m);
  return 0;
}

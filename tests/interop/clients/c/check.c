// check HOST:PORT RESTART…: what Apache's C client can do with a server, step by step.
//
// RESTART… ends the server as a crash would and starts it again. Ends with 1 at the first step that fails, which it
// names with the line.
#define _GNU_SOURCE
#define THREADED
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/wait.h>
#include <zookeeper/zookeeper.h>

// How long anything may take before a step gives up. Nothing is measured by it.
#define PATIENCE_S 60

#define THAT(holds)                                                    \
  do {                                                                 \
    if (!(holds)) {                                                    \
      printf("FAILED line %d: %s\n", __LINE__, #holds);                \
      exit(1);                                                         \
    }                                                                  \
  } while (0)
#define EQUAL(expected, found)                                         \
  do {                                                                 \
    int expected_ = (expected), found_ = (found);                      \
    if (expected_ != found_) {                                         \
      printf("FAILED line %d: %s is %d (%s), not %d\n", __LINE__, #found, found_, zerror(found_), expected_); \
      exit(1);                                                         \
    }                                                                  \
  } while (0)

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static char server[256];
static char root[128];
static zhandle_t *zh;
static char buffer[2 << 20];
static struct Stat stat_;

// What a watcher heard of znodes, and the last state of its handle. Guarded by the mutex.
struct heard {
  int count;
  int types[16];
  char paths[16][256];
  int state;
  int was_lost;
};

static void watch(zhandle_t *handle, int type, int state, const char *path, void *context) {
  (void)handle;
  struct heard *heard = context;
  if (heard == NULL) return;
  pthread_mutex_lock(&mutex);
  if (type == ZOO_SESSION_EVENT) {
    heard->was_lost |= state != ZOO_CONNECTED_STATE;
    heard->state = state;
  } else if (heard->count < 16) {
    heard->types[heard->count] = type;
    snprintf(heard->paths[heard->count++], 256, "%s", path);
  }
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&mutex);
}

static int waits(const int *value, int wanted) {
  struct timespec end;
  clock_gettime(CLOCK_REALTIME, &end);
  end.tv_sec += PATIENCE_S;
  int late = 0;
  pthread_mutex_lock(&mutex);
  while (*value != wanted && !late) late = pthread_cond_timedwait(&changed, &mutex, &end);
  pthread_mutex_unlock(&mutex);
  return !late;
}

static void hears(struct heard *heard, int type, const char *path) {
  THAT(waits(&heard->count, 1));
  EQUAL(type, heard->types[0]);
  THAT(strcmp(path, heard->paths[0]) == 0);
  heard->count = 0;
}

static zhandle_t *connect_to(const char *address, int timeout_ms, const clientid_t *id, struct heard *heard) {
  zhandle_t *handle = zookeeper_init(address, watch, timeout_ms, id, heard, 0);
  THAT(handle != NULL);
  THAT(waits(&heard->state, ZOO_CONNECTED_STATE));
  return handle;
}

// Paths below the root, in buffers that are used in turn.
static const char *at(const char *name) {
  static char paths[8][256];
  static int next;
  char *path = paths[next++ % 8];
  snprintf(path, 256, "%s/%s", root, name);
  return path;
}

static void modes(void) {
  char path[256];
  const struct { int mode; const char *name, *made; } cases[] = {
    {ZOO_PERSISTENT, "p", "p"},
    {ZOO_EPHEMERAL, "e", "e"},
    {ZOO_PERSISTENT_SEQUENTIAL, "ps-", "ps-0000000002"},
    {ZOO_EPHEMERAL_SEQUENTIAL, "es-", "es-0000000003"},
    {ZOO_CONTAINER, "c", "c"},
  };
  for (int i = 0; i < 5; i++) {
    EQUAL(ZOK, zoo_create2(zh, at(cases[i].name), "abc", 3, &ZOO_OPEN_ACL_UNSAFE, cases[i].mode, path, 256, &stat_));
    THAT(strcmp(path, at(cases[i].made)) == 0);
    EQUAL(3, stat_.dataLength);
    THAT(stat_.czxid == stat_.mzxid && stat_.czxid == stat_.pzxid && stat_.ctime == stat_.mtime);
    int is_ephemeral = cases[i].mode == ZOO_EPHEMERAL || cases[i].mode == ZOO_EPHEMERAL_SEQUENTIAL;
    THAT(stat_.ephemeralOwner == (is_ephemeral ? zoo_client_id(zh)->client_id : 0));
  }
  EQUAL(ZOK, zoo_create_ttl(zh, at("t"), "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_WITH_TTL, 3600000, path, 256));
  EQUAL(ZOK, zoo_create_ttl(zh, at("ts-"), "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_SEQUENTIAL_WITH_TTL, 3600000,
      path, 256));
  THAT(strcmp(path, at("ts-0000000006")) == 0);
  EQUAL(ZOK, zoo_create(zh, at("null"), NULL, -1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT, path, 256));
  int length = sizeof buffer;
  EQUAL(ZOK, zoo_get(zh, at("null"), 0, buffer, &length, &stat_));
  EQUAL(-1, length);
  struct String_vector names;
  EQUAL(ZOK, zoo_get_children2(zh, root, 0, &names, &stat_));
  EQUAL(8, names.count);
  EQUAL(8, stat_.numChildren);
  deallocate_String_vector(&names);
}

static void errors(void) {
  char path[256];
  EQUAL(ZNONODE, zoo_create(zh, at("none/child"), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, 256));
  EQUAL(ZNODEEXISTS, zoo_create(zh, root, "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, 256));
  EQUAL(ZNOCHILDRENFOREPHEMERALS, zoo_create(zh, at("e/child"), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, 256));
  EQUAL(ZNOTEMPTY, zoo_delete(zh, root, -1));
  EQUAL(ZBADVERSION, zoo_set(zh, at("p"), "x", 1, 7));
  EQUAL(ZBADVERSION, zoo_delete(zh, at("p"), 7));
  EQUAL(ZNONODE, zoo_exists(zh, at("none"), 0, &stat_));
  struct ACL acl = {ZOO_PERM_ALL, {"nonsense", "x"}};
  struct ACL_vector acls = {1, &acl};
  EQUAL(ZINVALIDACL, zoo_create(zh, at("acl"), "", 0, &acls, 0, path, 256));
  struct ACL_vector none = {0, NULL};
  EQUAL(ZINVALIDACL, zoo_create(zh, at("acl"), "", 0, &none, 0, path, 256));
  EQUAL(ZOK, zoo_set2(zh, at("p"), "xy", 2, 0, &stat_));
  EQUAL(1, stat_.version);
}

static void multi(void) {
  char path[256];
  zoo_op_t ops[5];
  zoo_op_result_t results[5];
  zoo_create_op_init(&ops[0], at("m"), "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, path, 256);
  zoo_check_op_init(&ops[1], at("m"), 0);
  zoo_set_op_init(&ops[2], at("m"), "22", 2, 0, &stat_);
  zoo_delete_op_init(&ops[3], at("ps-0000000002"), -1);
  EQUAL(ZOK, zoo_multi(zh, 4, ops, results));
  THAT(strcmp(path, at("m")) == 0);
  EQUAL(2, stat_.dataLength);
  zoo_set_op_init(&ops[0], at("m"), "3", 1, -1, NULL);
  zoo_check_op_init(&ops[1], at("m"), 9);
  zoo_delete_op_init(&ops[2], at("m"), -1);
  EQUAL(ZBADVERSION, zoo_multi(zh, 3, ops, results));
  EQUAL(ZOK, results[0].err);
  EQUAL(ZBADVERSION, results[1].err);
  EQUAL(ZRUNTIMEINCONSISTENCY, results[2].err);
  EQUAL(ZOK, zoo_exists(zh, at("m"), 0, &stat_));
  EQUAL(1, stat_.version);
}

static void authenticated(int code, const void *data) {
  pthread_mutex_lock(&mutex);
  *(int *)data = code == ZOK ? 1 : code;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&mutex);
}

static void authenticate(zhandle_t *handle) {
  int done = 0;
  EQUAL(ZOK, zoo_add_auth(handle, "digest", "me:secret", 9, authenticated, &done));
  THAT(waits(&done, 1));
}

static void access_(void) {
  struct heard heard = {0};
  zhandle_t *owner = connect_to(server, 30000, NULL, &heard);
  authenticate(owner);
  char path[256];
  EQUAL(ZOK, zoo_create(owner, at("mine"), "x", 1, &ZOO_CREATOR_ALL_ACL, 0, path, 256));
  int length = sizeof buffer;
  EQUAL(ZNOAUTH, zoo_get(zh, at("mine"), 0, buffer, &length, &stat_));
  EQUAL(ZNOAUTH, zoo_set(zh, at("mine"), "y", 1, -1));
  struct ACL_vector acls;
  EQUAL(ZOK, zoo_get_acl(owner, at("mine"), &acls, &stat_));
  EQUAL(1, acls.count);
  THAT(strcmp("me:016djjlksVQS5RgX3M7biBGyYwY=", acls.data[0].id.id) == 0);
  deallocate_ACL_vector(&acls);
  EQUAL(ZOK, zoo_set_acl(owner, at("mine"), 0, &ZOO_OPEN_ACL_UNSAFE));
  EQUAL(ZOK, zoo_set(zh, at("mine"), "y", 1, -1));
  EQUAL(ZOK, zookeeper_close(owner));
}

static void watches(void) {
  struct heard heard = {0};
  struct String_vector names;
  char path[256];
  EQUAL(ZNONODE, zoo_wexists(zh, at("w"), watch, &heard, &stat_));
  EQUAL(ZOK, zoo_create(zh, at("w"), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, 256));
  hears(&heard, ZOO_CREATED_EVENT, at("w"));
  int length = sizeof buffer;
  EQUAL(ZOK, zoo_wget(zh, at("w"), watch, &heard, buffer, &length, &stat_));
  EQUAL(ZOK, zoo_set(zh, at("w"), "x", 1, -1));
  hears(&heard, ZOO_CHANGED_EVENT, at("w"));
  EQUAL(ZOK, zoo_wget_children(zh, at("w"), watch, &heard, &names));
  deallocate_String_vector(&names);
  EQUAL(ZOK, zoo_create(zh, at("w/child"), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, 256));
  hears(&heard, ZOO_CHILD_EVENT, at("w"));
  EQUAL(ZOK, zoo_wexists(zh, at("w/child"), watch, &heard, &stat_));
  EQUAL(ZOK, zoo_remove_watches(zh, at("w/child"), ZWATCHTYPE_DATA, watch, &heard, 0));
  EQUAL(ZNOWATCHER, zoo_remove_watches(zh, at("w/child"), ZWATCHTYPE_DATA, watch, &heard, 0));
  EQUAL(ZOK, zoo_wget_children(zh, at("w/child"), watch, &heard, &names));
  deallocate_String_vector(&names);
  heard.count = 0;
  EQUAL(ZOK, zoo_delete(zh, at("w/child"), -1));
  hears(&heard, ZOO_DELETED_EVENT, at("w/child"));
}

static int answered, in_order, next_expected;

static void counted(int code, const char *value, const void *data) {
  (void)value;
  pthread_mutex_lock(&mutex);
  answered++;
  in_order += code == ZOK && (long)data == next_expected++;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&mutex);
}

static void pipelined(void) {
  char path[256];
  EQUAL(ZOK, zoo_create(zh, at("many"), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, 256));
  for (long i = 0; i < 2000; i++) {
    if (i % 10 == 9) {
      EQUAL(ZOK, zoo_async(zh, root, counted, (void *)i));
    } else {
      EQUAL(ZOK, zoo_acreate(zh, at("many/n-"), "x", 1, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_SEQUENTIAL, counted,
          (void *)i));
    }
  }
  THAT(waits(&answered, 2000));
  EQUAL(2000, in_order);
  EQUAL(ZOK, zoo_exists(zh, at("many"), 0, &stat_));
  EQUAL(1800, stat_.numChildren);
  memset(buffer, 'x', 1000000);
  EQUAL(ZOK, zoo_set(zh, at("many"), buffer, 1000000, -1));
  int length = sizeof buffer;
  EQUAL(ZOK, zoo_get(zh, at("many"), 0, buffer, &length, &stat_));
  EQUAL(1000000, length);
}

static void unicode_and_chroot(void) {
  char path[256], address[512];
  EQUAL(ZOK, zoo_create(zh, at("grün"), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, 256));
  struct heard heard = {0};
  snprintf(address, sizeof address, "%s%s", server, at("grün"));
  zhandle_t *inner = connect_to(address, 30000, NULL, &heard);
  struct String_vector names;
  EQUAL(ZOK, zoo_wget_children(inner, "/", watch, &heard, &names));
  deallocate_String_vector(&names);
  EQUAL(ZOK, zoo_create(inner, "/日本語", "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_EPHEMERAL, path, 256));
  THAT(strcmp("/日本語", path) == 0);
  hears(&heard, ZOO_CHILD_EVENT, "/");
  EQUAL(ZOK, zoo_exists(zh, at("grün/日本語"), 0, &stat_));
  EQUAL(ZOK, zookeeper_close(inner));
  EQUAL(ZNONODE, zoo_exists(zh, at("grün/日本語"), 0, &stat_));
}

static void sessions(char **restart) {
  struct heard heard = {0}, event = {0};
  zhandle_t *handle = connect_to(server, 30000, NULL, &heard);
  authenticate(handle);
  char path[256];
  EQUAL(ZOK, zoo_create(handle, at("kept"), "x", 1, &ZOO_CREATOR_ALL_ACL, ZOO_EPHEMERAL, path, 256));
  EQUAL(ZNONODE, zoo_wexists(handle, at("soon"), watch, &event, &stat_));
  int64_t session = zoo_client_id(handle)->client_id;
  heard.was_lost = 0;
  pid_t child = fork();
  if (child == 0) {
    execv(restart[0], restart);
    _exit(127);
  }
  int status;
  waitpid(child, &status, 0);
  EQUAL(0, status);
  THAT(waits(&heard.state, ZOO_CONNECTED_STATE));
  THAT(heard.was_lost);
  EQUAL(ZOK, zoo_exists(handle, at("kept"), 0, &stat_));
  THAT(stat_.ephemeralOwner == session && zoo_client_id(handle)->client_id == session);
  EQUAL(ZOK, zoo_create(handle, at("soon"), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, 256));
  hears(&event, ZOO_CREATED_EVENT, at("soon"));
  // Another handle takes the session and closes it: the first hears that it has expired.
  clientid_t id = *zoo_client_id(handle);
  struct heard other = {0};
  EQUAL(ZOK, zookeeper_close(connect_to(server, 30000, &id, &other)));
  THAT(waits(&heard.state, ZOO_EXPIRED_SESSION_STATE));
  THAT(is_unrecoverable(handle) == ZINVALIDSTATE);
  zookeeper_close(handle);
}

static void step(const char *name, void (*run)(void)) {
  run();
  printf("ok %s\n", name);
  fflush(stdout);
}

int main(int count, char **arguments) {
  THAT(count > 2);
  zoo_set_debug_level(0);
  snprintf(server, sizeof server, "%s", arguments[1]);
  snprintf(root, sizeof root, "/c-%ld-%d", (long)time(NULL), getpid());
  struct heard heard = {0};
  zh = connect_to(server, 30000, NULL, &heard);
  char path[256];
  EQUAL(ZOK, zoo_create(zh, root, "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, path, 256));
  step("modes", modes);
  step("errors", errors);
  step("multi", multi);
  step("access", access_);
  step("watches", watches);
  step("pipelined", pipelined);
  step("unicode and chroot", unicode_and_chroot);
  sessions(arguments + 2);
  printf("ok sessions\n");
  THAT(waits(&heard.state, ZOO_CONNECTED_STATE));
  EQUAL(ZOK, zookeeper_close(zh));
  printf("C client: 8 steps passed, 0 failed\n");
  return 0;
}

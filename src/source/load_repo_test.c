// SPDX-License-Identifier: MIT OR Apache-2.0
// One account's repository from a host that gives it, refuses, is busy, cuts it short, sends
// another's, one with a wrong signature, or no repository at all; in memory and through a file.
#include "seeded.h"

#include "load_repo.h"

#include <fr/cbor.h>

#include <fr/thread.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "fake_door.h"

#define DID "did:plc:ewvi7nxzyoun6zhxrhs64oiz"
#define OTHER_DID "did:plc:44ybard66vv44zksje25o7dz"

static const fr_secret_key SECRET = {.curve = FR_CURVE_K256, .scalar = {[31] = 7}};

/* ---- a host ---------------------------------------------------------------------------------- */

/** Gives every request the same answer, and cuts it short by `cut` bytes. */
typedef struct {
    int listener;
    char url[64], asked[1024];
    fr_thread thread;
    bool stop; /* atomic */
    const char *status;
    fr_slice body; /* set between requests */
    size_t cut;
} host;

static void answer(host *h, int fd)
{
    char head[256];
    ssize_t n = recv(fd, h->asked, sizeof h->asked - 1, 0);
    h->asked[n < 0 ? 0 : n] = '\0';
    int size = snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n", h->status,
                        h->body.size);
    (void)!send(fd, head, (size_t)size, MSG_NOSIGNAL);
    for (size_t at = 0; at < h->body.size - h->cut;) {
        n = send(fd, h->body.data + at, h->body.size - h->cut - at, MSG_NOSIGNAL);
        if (n <= 0) {
            break;
        }
        at += (size_t)n;
    }
}

static void *serve(void *context)
{
    host *h = context;
    while (!__atomic_load_n(&h->stop, __ATOMIC_ACQUIRE)) {
        struct pollfd wait = {.fd = h->listener, .events = POLLIN};
        int fd = poll(&wait, 1, 20) <= 0 ? -1 : accept(h->listener, NULL, NULL);
        if (fd >= 0) {
            answer(h, fd);
            close(fd);
        }
    }
    return NULL;
}

static void host_start(host *h)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    *h = (host){.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .status = "200 OK"};
    assert_true(h->listener >= 0 && bind(h->listener, (struct sockaddr *)&at, sizeof at) == 0 &&
                listen(h->listener, 16) == 0 &&
                getsockname(h->listener, (struct sockaddr *)&at, &size) == 0);
    snprintf(h->url, sizeof h->url, "http://127.0.0.1:%u/", ntohs(at.sin_port));
    assert_ok(fr_thread_start(&h->thread, "host", serve, h, NULL));
}

static void host_stop(host *h)
{
    __atomic_store_n(&h->stop, true, __ATOMIC_RELEASE);
    fr_thread_join(h->thread);
    close(h->listener);
}

/* ---- repositories ---------------------------------------------------------------------------- */

static fr_status put_node(void *context, const fr_cid *cid, fr_slice block)
{
    fr_car_put_block(context, cid, block);
    return FR_OK;
}

/** `count` records of about `bytes` each. */
static void put_repo(fr_buffer *out, unsigned count, size_t bytes, fr_cid *data)
{
    fr_mst *tree = NULL;
    fr_buffer records, commit, record;
    fr_cid cid;
    char key[64];
    uint8_t *filling = calloc(1, bytes);
    assert_non_null(filling);
    fr_buffer_init(&records, 1 << 24);
    fr_buffer_init(&commit, 4096);
    assert_ok(fr_mst_new(&tree, NULL));
    for (unsigned i = 0; i < count; i++) {
        fr_buffer_init(&record, 1 << 21);
        fr_cbor_put_map(&record, 2);
        fr_cbor_put_key(&record, "n");
        fr_cbor_put_int(&record, i);
        fr_cbor_put_key(&record, "filling");
        fr_cbor_put_bytes(&record, fr_slice_of(filling, bytes));
        fr_cid_of_block(fr_buffer_view(&record), &cid);
        fr_car_put_block(&records, &cid, fr_buffer_view(&record));
        snprintf(key, sizeof key, "com.example.thing/r%u", i);
        assert_ok(fr_mst_put(tree, fr_slice_text(key), &cid, NULL));
        fr_buffer_done(&record);
    }
    assert_ok(fr_mst_root(tree, data, NULL));
    assert_ok(fr_commit_build(&commit, FR_SLICE(DID), data, fr_tid_make(1700000000000000, 1),
                              &SECRET, &cid, NULL));
    fr_buffer_init(out, 1 << 24);
    fr_car_put_header(out, &cid);
    fr_car_put_block(out, &cid, fr_buffer_view(&commit));
    assert_ok(fr_mst_blocks(tree, 0, NULL, 0, put_node, out, NULL));
    fr_buffer_slice(out, fr_buffer_view(&records));
    assert_ok(fr_buffer_status(out, NULL));
    fr_mst_free(tree);
    fr_buffer_done(&records);
    fr_buffer_done(&commit);
    free(filling);
}

/* ---- loads ----------------------------------------------------------------------------------- */

typedef struct {
    host host;
    fake_door *fake;
    feeder feed;
    fr_did_resolver *resolver;
    load_repo *loader;
    char folder[64];
} fixture;

static void write_docs(const char *path, uint8_t last_byte)
{
    const uint8_t secret[32] = {[31] = last_byte};
    char key[FR_DID_KEY_MAX_BYTES], text[1024];
    fr_public_key public_key;
    assert_ok(fr_public_key_of_k256_secret(secret, &public_key, NULL));
    fr_public_key_format(&public_key, key);
    snprintf(text, sizeof text,
             "{\"" DID "\": {\"id\":\"" DID "\",\"verificationMethod\":[{\"id\":\"" DID
             "#atproto\",\"type\":\"Multikey\",\"controller\":\"" DID
             "\",\"publicKeyMultibase\":\"%s\"}]}}",
             key + strlen("did:key:"));
    assert_ok(fr_os_write_file_atomic(fr_os_real(), path, fr_slice_text(text), NULL));
}

/** `key` 0: signatures are not checked; 7: the right one. */
static void set_up(fixture *fx, uint8_t key)
{
    char docs[96];
    *fx = (fixture){.fake = fake_new(), .folder = "/tmp/freshet-load-XXXXXX"};
    assert_non_null(mkdtemp(fx->folder));
    host_start(&fx->host);
    assert_ok(feeder_init(&fx->feed, fake_as_door(fx->fake), NULL));
    if (key != 0) {
        snprintf(docs, sizeof docs, "%s/docs", fx->folder);
        write_docs(docs, key);
        const fr_did_resolver_options from = {.did_docs = docs};
        assert_ok(fr_did_resolver_open(&fx->resolver, &from, NULL));
        assert_ok(fr_os_unlink(fr_os_real(), docs, NULL));
    }
    const load_repo_options options = {
        .feed = &fx->feed, .resolver = fx->resolver, .host = fx->host.url, .spill_dir = fx->folder};
    assert_ok(load_repo_open(&fx->loader, &options, NULL));
}

static void tear_down(fixture *fx)
{
    load_repo_close(fx->loader);
    feeder_done(&fx->feed);
    fr_did_resolver_close(fx->resolver);
    host_stop(&fx->host);
    fake_free(fx->fake);
    assert_int_equal(rmdir(fx->folder), 0); /* nothing was left in it */
}

static void expect_load(fixture *fx, const char *did, fr_status status, const char *code,
                        load_repo_result *result)
{
    fr_error err = {0};
    fr_status got = load_repo_run(fx->loader, fr_slice_text(did), NULL, result, &err);
    if (got != status || (code != NULL && (err.code == NULL || strcmp(err.code, code) != 0))) {
        fail_msg("status %d %s, expected %d %s", (int)got, err.code == NULL ? "-" : err.code,
                 (int)status, code == NULL ? "-" : code);
    }
}

static void test_sound_repositories(void **state)
{
    (void)state;
    static const size_t sizes[] = {10, 900000}; /* in memory; over 4 MiB, through a file */
    for (size_t i = 0; i < FR_COUNT_OF(sizes); i++) {
        fixture fx;
        fr_buffer car;
        load_repo_result result;
        fr_cid data;
        put_repo(&car, 6, sizes[i], &data);
        assert_true((car.size > FR_LOAD_REPO_MEMORY_BYTES_MAX) == (i == 1));
        set_up(&fx, i == 0 ? 7 : 0);
        fx.host.body = fr_buffer_view(&car);
        for (int twice = 0; twice < 2; twice++) {
            expect_load(&fx, DID, FR_OK, NULL, &result);
            assert_non_null(
                strstr(fx.host.asked, "GET /xrpc/com.atproto.sync.getRepo?did=" DID " "));
            assert_true(result.rev == fr_tid_make(1700000000000000, 1));
            assert_memory_equal(result.data.bytes, data.bytes, FR_CID_BYTES);
            assert_true(result.unverified == (i == 1) && result.answer.status == 200);
            assert_int_equal(fx.fake->syncs, twice + 1);
            assert_int_equal(fx.fake->keys_at_sync, 6);
        }
        tear_down(&fx);
        fr_buffer_done(&car);
    }
}

/* Nothing of any of these is taken. */
static void test_what_is_refused(void **state)
{
    (void)state;
    fixture fx;
    fr_buffer car;
    fr_cid data;
    load_repo_result result;
    put_repo(&car, 6, 10, &data);
    set_up(&fx, 0);
    fx.host.body = fr_buffer_view(&car);
    expect_load(&fx, OTHER_DID, FR_MALFORMED, "commit-did-mismatch", &result);
    fx.host.cut = 5; /* of what was announced */
    expect_load(&fx, DID, FR_AGAIN, NULL, &result);
    fx.host.cut = 0;
    fx.host.body = fr_slice_sub(fr_buffer_view(&car), 0, car.size - 20);
    expect_load(&fx, DID, FR_MALFORMED, "car-section-length", &result);
    fx.host.body = FR_SLICE("<html>");
    expect_load(&fx, DID, FR_MALFORMED, NULL, &result);
    fx.host.status = "400 Bad Request";
    fx.host.body = FR_SLICE("{\"error\":\"RepoDeactivated\",\"message\":\"it is\"}");
    expect_load(&fx, DID, FR_NOT_FOUND, "repo-absent", &result);
    assert_string_equal(result.error_name, "RepoDeactivated");
    assert_int_equal(result.answer.status, 400);
    fx.host.status = "429 Too Many Requests";
    expect_load(&fx, DID, FR_AGAIN, "repo-busy", &result);
    fx.host.status = "503 Unavailable";
    expect_load(&fx, DID, FR_AGAIN, "repo-busy", &result);
    assert_true(fx.fake->count == 0 && fx.fake->syncs == 0);
    fx.host.status = "200 OK"; /* and the loader is as good as new */
    fx.host.body = fr_buffer_view(&car);
    expect_load(&fx, DID, FR_OK, NULL, &result);
    assert_int_equal(fx.fake->syncs, 1);
    tear_down(&fx);
    fr_buffer_done(&car);
}

static void test_a_wrong_signature(void **state)
{
    (void)state;
    fixture fx;
    fr_buffer car;
    fr_cid data;
    load_repo_result result;
    put_repo(&car, 3, 10, &data);
    set_up(&fx, 8);
    fx.host.body = fr_buffer_view(&car);
    expect_load(&fx, DID, FR_MALFORMED, "sig-wrong", &result);
    assert_true(fx.fake->count == 0 && fx.fake->syncs == 0);
    tear_down(&fx);
    fr_buffer_done(&car);
}

static void test_without_a_host(void **state)
{
    (void)state;
    fixture fx;
    load_repo *loader = NULL;
    load_repo_result result;
    fr_error err = {0};
    set_up(&fx, 7);
    const load_repo_options options = {
        .feed = &fx.feed, .resolver = fx.resolver, .spill_dir = fx.folder};
    assert_ok(load_repo_open(&loader, &options, NULL));
    assert_int_equal(load_repo_run(loader, FR_SLICE(DID), NULL, &result, &err), FR_NOT_FOUND);
    assert_string_equal(err.code, "repo-absent");
    load_repo_close(loader);
    tear_down(&fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sound_repositories),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_a_wrong_signature),
        cmocka_unit_test(test_without_a_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

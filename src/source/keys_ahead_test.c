// SPDX-License-Identifier: MIT OR Apache-2.0
// Frames of a file, and CARs of a folder, whose keys a directory has: asked for many at once, taken
// one after the other.
#include "fake_directory.h"

#include <fr/repo_write.h>

#include "fake_door.h"

#define ACCOUNTS 40

static void put_frame(fr_buffer *out, unsigned account)
{
    const fr_secret_key secret = {.curve = FR_CURVE_K256, .scalar = {[31] = 7}};
    char did[64];
    size_t at = out->size;
    fr_mst *tree = NULL;
    fr_write write = {.action = FR_OP_CREATE,
                      .path = FR_SLICE("app.bsky.feed.post/3mptbyplj5d2a"),
                      .record = FR_SLICE("\xa1\x61\x6e\x01")};
    snprintf(did, sizeof did, "did:plc:%024u", account);
    fr_commit_plan plan = {.did = fr_slice_text(did),
                           .rev = fr_tid_make(1750000000000000, 7),
                           .seq = account + 1,
                           .time_text = FR_SLICE("2026-11-21T00:00:00.000Z"),
                           .secret = &secret,
                           .writes = &write,
                           .write_count = 1};
    fr_buffer_append(out, "\0\0\0\0", 4);
    assert_ok(fr_mst_new(&tree, NULL));
    assert_ok(fr_commit_frame(tree, &plan, out, NULL, NULL, NULL));
    fr_mst_free(tree);
    fr_store_u32le(out->data + at, (uint32_t)(out->size - at - 4));
}

/* The directory's key is another one, so each commit is refused, in the order and at the place of
 * its frame, and so is what comes behind them. */
static void test_frames(void **unused)
{
    (void)unused;
    directory *d = directory_start(50000000);
    fake_door *fake = fake_new();
    fr_did_resolver *resolver = NULL;
    const fr_did_resolver_options options = {.plc_url = d->url};
    char path[] = "/tmp/freshet-frames-XXXXXX", place[64];
    uint64_t offsets[ACCOUNTS + 1];
    feeder f;
    fr_stream *stream = NULL;
    fr_buffer frames;
    fr_buffer_init(&frames, 1 << 20);
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        offsets[i] = frames.size;
        put_frame(&frames, i);
    }
    offsets[ACCOUNTS] = frames.size;
    fr_buffer_append(&frames, "\1\2", 2); /* half a length word */
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, frames.data, frames.size) == (ssize_t)frames.size);
    close(fd);
    assert_ok(fr_did_resolver_open(&resolver, &options, NULL));
    assert_ok(feeder_init(&f, fake_as_door(fake), NULL));
    f.on_reject = fake_on_reject;
    f.reject_context = fake;
    assert_ok(fr_stream_open(&stream, path, NULL));
    assert_ok(read_frames(&f, resolver, stream, "frames", NULL));
    assert_int_equal(f.rejected, ACCOUNTS + 1);
    for (size_t i = 0; i <= ACCOUNTS; i++) {
        snprintf(place, sizeof place, "frames: offset %llu", (unsigned long long)offsets[i]);
        assert_string_equal(fake->places[i], place);
        assert_string_equal(fake->codes[i], i < ACCOUNTS ? "sig-wrong" : "frame-cut");
    }
    printf("%llu requests at once\n", (unsigned long long)directory_get(&d->at_once_most));
    assert_true(directory_get(&d->at_once_most) >= 4);
    feeder_done(&f);
    fr_stream_close(stream);
    fr_did_resolver_close(resolver);
    fake_free(fake);
    fr_buffer_done(&frames);
    unlink(path);
    directory_stop(d);
}

static void test_a_folder_of_cars(void **unused)
{
    (void)unused;
    directory *d = directory_start(50000000);
    fake_door *fake = fake_new();
    fr_did_resolver *resolver = NULL;
    const fr_did_resolver_options options = {.plc_url = d->url};
    char folder[] = "/tmp/freshet-cars-XXXXXX", path[64];
    feeder f;
    fr_frame_reader *reader = NULL;
    assert_non_null(mkdtemp(folder));
    assert_ok(fr_frame_reader_new(&reader, NULL));
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        fr_buffer bytes;
        fr_frame frame;
        fr_buffer_init(&bytes, 1 << 20);
        put_frame(&bytes, i);
        assert_ok(
            fr_frame_decode(reader, fr_slice_from(fr_buffer_view(&bytes), 4), &frame, NULL, NULL));
        snprintf(path, sizeof path, "%s/%02u.car", folder, i);
        assert_ok(fr_os_write_file_atomic(fr_os_real(), path, frame.blocks, NULL));
        fr_buffer_done(&bytes);
    }
    assert_ok(fr_did_resolver_open(&resolver, &options, NULL));
    assert_ok(feeder_init(&f, fake_as_door(fake), NULL));
    f.on_reject = fake_on_reject;
    f.reject_context = fake;
    assert_ok(read_cars(&f, resolver, folder, NULL));
    assert_int_equal(f.rejected, ACCOUNTS);
    for (size_t i = 0; i < ACCOUNTS; i++) {
        snprintf(path, sizeof path, "%s/%02zu.car: ", folder, i);
        assert_true(strncmp(fake->places[i], path, strlen(path)) == 0);
        assert_string_equal(fake->codes[i], "sig-wrong");
    }
    printf("%llu requests at once\n", (unsigned long long)directory_get(&d->at_once_most));
    assert_true(directory_get(&d->at_once_most) >= 4);
    feeder_done(&f);
    fr_frame_reader_free(reader);
    fr_did_resolver_close(resolver);
    fake_free(fake);
    assert_ok(fr_os_remove_tree(fr_os_real(), folder, NULL));
    directory_stop(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_frames),
                                       cmocka_unit_test(test_a_folder_of_cars)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

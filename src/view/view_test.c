// SPDX-License-Identifier: MIT OR Apache-2.0
/* Digests and checkpoint files. A file is written on the simulated disk with a crash, or a
 * fault, at every operation: what is found then is the old one or the new one, whole. Every bit
 * of a file is flipped, and every flip is noticed. */
#include "seeded.h"

#include <fr/view.h>

/* ---- digests -------------------------------------------------------------------------------- */

enum { ROWS = 64 };

static fr_slice row_text(unsigned i, char room[32])
{
    return fr_slice_of(room, (size_t)snprintf(room, 32, "did:x:%u\x1fstatus\x1f%u", i, i % 3));
}

static fr_digest digest_of(const unsigned *order, size_t count)
{
    fr_digest digest = {0};
    char room[32];
    for (size_t i = 0; i < count; i++) {
        fr_digest_add(&digest, row_text(order[i], room));
    }
    return digest;
}

static bool same(fr_digest a, fr_digest b)
{
    return a.lo == b.lo && a.hi == b.hi;
}

static void order_of_rows_does_not_matter(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    unsigned order[ROWS];
    for (unsigned i = 0; i < ROWS; i++) {
        order[i] = i;
    }
    fr_digest first = digest_of(order, ROWS);
    for (int round = 0; round < 200; round++) {
        size_t a = below(&seed, ROWS);
        size_t b = below(&seed, ROWS);
        unsigned kept = order[a];
        order[a] = order[b];
        order[b] = kept;
        assert_true(same(first, digest_of(order, ROWS)));
        assert_false(same(first, digest_of(order, ROWS - 1)));
    }
}

/** Rows come and go in any order: what is left is the digest of the rows that are left. */
static void a_row_that_goes_is_taken_off(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    fr_digest running = {0};
    unsigned times[ROWS] = {0}; /* the same row may stand twice */
    char room[32];
    for (int i = 0; i < 20000; i++) {
        unsigned at = (unsigned)below(&seed, ROWS);
        if (times[at] != 0 && one_in(&seed, 2)) {
            fr_digest_subtract(&running, row_text(at, room));
            times[at]--;
        } else {
            fr_digest_add(&running, row_text(at, room));
            times[at]++;
        }
        if (one_in(&seed, 100)) {
            fr_digest expected = {0};
            for (unsigned j = 0; j < ROWS; j++) {
                for (unsigned k = 0; k < times[j]; k++) {
                    fr_digest_add(&expected, row_text(j, room));
                }
            }
            assert_true(same(running, expected));
        }
    }
}

/** Sums carry from the low half to the high one. */
static void halves_carry(void **state)
{
    (void)state;
    fr_digest one = {0};
    fr_digest_add(&one, FR_SLICE("row"));
    fr_digest sum = {UINT64_MAX, 7};
    fr_digest_add(&sum, FR_SLICE("row"));
    assert_true(one.lo > 0);
    assert_int_equal(sum.lo, one.lo - 1);
    assert_int_equal(sum.hi, one.hi + 8);
    fr_digest_subtract(&sum, FR_SLICE("row"));
    assert_true(sum.lo == UINT64_MAX && sum.hi == 7);
    fr_digest zero = {0};
    fr_digest_subtract(&zero, FR_SLICE("row"));
    fr_digest_add(&zero, FR_SLICE("row"));
    assert_true(zero.lo == 0 && zero.hi == 0);
}

static void a_digest_is_written_high_half_first(void **state)
{
    (void)state;
    fr_digest digest = {UINT64_C(0x0123456789abcdef), UINT64_C(0xf0)};
    char text[FR_DIGEST_TEXT_BYTES + 1];
    fr_digest_format(&digest, text);
    assert_string_equal(text, "0100000000000000f00123456789abcdef");
    assert_int_equal(strlen(text), FR_DIGEST_TEXT_BYTES);
}

/* ---- checkpoint files ----------------------------------------------------------------------- */

#define DIR "data/views/v"

static uint8_t byte_at(uint64_t version, size_t i)
{
    return (uint8_t)((i * 131 + version * 7) ^ i >> 8 ^ i >> 16);
}

/** Writes a file that says its version in every byte, in uneven pieces. */
static fr_status save(fr_os *os, uint64_t version, size_t size)
{
    fr_saver *saver = NULL;
    fr_digest digest = {version * 3, version * 5};
    fr_status status = fr_saver_begin(&saver, os, DIR, "state", version, &digest, NULL);
    if (status != FR_OK) {
        return status;
    }
    uint8_t piece[5000];
    for (size_t at = 0; at < size && status == FR_OK;) {
        size_t take = FR_MIN(size - at, 1 + at * 7 % sizeof piece);
        for (size_t i = 0; i < take; i++) {
            piece[i] = byte_at(version, at + i);
        }
        status = fr_saver_put(saver, piece, take, NULL);
        at += take;
    }
    if (status != FR_OK) {
        fr_saver_abort(saver);
        return status;
    }
    return fr_saver_commit(saver, NULL);
}

/** The version that is there, 0 when none is; it must be whole. */
static uint64_t load(fr_os *os, const size_t *sizes)
{
    fr_loader *loader = NULL;
    fr_digest digest;
    fr_slice view;
    uint64_t version = 0;
    fr_status status = fr_loader_open(&loader, os, DIR, "state", &version, &digest, NULL);
    if (status == FR_NOT_FOUND) {
        return 0;
    }
    assert_ok(status);
    assert_true(digest.lo == version * 3 && digest.hi == version * 5);
    uint8_t first[3];
    size_t size = sizes[version];
    size_t head = FR_MIN(size, sizeof first);
    assert_ok(fr_loader_get(loader, first, head, NULL));
    assert_ok(fr_loader_view(loader, size - head, &view, NULL));
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(i < head ? first[i] : view.data[i - head], byte_at(version, i));
    }
    assert_true(fr_loader_at_end(loader));
    assert_int_equal(fr_loader_view(loader, 1, &view, NULL), FR_CORRUPT);
    fr_loader_close(loader);
    return version;
}

static fr_os *new_disk(uint64_t seed, bool drop)
{
    fr_sim_options options = {
        .seed = seed, .drop_unsynced = drop, .flip_bits = !drop, .fail_at = UINT64_MAX};
    fr_os *os = NULL;
    assert_ok(fr_sim_new(&os, &options, NULL));
    return os;
}

static const size_t SIZES[] = {0, 0, 1, 20000, (1 << 20) - 1, 1 << 20, (2 << 20) + 3};

static void files_of_any_size_come_back(void **state)
{
    (void)state;
    fr_os *os = new_disk(1, true);
    for (uint64_t version = 1; version < FR_COUNT_OF(SIZES); version++) {
        assert_ok(save(os, version, SIZES[version]));
        assert_int_equal(load(os, SIZES), version);
        fr_sim_crash(os); /* it was durable on return, folders and all */
        assert_int_equal(load(os, SIZES), version);
        assert_false(fr_os_exists(os, DIR "/state.tmp"));
    }
    fr_sim_free(os);
}

/** The n-th operation, and all from there on, fails; then the power goes. */
static void crash_at_every_operation(bool had_old, bool drop, uint64_t seed)
{
    static const size_t sizes[] = {0, 3000, 40000};
    bool done = false;
    for (uint64_t n = 0; !done; n++) {
        fr_os *os = new_disk(seed + n, drop);
        if (had_old) {
            assert_ok(save(os, 1, sizes[1]));
        }
        fr_sim_set_faults(os, n, UINT64_MAX);
        fr_status status = save(os, 2, sizes[2]);
        done = status == FR_OK && fr_sim_operation_count(os) <= n;
        fr_sim_crash(os);
        fr_sim_set_faults(os, UINT64_MAX, 0);
        uint64_t version = load(os, sizes);
        assert_true(version == 2 || version == had_old);
        if (status == FR_OK) {
            assert_int_equal(version, 2);
        }
        assert_ok(save(os, 1, sizes[1])); /* what was left is in nobody's way */
        assert_int_equal(load(os, sizes), 1);
        fr_sim_free(os);
        assert_true(n < 1000);
    }
}

static void a_crash_leaves_the_old_or_the_new(void **state)
{
    (void)state;
    uint64_t seed = seed_of_run();
    for (unsigned round = 0; round < 40; round++) {
        crash_at_every_operation(round % 2 == 0, round % 4 < 2, next_random(&seed));
    }
}

/** One operation fails and the next ones do not: the old file stays, or the new one is there. */
static void a_fault_leaves_the_old_or_the_new(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 3000, 40000};
    bool done = false;
    for (uint64_t n = 0; !done; n++) {
        fr_os *os = new_disk(n, true);
        assert_ok(save(os, 1, sizes[1]));
        fr_sim_set_faults(os, n, 1);
        fr_status status = save(os, 2, sizes[2]);
        done = fr_sim_operation_count(os) <= n;
        fr_sim_set_faults(os, UINT64_MAX, 0);
        uint64_t version = load(os, sizes);
        assert_true(status == FR_OK ? version == 2 : version == 1 || version == 2);
        fr_sim_free(os);
        assert_true(n < 1000);
    }
}

static void write_file(fr_os *os, fr_slice bytes)
{
    assert_ok(fr_os_write_file_atomic(os, DIR "/state", bytes, NULL));
}

static fr_status try_open(fr_os *os)
{
    fr_loader *loader = NULL;
    fr_digest digest;
    uint64_t seq = 0;
    fr_status status = fr_loader_open(&loader, os, DIR, "state", &seq, &digest, NULL);
    if (status == FR_OK) {
        fr_loader_close(loader);
    }
    return status;
}

static void check_damage(fr_os *os, uint8_t *bytes, size_t size)
{
    for (size_t bit = 0; bit < size * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        write_file(os, fr_slice_of(bytes, size));
        assert_int_equal(try_open(os), FR_CORRUPT);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t cut = 0; cut < size; cut++) {
        write_file(os, fr_slice_of(bytes, cut));
        assert_int_equal(try_open(os), FR_CORRUPT);
    }
    uint8_t *longer = calloc(1, size + 8);
    assert_non_null(longer);
    memcpy(longer, bytes, size);
    for (size_t more = 1; more <= 8; more++) {
        write_file(os, fr_slice_of(longer, size + more));
        assert_int_equal(try_open(os), FR_CORRUPT);
    }
    free(longer);
    write_file(os, fr_slice_of(bytes, size));
    assert_ok(try_open(os));
}

static void every_flipped_bit_is_noticed(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 400};
    for (unsigned i = 0; i < FR_COUNT_OF(sizes); i++) {
        fr_os *os = new_disk(1, true);
        uint8_t *bytes = NULL;
        size_t size = 0;
        assert_ok(save(os, 9, sizes[i]));
        assert_ok(fr_os_read_file(os, DIR "/state", 1 << 20, &bytes, &size, NULL));
        check_damage(os, bytes, size);
        free(bytes);
        fr_sim_free(os);
    }
}

/** A block that is left out or stands in another's place has a good sum of its own: the last one
 *  notices. */
static void blocks_are_counted(void **state)
{
    (void)state;
    enum { BLOCK = 8 + (1 << 20), HEADER = 36 };
    fr_os *os = new_disk(1, true);
    uint8_t *bytes = NULL;
    size_t size = 0;
    assert_ok(save(os, 9, (3 << 20) + 5));
    assert_ok(fr_os_read_file(os, DIR "/state", 8 << 20, &bytes, &size, NULL));
    assert_int_equal(size, HEADER + 3 * BLOCK + 8 + 5 + 8);
    uint8_t *changed = malloc(size);
    assert_non_null(changed);
    memcpy(changed, bytes, HEADER + BLOCK);
    memcpy(changed + HEADER + BLOCK, bytes + HEADER + 2 * BLOCK, size - HEADER - 2 * BLOCK);
    write_file(os, fr_slice_of(changed, size - BLOCK));
    assert_int_equal(try_open(os), FR_CORRUPT);
    memcpy(changed, bytes, size);
    memcpy(changed + HEADER, bytes + HEADER + BLOCK, BLOCK);
    memcpy(changed + HEADER + BLOCK, bytes + HEADER, BLOCK);
    write_file(os, fr_slice_of(changed, size));
    assert_int_equal(try_open(os), FR_CORRUPT);
    free(changed);
    free(bytes);
    fr_sim_free(os);
}

static void an_aborted_file_leaves_no_trace(void **state)
{
    (void)state;
    fr_os *os = new_disk(1, true);
    fr_saver *saver = NULL;
    fr_digest digest = {0};
    static const size_t sizes[] = {0, 10};
    assert_ok(save(os, 1, sizes[1]));
    assert_ok(fr_saver_begin(&saver, os, DIR, "state", 2, &digest, NULL));
    assert_ok(fr_saver_put(saver, "x", 1, NULL));
    fr_saver_abort(saver);
    fr_saver_abort(NULL);
    fr_loader_close(NULL);
    assert_false(fr_os_exists(os, DIR "/state.tmp"));
    assert_int_equal(load(os, sizes), 1);
    fr_sim_free(os);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_of_rows_does_not_matter),
        cmocka_unit_test(a_row_that_goes_is_taken_off),
        cmocka_unit_test(halves_carry),
        cmocka_unit_test(a_digest_is_written_high_half_first),
        cmocka_unit_test(files_of_any_size_come_back),
        cmocka_unit_test(a_crash_leaves_the_old_or_the_new),
        cmocka_unit_test(a_fault_leaves_the_old_or_the_new),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(blocks_are_counted),
        cmocka_unit_test(an_aborted_file_leaves_no_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

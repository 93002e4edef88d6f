// SPDX-License-Identifier: MIT OR Apache-2.0
// Forgeries by the thousand (forge_help.h): the verdict and its code follow from how a file was
// made. Sound files with everything that is tolerated are among them. And every bit of a small
// signed repository counts.
#include "forge_help.h"

/* ---- judging --------------------------------------------------------------------------------- */

typedef struct {
    fr_status status;
    fr_error err;
    uint64_t items, flagged;
    const char *record_code;
} verdict;

static fr_status count_item(void *context, const fr_repo_item *item)
{
    verdict *v = context;
    v->items++;
    if (item->record_code != NULL) {
        v->flagged++;
        v->record_code = item->record_code;
    }
    return FR_OK;
}

static verdict judge(forger *f, fr_slice car, fr_level level)
{
    verdict v = {.status = FR_OK};
    const fr_repo_options options = {
        .level = level, .key = &f->key, .expect_did = FR_SLICE(GROWN_DID), .check_records = true};
    v.status = f->repo == NULL ? fr_repo_open(&f->repo, car, &options, &v.err)
                               : fr_repo_reopen(f->repo, car, &options, &v.err);
    v.status = v.status == FR_OK ? fr_repo_walk(f->repo, count_item, &v, &v.err) : v.status;
    return v;
}

static bool is_one_of(const char *code, const char *codes)
{
    size_t size = code == NULL ? 0 : strlen(code);
    for (const char *at = codes; at != NULL && *at != 0 && size != 0;) {
        size_t part = strcspn(at, "|");
        if (part == size && memcmp(at, code, size) == 0) {
            return true;
        }
        at += part + (at[part] == '|');
    }
    return false;
}

static void check(forger *f, const fault faults[2], uint64_t index)
{
    verdict v = judge(f, fr_buffer_view(&f->car), FR_LEVEL_FULL);
    bool sound = faults[0] == SOUND && faults[1] == SOUND;
    bool only_records = !sound && (is_record_fault(faults[0]) || faults[0] == SOUND) &&
                        (is_record_fault(faults[1]) || faults[1] == SOUND);
    bool fine = sound          ? v.status == FR_OK && v.flagged == 0 && v.items == f->key_count
                : only_records ? v.status == FR_OK && v.flagged == 1 && v.items == f->key_count &&
                                     (is_one_of(v.record_code, CODES[faults[0]]) ||
                                      is_one_of(v.record_code, CODES[faults[1]]))
                               : (v.status == FR_MALFORMED || v.status == FR_LIMIT) &&
                                     (is_one_of(v.err.code, CODES[faults[0]]) ||
                                      is_one_of(v.err.code, CODES[faults[1]])) &&
                                     v.err.offset <= f->car.size;
    if (!fine) {
        fail_msg("file %llu, faults %d and %d: status %d, code %s, offset %llu, record code %s",
                 (unsigned long long)index, faults[0], faults[1], v.status,
                 v.err.code == NULL ? "-" : v.err.code, (unsigned long long)v.err.offset,
                 v.record_code == NULL ? "-" : v.record_code);
    }
}

static void forger_init(forger *f)
{
    *f = (forger){.r = tree_seed()};
    f->nodes = malloc(NODES_MAX * sizeof *f->nodes);
    assert_non_null(f->nodes);
    for (size_t i = 0; i < BLOCKS_MAX; i++) {
        fr_buffer_init(&f->blocks[i], 1 << 16);
    }
    fr_buffer_init(&f->car, 1 << 24);
    fr_buffer_init(&f->scratch, 1 << 16);
}

static void forger_done(forger *f)
{
    for (size_t i = 0; i < BLOCKS_MAX; i++) {
        fr_buffer_done(&f->blocks[i]);
    }
    fr_buffer_done(&f->car);
    fr_buffer_done(&f->scratch);
    fr_repo_close(f->repo);
    free(f->nodes);
}

static void try_faults(forger *f, fault one, fault two, uint64_t index)
{
    const fault faults[2] = {one, two};
    int tries = 0;
    while (!forge(f, faults)) {
        assert_true(++tries < 2000);
    }
    check(f, faults, index);
}

static void test_every_fault(void **state)
{
    (void)state;
    enum { EACH = 100 };
    static forger f;
    forger_init(&f);
    for (uint64_t i = 0; i < EACH * FAULTS; i++) {
        try_faults(&f, (fault)(i % FAULTS), SOUND, i);
    }
    forger_done(&f);
}

/* Of faults in two parts of the file one is named. */
static void test_two_faults(void **state)
{
    (void)state;
    static forger f;
    static const fault PARTS[][2] = {{ENTRY_NO_T, TREE_WRONG_LAYER},
                                     {COMMIT_VERSION, COMMIT_SIG_OTHER_BYTES},
                                     {CAR_SECTION_ZERO, CAR_FALSE_COPY},
                                     {RECORD_INDEFINITE, FAULTS - 1}};
    forger_init(&f);
    for (uint64_t i = 0; i < 5000; i++) {
        size_t a = below(&f.r.state, FR_COUNT_OF(PARTS)), b = (a + 1 + below(&f.r.state, 3)) % 4;
        fault one = PARTS[a][0] + (fault)below(&f.r.state, PARTS[a][1] - PARTS[a][0] + 1);
        fault two = PARTS[b][0] + (fault)below(&f.r.state, PARTS[b][1] - PARTS[b][0] + 1);
        try_faults(&f, one, two, i);
    }
    forger_done(&f);
}

/* With a key, at level full, no bit of a signed repository can change, and no byte be missing. */
static void test_every_bit(void **state)
{
    (void)state;
    static forger f;
    for (int curve = 0; curve < 2; curve++) {
        grown g;
        forger_init(&f);
        grown_init(&g);
        f.secret = (fr_secret_key){.curve = curve == 0 ? FR_CURVE_K256 : FR_CURVE_P256,
                                   .scalar = {[31] = 11}};
        assert_int_equal(fr_public_key_of_secret(&f.secret, &f.key, NULL), FR_OK);
        grown_fill(&g, &f.r, 6);
        fr_slice car = grown_car(&g, &f.secret);
        assert_int_equal(judge(&f, car, FR_LEVEL_FULL).status, FR_OK);
        for (size_t bit = 0; bit < 8 * car.size; bit++) {
            g.car.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            if (judge(&f, car, FR_LEVEL_FULL).status == FR_OK) {
                fail_msg("curve %d: bit %zu of byte %zu may be changed", curve, bit % 8, bit / 8);
            }
            g.car.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        }
        for (size_t size = 0; size < car.size; size++) {
            assert_int_not_equal(judge(&f, fr_slice_of(car.data, size), FR_LEVEL_FULL).status,
                                 FR_OK);
        }
        grown_done(&g);
        forger_done(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_fault),
        cmocka_unit_test(test_two_faults),
        cmocka_unit_test(test_every_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

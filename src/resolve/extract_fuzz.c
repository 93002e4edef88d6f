// SPDX-License-Identifier: MIT OR Apache-2.0
// Arbitrary bytes as a string: the normal form of a normal form is itself, but for one case. As a
// record: no harm from bytes that are none, and one list from DAG-CBOR, from its JSON, and from
// JSON that was JSON to begin with; targets are normal, no pair is there twice.
#include <fr/cbor.h>
#include <fr/extract.h>

#include <stdlib.h>
#include <strings.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    fr_extractor *extractor;
    fr_json *json;
    fr_buffer list, again, text, cbor;
} fuzz;

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

// An authority "DID:" with an escape is lowered as a whole, and is one of those that are left alone
// then (link_text.c).
static bool is_lowered_did(fr_slice normal)
{
    return fr_slice_starts_with(normal, FR_SLICE("at://did:")) &&
           fr_slice_find(normal, '%') < normal.size;
}

static bool is_equal_but_for_case(fr_slice a, fr_slice b)
{
    return a.size == b.size && strncasecmp((const char *)a.data, (const char *)b.data, a.size) == 0;
}

static void classify(fuzz *f, fr_slice in)
{
    fr_buffer_reset(&f->list);
    fr_buffer_reset(&f->again);
    fr_link_kind kind = fr_link_classify(in, &f->list);
    require((kind == FR_LINK_NONE) == (f->list.size == 0));
    if (kind == FR_LINK_NONE) {
        return;
    }
    fr_slice normal = fr_buffer_view(&f->list);
    fr_link_kind second = fr_link_classify(normal, &f->again);
    // The kind may change from URI: DID:plc:x is one, its normal form is a DID.
    require(second == kind || (kind == FR_LINK_URI && second != FR_LINK_NONE));
    require(fr_slice_equal(normal, fr_buffer_view(&f->again)) ||
            (is_lowered_did(normal) && is_equal_but_for_case(normal, fr_buffer_view(&f->again))));
}

static void put_u64(fr_buffer *out, uint64_t value)
{
    fr_buffer_append(out, &value, sizeof value);
}

static void put_list(fr_buffer *out, const fr_link_text *links, size_t count, uint64_t dropped)
{
    fr_buffer_reset(out);
    put_u64(out, count);
    put_u64(out, dropped);
    for (size_t i = 0; i < count; i++) {
        put_u64(out, links[i].path.size);
        fr_buffer_slice(out, links[i].path);
        put_u64(out, links[i].target.size);
        fr_buffer_slice(out, links[i].target);
        for (size_t k = 0; k < i && k < 64; k++) {
            require(!fr_slice_equal(links[i].path, links[k].path) ||
                    !fr_slice_equal(links[i].target, links[k].target));
        }
    }
    require(!out->failed);
}

static void extract_cbor(fuzz *f, fr_slice in, fr_buffer *out)
{
    const fr_link_text *links;
    size_t count;
    uint64_t dropped;
    require(fr_extract_cbor(f->extractor, in, &links, &count, &dropped, NULL) == FR_OK);
    put_list(out, links, count, dropped);
}

static void extract_json(fuzz *f, fr_json_value v, fr_buffer *out)
{
    const fr_link_text *links;
    size_t count;
    uint64_t dropped;
    require(fr_extract_json(f->extractor, v, &links, &count, &dropped, NULL) == FR_OK);
    put_list(out, links, count, dropped);
}

static void record_in_cbor(fuzz *f, fr_slice in)
{
    const fr_cbor_check_options options = {.flags = FR_CBOR_DRISL_NUMBERS, .depth_max = 300};
    const fr_link_text *links;
    size_t count;
    uint64_t dropped;
    fr_json_value v;
    if (fr_cbor_check(in, &options, NULL) != FR_OK) {
        (void)!fr_extract_cbor(f->extractor, in, &links, &count, &dropped, NULL);
        return;
    }
    extract_cbor(f, in, &f->list);
    fr_buffer_reset(&f->text);
    if (fr_cbor_to_json(in, &f->text, NULL) == FR_OK) {
        require(fr_json_parse(f->json, fr_buffer_view(&f->text), false, &v, NULL) == FR_OK);
        extract_json(f, v, &f->again);
        require(fr_slice_equal(fr_buffer_view(&f->list), fr_buffer_view(&f->again)));
    }
}

static void record_in_json(fuzz *f, fr_slice in)
{
    fr_json_value v;
    if (fr_json_parse(f->json, in, false, &v, NULL) != FR_OK) {
        return;
    }
    extract_json(f, v, &f->list);
    fr_buffer_reset(&f->cbor);
    if (fr_json_to_cbor(v, FR_JSON_DEPTH_MAX, &f->cbor, NULL) == FR_OK) {
        extract_cbor(f, fr_buffer_view(&f->cbor), &f->again);
        require(fr_slice_equal(fr_buffer_view(&f->list), fr_buffer_view(&f->again)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static fuzz f;
    if (f.extractor == NULL) {
        fr_buffer *const all[] = {&f.list, &f.again, &f.text, &f.cbor};
        for (size_t i = 0; i < FR_COUNT_OF(all); i++) {
            fr_buffer_init(all[i], 64 << 20);
        }
        if (fr_extractor_new(&f.extractor, NULL) != FR_OK || fr_json_new(&f.json, NULL) != FR_OK) {
            return 0;
        }
    }
    fr_slice in = fr_slice_of(data, size);
    classify(&f, in);
    record_in_cbor(&f, in);
    record_in_json(&f, in);
    return 0;
}

// SPDX-License-Identifier: MIT OR Apache-2.0
// The names that unpack gives to keys and pack reads back: DIR/collection/rkey.json. They have an
// alphabet of their own: all but letters, digits and "-._:~" is %XX, as is a dot in front; a name
// too long for a folder goes on in a folder whose name ends in %. So no key leads out of DIR, and
// each name leads back to one key.
#include "repo.h"

#include <string.h>

#define CHUNK_BYTES 200 /* of a name, escaped; file systems take 255 */

static bool is_plain(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= 'a' && byte <= 'z') || (byte != 0 && strchr("-._:~", byte) != NULL);
}

static void put_name(fr_buffer *out, fr_slice part)
{
    size_t chunk = out->size;
    for (size_t i = 0; i < part.size; i++) {
        if (out->size - chunk >= CHUNK_BYTES) {
            fr_buffer_text(out, "%/");
            chunk = out->size;
        }
        uint8_t byte = part.data[i];
        bool hides = byte == '.' && out->size == chunk;
        if (is_plain(byte) && !hides) {
            fr_buffer_byte(out, byte);
        } else {
            fr_buffer_printf(out, "%%%02X", byte);
        }
    }
}

/* A key that does not begin with a collection, which any_key allows, is one name, and then no
 * folder may have the name of such a file. */
void repo_put_path(fr_buffer *out, const char *dir, fr_slice key, bool any_key)
{
    size_t slash = fr_slice_find(key, '/');
    fr_buffer_reset(out);
    fr_buffer_text(out, dir);
    fr_buffer_byte(out, '/');
    if (slash > 0 && slash < key.size) {
        bool like_a_file = any_key && slash >= 5 && memcmp(key.data + slash - 5, ".json", 5) == 0;
        put_name(out, fr_slice_sub(key, 0, like_a_file ? slash - 5 : slash));
        fr_buffer_text(out, like_a_file ? "%2Ejson/" : "/");
        key = fr_slice_from(key, slash + 1);
    }
    put_name(out, key);
    fr_buffer_text(out, ".json");
    fr_buffer_byte(out, 0);
}

static int hex_of(char letter)
{
    const char *digits = "0123456789ABCDEF";
    const char *at = letter == 0 ? NULL : strchr(digits, letter);
    return at == NULL ? -1 : (int)(at - digits);
}

bool repo_key_of_path(const char *path, fr_buffer *key)
{
    size_t size = strlen(path);
    fr_buffer_reset(key);
    if (size < 5 || strcmp(path + size - 5, ".json") != 0) {
        return false;
    }
    for (const char *at = path; at < path + size - 5; at++) {
        if (at[0] == '%' && at[1] == '/') {
            at++;
        } else if (at[0] == '%') {
            int high = hex_of(at[1]), low = high < 0 ? -1 : hex_of(at[2]);
            if (low < 0) {
                return false;
            }
            fr_buffer_byte(key, (uint8_t)(high << 4 | low));
            at += 2;
        } else {
            fr_buffer_byte(key, (uint8_t)*at);
        }
    }
    return true;
}

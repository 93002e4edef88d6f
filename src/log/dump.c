// SPDX-License-Identifier: MIT OR Apache-2.0
#include <fr/log.h>

#include <stdio.h>

#define LINE_BYTES_MAX (16u << 20) /* of an event with a body of FR_EVENT_BODY_MAX_BYTES, escaped */

static bool is_wanted(const fr_log_dump_options *what, const fr_event *event)
{
    return event->time_us >= what->since_us &&
           (what->until_us == 0 || event->time_us < what->until_us);
}

static bool is_stopped(const fr_log_dump_options *what)
{
    return what->stop != NULL &&
           __atomic_load_n(what->stop, __ATOMIC_RELAXED); /* a wish, orders nothing */
}

static fr_status put_lines(fr_log_reader *reader, const fr_log_dump_options *what, fr_buffer *text,
                           fr_error *err)
{
    bool more = true;
    uint64_t done = 0;
    while (more && (what->count == 0 || done < what->count) && !is_stopped(what)) {
        fr_event event;
        fr_status status = fr_log_reader_next(reader, false, &event, err);
        if (status != FR_OK) {
            return status == FR_END ? FR_OK : status;
        }
        if (is_wanted(what, &event)) {
            fr_buffer_reset(text);
            FR_TRY(fr_event_to_json(&event, text, err));
            more = what->line(what->context, fr_buffer_view(text));
            done++;
        }
    }
    return FR_OK;
}

/* Nothing is told of a log that lacks its beginning by damage; where that lies in an archive that
 * is away, all the rest is told first. */
static fr_status put_log(fr_log_reader *reader, const fr_log_dump_options *what, fr_buffer *text,
                         fr_error *err)
{
    fr_error why = {0};
    fr_status begins = what->from_seq == 0 ? fr_log_reader_judge_beginning(reader, &why) : FR_OK;
    fr_status status = begins == FR_CORRUPT ? FR_OK : put_lines(reader, what, text, err);
    if (status == FR_NOT_FOUND && begins == FR_OK) {
        begins = fr_log_reader_judge_beginning(reader, &why);
    }
    if (begins == FR_OK || (status != FR_OK && status != FR_NOT_FOUND)) {
        return status;
    }
    if (err != NULL) {
        *err = why;
    }
    return begins;
}

fr_status fr_log_dump(fr_os *os, const char *dir, const fr_log_dump_options *what,
                      char place[FR_PATH_MAX + 32], fr_error *err)
{
    fr_cleanup(fr_buffer_done) fr_buffer text;
    fr_log_reader *reader = NULL;
    uint64_t from_seq = what->from_seq;
    fr_buffer_init(&text, LINE_BYTES_MAX);
    place[0] = '\0';
    if (what->since_us != 0 && from_seq == 0) {
        FR_TRY(fr_log_seq_of_time(os, dir, what->since_us, &from_seq, place, err));
    }
    FR_TRY(fr_log_reader_open(&reader, os, dir, from_seq, err));
    fr_status status = put_log(reader, what, &text, err);
    if (status == FR_CORRUPT) {
        snprintf(place, FR_PATH_MAX + 32, "%s", fr_log_reader_place(reader));
    }
    fr_log_reader_close(reader);
    return status;
}

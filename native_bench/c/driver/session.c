#include "driver.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LATE_NS_MIN (NS_PER_SECOND / 1000)
/* After an error, before the session speaks again in the closed loop. */
#define PAUSE_NS (NS_PER_SECOND / 10)

static void send_message(struct driver *driver, struct session *session)
{
    wire_add(driver, WS_TEXT, (struct slice) {driver->message.data, driver->message.size});
    wire_flush(driver, &session->link);
}

void session_greet(struct driver *driver, struct session *session)
{
    uint32_t language = session->link.number % driver->options.languages;

    session->language[0] = (char) ('a' + language / 26);
    session->language[1] = (char) ('a' + language % 26);
    driver->message.size = 0;
    buffer_print(&driver->message,
                 "{\"type\":\"session_init\",\"client_version\":\"1\",\"platform\":\"api-gateway\","
                 "\"src_lang\":\"en\",\"tgt_lang\":\"%.2s\"}",
                 session->language);
    send_message(driver, session);
}

static void begin(struct driver *driver, struct session *session, struct slice id)
{
    if (id.size == 0 || id.size > ID_CHARS_MAX) {
        die("session %" PRIu32 ": an id of %zu characters", session->link.number, id.size);
    }
    memcpy(session->id_chars, id.data, id.size);
    session->id = (struct slice) {session->id_chars, id.size};
    table_add(&driver->session_table, session->id, session->link.number);
    session->link.state = LINK_READY;
    driver->opening--;
    driver->sessions_ready++;
}

/* --- what it says ------------------------------------------------------------------------ */

void session_speak(struct driver *driver, struct session *session, int64_t planned_ns)
{
    struct buffer *message = &driver->message;
    struct utterance *utterance;
    int64_t now;

    if (session->link.state != LINK_READY) {
        return;
    }
    message->size = 0;
    if (driver->options.relay) {
        /* Always the same node: over several ways utterances would overtake each other. */
        buffer_add_slice(message,
                         driver->nodes[session->link.number % driver->options.nodes].id);
    }
    buffer_print(message,
                 "{\"type\":\"utterance\",\"session_id\":\"%.*s\",\"utterance_index\":%" PRIu64
                 ",\"manual_cut\":true,\"src_lang\":\"en\",\"tgt_lang\":\"%.2s\",\"audio\":\"",
                 (int) session->id.size, session->id.data, session->ledger.next,
                 session->language);
    buffer_add_slice(message, speech_say(&driver->speech, session->link.number,
                                         session->ledger.next));
    buffer_print(message, "\",\"audio_format\":\"pcm16\",\"sample_rate\":16000}");
    wire_add(driver, WS_TEXT, (struct slice) {message->data, message->size});
    now = now_ns();
    utterance = ledger_open(&session->ledger);
    utterance->planned_ns = planned_ns;
    utterance->submit_ns = now;
    driver->counts.late_sends += now - planned_ns > LATE_NS_MIN;
    driver->counts.submitted++;
    driver->open++;
    wire_flush(driver, &session->link);
}

void session_beat(struct driver *driver, struct session *session)
{
    if (session->link.state != LINK_READY) {
        return;
    }
    driver->message.size = 0;
    buffer_print(&driver->message,
                 "{\"type\":\"client_heartbeat\",\"session_id\":\"%.*s\",\"timestamp\":%lld}",
                 (int) session->id.size, session->id.data, (long long) time(NULL) * 1000);
    send_message(driver, session);
}

void session_close(struct driver *driver, struct session *session)
{
    driver->message.size = 0;
    buffer_print(&driver->message,
                 "{\"type\":\"session_close\",\"session_id\":\"%.*s\",\"reason\":\"done\"}",
                 (int) session->id.size, session->id.data);
    send_message(driver, session);
}

/* --- what it hears ----------------------------------------------------------------------- */

static void record(struct driver *driver, const struct utterance *utterance, int64_t now)
{
    struct counts *counts = &driver->counts;

    counts->answered++;
    counts->jobs += now >= driver->from_ns && now < driver->until_ns;
    driver->open--;
    driver->answered_ns = now;
    if (utterance->planned_ns < driver->from_ns || utterance->planned_ns >= driver->until_ns) {
        return;
    }
    histogram_record(&counts->submit_to_reply, now - utterance->submit_ns);
    histogram_record(&counts->planned_to_reply, now - utterance->planned_ns);
    if (utterance->result_ns > 0) {
        histogram_record(&counts->result_to_reply, now - utterance->result_ns);
    }
}

/* Whether both texts and the speech are those that a node makes of the utterance. */
static bool is_for(struct driver *driver, const struct session *session, uint64_t index,
                   const struct message *result)
{
    uint64_t checksum = speech_expected(&driver->speech, session->link.number, index);
    struct slice expected;

    driver->identity.size = 0;
    speech_print_identity(&driver->identity, session->id, index, checksum);
    expected = (struct slice) {driver->identity.data, driver->identity.size};
    return slices_equal(result->text_asr, expected)
           && slices_equal(result->text_translated, expected)
           && speech_checksum(result->tts_audio) == checksum;
}

/* Whether nothing else has answered that utterance; an answer that is wrong is counted. */
static bool is_first_answer(struct driver *driver, struct session *session, uint64_t index,
                            bool failed)
{
    switch (ledger_answer(&session->ledger, index, failed)) {
    case IN_ORDER:
        return true;
    case OUT_OF_ORDER:
        driver->counts.out_of_order += !failed;
        return true;
    case REPEATED:
        driver->counts.duplicated++;
        return false;
    case LATE:
        driver->counts.late++;
        return false;
    case NEVER_ASKED:
        driver->counts.crossed++;
        return false;
    }
    return false;
}

static void take_result(struct driver *driver, struct session *session,
                        const struct message *result, int64_t now)
{
    int64_t index = json_number(result->utterance_index);
    const struct utterance *found;
    struct utterance utterance = {0};

    if (index < 0 || !slices_equal(result->session_id, session->id)) {
        driver->counts.crossed++;
        return;
    }
    driver->counts.crossed += !is_for(driver, session, (uint64_t) index, result);
    found = ledger_find(&session->ledger, (uint64_t) index);
    if (found != NULL) {
        utterance = *found;
    }
    if (!is_first_answer(driver, session, (uint64_t) index, false)) {
        return;
    }
    record(driver, &utterance, now);
    if (driver->speaking) {
        session_speak(driver, session, now_ns());
    }
}

/* Which utterance an error is the answer of; -1: of none. */
static int64_t utterance_of(struct slice details)
{
    struct json json;
    struct slice key, value;

    if (details.size == 0 || !json_open(&json, details)) {
        return -1;
    }
    while (json_next(&json, &key, &value)) {
        if (slice_is(key, "utterance_index")) {
            return json_number(value);
        }
    }
    return -1;
}

static void take_error(struct driver *driver, struct session *session, const struct message *error,
                       int64_t now)
{
    int64_t index = utterance_of(error->details);

    if (session->link.state != LINK_READY) {
        die("session %" PRIu32 ": %.*s: %.*s", session->link.number, (int) error->code.size,
            error->code.data, (int) error->message.size, error->message.data);
    }
    counts_add_error(&driver->counts, error->code);
    if (index < 0) {
        return;
    }
    if (!is_first_answer(driver, session, (uint64_t) index, true)) {
        return;
    }
    driver->counts.failed++;
    driver->open--;
    driver->answered_ns = now;
    if (driver->speaking) {
        timers_add(&driver->timers, (struct timer) {
            .due_ns = now + PAUSE_NS,
            .kind = TIMER_SPEAK,
            .session = session->link.number,
        });
    }
}

static void take_address(struct driver *driver, struct session *session, struct slice address)
{
    char id[ID_CHARS_MAX];
    int size;

    if (address.size != ADDRESS_CHARS) {
        die("session %" PRIu32 ": a number of %zu digits", session->link.number, address.size);
    }
    size = snprintf(id, sizeof id, "sess-%.*s", ADDRESS_CHARS, address.data);
    session->language[0] = session->language[1] = 'a';
    begin(driver, session, (struct slice) {id, (size_t) size});
}

void session_take(struct driver *driver, struct session *session, struct slice text, int64_t now)
{
    const char *result = driver->options.relay ? "job_result" : "translation_result";
    struct message message;

    if (driver->options.relay && session->link.state == LINK_GREETING) {
        take_address(driver, session, text);
        return;
    }
    if (!message_read(text, &message)) {
        die("session %" PRIu32 ": no message: %.*s", session->link.number, (int) text.size,
            text.data);
    }
    if (slice_is(message.type, result)) {
        take_result(driver, session, &message, now);
    } else if (slice_is(message.type, "error")) {
        take_error(driver, session, &message, now);
    } else if (slice_is(message.type, "session_init_ack")
               && session->link.state == LINK_GREETING) {
        begin(driver, session, message.session_id);
    }
}

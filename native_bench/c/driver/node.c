#include "driver.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

/* Written at a time when one read brings many jobs. */
#define BATCH_BYTES (256u << 10)

static const char services[] =
    "[{\"service_id\":\"node-inference\",\"version\":\"1\",\"platform\":\"linux\"},"
    "{\"service_id\":\"nmt-m2m100\",\"version\":\"1\",\"platform\":\"linux\"},"
    "{\"service_id\":\"piper-tts\",\"version\":\"1\",\"platform\":\"linux\"}]";

static void add_message(struct driver *driver)
{
    wire_add(driver, WS_TEXT, (struct slice) {driver->message.data, driver->message.size});
}

void node_greet(struct driver *driver, struct node *node)
{
    struct buffer *message = &driver->message;

    message->size = 0;
    buffer_print(message,
                 "{\"type\":\"node_register\",\"version\":\"1\",\"platform\":\"linux\","
                 "\"hardware\":{\"cpu_cores\":8,\"memory_gb\":16,"
                 "\"gpus\":[{\"name\":\"bench\",\"memory_gb\":8}]},"
                 "\"features_supported\":{},\"accept_public_jobs\":true,"
                 "\"max_concurrent_jobs\":%" PRIu32 ",\"name\":\"bench-%" PRIu32 "\","
                 "\"installed_services\":%s,\"installed_models\":[",
                 driver->options.node_slots, node->link.number, services);
    for (uint32_t i = 0; i < driver->options.languages; i++) {
        buffer_print(message,
                     "%s{\"model_id\":\"nmt-%" PRIu32 "\",\"kind\":\"nmt\",\"version\":\"1\","
                     "\"src_lang\":\"en\",\"tgt_lang\":\"%c%c\"}",
                     i ? "," : "", i, (char) ('a' + i / 26), (char) ('a' + i % 26));
    }
    buffer_print(message, "]}");
    add_message(driver);
    wire_flush(driver, &node->link);
}

void node_beat(struct driver *driver, struct node *node)
{
    if (node->link.state != LINK_WAITING && node->link.state != LINK_READY) {
        return;
    }
    driver->message.size = 0;
    buffer_print(&driver->message,
                 "{\"type\":\"node_heartbeat\",\"node_id\":\"%.*s\",\"timestamp\":%lld,"
                 "\"resource_usage\":{\"cpu_percent\":10,\"gpu_percent\":10,"
                 "\"gpu_mem_percent\":10,\"mem_percent\":30,\"running_jobs\":%" PRIu32 "}}",
                 (int) node->id.size, node->id.data, (long long) time(NULL) * 1000, node->running);
    add_message(driver);
    wire_flush(driver, &node->link);
}

/* --- jobs -------------------------------------------------------------------------------- */

/* Check an assignment against what its session said; return the utterance if it is open. */
static struct utterance *check(struct driver *driver, const struct session *session,
                               uint64_t index, struct slice audio, uint64_t checksum)
{
    if (session == NULL || index >= session->ledger.next) {
        driver->counts.crossed++;
        return NULL;
    }
    driver->counts.wrong_audio +=
        audio.size != driver->speech.size
        || checksum != speech_expected(&driver->speech, session->link.number, index);
    return ledger_find(&session->ledger, index);
}

static void note_assign(struct driver *driver, struct utterance *utterance, int64_t attempt,
                        int64_t now)
{
    if (attempt > 1) {
        driver->counts.retried++;
    } else if (utterance->assign_ns > 0) {
        driver->counts.assigned_twice++;
    } else if (utterance->planned_ns >= driver->from_ns
               && utterance->planned_ns < driver->until_ns) {
        histogram_record(&driver->counts.submit_to_assign, now - utterance->submit_ns);
    }
    utterance->assign_ns = now;
}

static void print_result(struct driver *driver, const struct node *node, struct slice to,
                         const struct message *assign, int64_t attempt, uint64_t checksum)
{
    struct slice session_id = assign->session_id;
    int64_t index = json_number(assign->utterance_index);
    struct buffer *message = &driver->message;

    driver->identity.size = 0;
    speech_print_identity(&driver->identity, session_id, (uint64_t) index, checksum);
    message->size = 0;
    buffer_add_slice(message, to);
    buffer_print(message,
                 "{\"type\":\"job_result\",\"job_id\":\"%.*s\",\"attempt_id\":%" PRId64
                 ",\"node_id\":\"%.*s\",\"session_id\":\"%.*s\",\"utterance_index\":%" PRId64
                 ",\"success\":true,\"text_asr\":\"%.*s\",\"text_translated\":\"%.*s\","
                 "\"trace_id\":\"%.*s\",\"tts_format\":\"pcm16\",\"tts_audio\":\"",
                 (int) assign->job_id.size, assign->job_id.data, attempt, (int) node->id.size,
                 node->id.data, (int) session_id.size, session_id.data, index,
                 (int) driver->identity.size, driver->identity.data, (int) driver->identity.size,
                 driver->identity.data, (int) assign->trace_id.size, assign->trace_id.data);
    buffer_add_slice(message, assign->audio);
    buffer_print(message, "\"}");
}

static void note_result(struct driver *driver, uint32_t session, uint64_t index, int64_t now)
{
    struct utterance *utterance = ledger_find(&driver->sessions[session].ledger, index);

    if (utterance == NULL || utterance->assign_ns == 0) {
        return;
    }
    utterance->result_ns = now;
    if (utterance->planned_ns >= driver->from_ns && utterance->planned_ns < driver->until_ns) {
        histogram_record(&driver->counts.assign_to_result_out, now - utterance->assign_ns);
    }
}

void node_flush(struct driver *driver, struct node *node)
{
    int64_t now = driver->results_count > 0 ? now_ns() : 0;

    for (size_t i = 0; i < driver->results_count; i++) {
        note_result(driver, driver->results[i].session, driver->results[i].utterance, now);
    }
    driver->results_count = 0;
    wire_flush(driver, &node->link);
}

static void add_result(struct driver *driver, struct node *node, const struct session *session,
                       uint64_t index)
{
    if (session != NULL) {
        if (driver->results_count == driver->results_room) {
            driver->results_room = driver->results_room ? 2 * driver->results_room : 64;
            driver->results = reallocate(driver->results, driver->results_room,
                                         sizeof *driver->results);
        }
        driver->results[driver->results_count++] =
            (struct result_out) {session->link.number, index};
    }
    add_message(driver);
    if (driver->frames.size > BATCH_BYTES) {
        node_flush(driver, node);
    }
}

/* Keep the result until it is due. */
static void delay_result(struct driver *driver, struct node *node, const struct session *session,
                         uint64_t index, int64_t now)
{
    double jitter = random_unit(&driver->random) * (double) driver->options.node_jitter_ns;
    struct timer timer = {
        .due_ns = now + driver->options.node_delay_ns + (int64_t) jitter,
        .kind = TIMER_RESULT,
        .node = node->link.number,
        .session = session != NULL ? session->link.number : UINT32_MAX,
        .utterance = index,
    };

    buffer_add(&timer.message, driver->message.data, driver->message.size);
    timers_add(&driver->timers, timer);
    node->running++;
}

void node_send_due(struct driver *driver, struct timer *timer)
{
    struct node *node = &driver->nodes[timer->node];

    node->running--;
    if (node->link.state == LINK_READY) {
        if (timer->session != UINT32_MAX) {
            note_result(driver, timer->session, timer->utterance, now_ns());
        }
        wire_add(driver, WS_TEXT, (struct slice) {timer->message.data, timer->message.size});
        wire_flush(driver, &node->link);
    }
    buffer_free(&timer->message);
}

static void take_assign(struct driver *driver, struct node *node, struct slice from,
                        const struct message *assign, int64_t now)
{
    uint32_t found = table_find(&driver->session_table, assign->session_id);
    const struct session *session = found == TABLE_NONE ? NULL : &driver->sessions[found];
    int64_t number = json_number(assign->utterance_index);
    uint64_t index = (uint64_t) (number < 0 ? INT64_MAX : number);
    uint64_t checksum = speech_checksum(assign->audio);
    int64_t attempt = driver->options.relay ? 1 : json_number(assign->attempt_id);
    struct utterance *utterance = check(driver, session, index, assign->audio, checksum);

    if (utterance != NULL) {
        note_assign(driver, utterance, attempt, now);
    }
    print_result(driver, node, from, assign, attempt, checksum);
    if (driver->options.node_delay_ns + driver->options.node_jitter_ns > 0) {
        delay_result(driver, node, session, index, now);
    } else {
        add_result(driver, node, session, index);
    }
}

/* --- the rest ---------------------------------------------------------------------------- */

static void set_id(struct node *node, struct slice id)
{
    if (id.size == 0 || id.size > ID_CHARS_MAX) {
        die("node %" PRIu32 ": an id of %zu characters", node->link.number, id.size);
    }
    memcpy(node->id_chars, id.data, id.size);
    node->id = (struct slice) {node->id_chars, id.size};
}

static void take_relayed(struct driver *driver, struct node *node, struct slice text, int64_t now)
{
    struct slice from = {text.data, ADDRESS_CHARS};
    struct message message;

    if (text.size < ADDRESS_CHARS) {
        die("node %" PRIu32 ": a message of %zu characters", node->link.number, text.size);
    }
    if (node->link.state == LINK_GREETING) {
        set_id(node, text);
        node->link.state = LINK_READY;
        driver->opening--;
        driver->nodes_ready++;
        return;
    }
    text.data += ADDRESS_CHARS;
    text.size -= ADDRESS_CHARS;
    if (!message_read(text, &message)) {
        die("node %" PRIu32 ": no message: %.*s", node->link.number, (int) text.size, text.data);
    }
    /* The relay makes no job of an utterance: what a scheduler would add is made up, in size. */
    message.job_id = (struct slice) {"job-000000000000000000", 22};
    message.trace_id = (struct slice) {"00000000-0000-0000-0000-000000000000", 36};
    take_assign(driver, node, from, &message, now);
}

static void take_error(struct driver *driver, struct node *node, const struct message *error)
{
    if (node->link.state == LINK_GREETING) {
        die("node %" PRIu32 ": %.*s: %.*s", node->link.number, (int) error->code.size,
            error->code.data, (int) error->message.size, error->message.data);
    }
    counts_add_error(&driver->counts, error->code);
}

void node_take(struct driver *driver, struct node *node, struct slice text, int64_t now)
{
    struct message message;

    if (driver->options.relay) {
        take_relayed(driver, node, text, now);
        return;
    }
    if (!message_read(text, &message)) {
        die("node %" PRIu32 ": no message: %.*s", node->link.number, (int) text.size, text.data);
    }
    if (slice_is(message.type, "job_assign")) {
        take_assign(driver, node, (struct slice) {"", 0}, &message, now);
    } else if (slice_is(message.type, "job_cancel")) {
        driver->counts.cancelled++;
    } else if (slice_is(message.type, "error")) {
        take_error(driver, node, &message);
    } else if (slice_is(message.type, "node_register_ack") && node->link.state == LINK_GREETING) {
        set_id(node, message.node_id);
        node->link.state = LINK_WAITING;
        driver->opening--;
        node_beat(driver, node);
    } else if (slice_is(message.type, "node_status") && slice_is(message.status, "ready")
               && node->link.state == LINK_WAITING) {
        node->link.state = LINK_READY;
        driver->nodes_ready++;
    }
}

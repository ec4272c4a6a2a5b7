#include "counts.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

static const char others[] = "OTHER";

void counts_add_error(struct counts *counts, struct slice code)
{
    char name[CODE_CHARS_MAX + 1] = {0};
    struct code *found;

    for (size_t i = 0; i < code.size && i < CODE_CHARS_MAX; i++) {
        name[i] = isalnum((unsigned char) code.data[i]) ? code.data[i] : '_';
    }
    for (found = counts->errors; found < counts->errors + CODES_MAX - 1; found++) {
        if (found->count == 0 || strcmp(found->name, name) == 0) {
            break;
        }
    }
    memcpy(found->name, found < counts->errors + CODES_MAX - 1 ? name : others,
           found < counts->errors + CODES_MAX - 1 ? sizeof name : sizeof others);
    found->count++;
}

static void print_errors(const struct counts *counts, struct buffer *out)
{
    const char *separator = "";

    buffer_print(out, ",\"errors\":{");
    for (int i = 0; i < CODES_MAX && counts->errors[i].count > 0; i++) {
        buffer_print(out, "%s\"%s\":%" PRIu64, separator, counts->errors[i].name,
                     counts->errors[i].count);
        separator = ",";
    }
    buffer_print(out, "}");
}

void counts_print(const struct counts *counts, double seconds, double cpu, bool open_loop,
                  struct buffer *out)
{
    const struct {
        const char *name;
        uint64_t count;
    } fields[] = {
        {"submitted", counts->submitted},
        {"answered", counts->answered},
        {"failed", counts->failed},
        {"lost", counts->lost},
        {"late", counts->late},
        {"duplicated", counts->duplicated},
        {"out_of_order", counts->out_of_order},
        {"crossed", counts->crossed},
        {"wrong_audio", counts->wrong_audio},
        {"assigned_twice", counts->assigned_twice},
        {"retried", counts->retried},
        {"cancelled", counts->cancelled},
        {"late_sends", counts->late_sends},
        {"closed", counts->closed},
    };
    const struct {
        const char *name;
        const struct histogram *times;
    } stages[] = {
        {"submit_to_assign", &counts->submit_to_assign},
        {"assign_to_result_out", &counts->assign_to_result_out},
        {"result_to_reply", &counts->result_to_reply},
        {"submit_to_reply", &counts->submit_to_reply},
        {"planned_to_reply", &counts->planned_to_reply},
    };
    size_t shown = sizeof stages / sizeof *stages - (open_loop ? 0 : 1);

    buffer_print(out, "{\"jobs\":%" PRIu64, counts->jobs);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        buffer_print(out, ",\"%s\":%" PRIu64, fields[i].name, fields[i].count);
    }
    print_errors(counts, out);
    buffer_print(out, ",\"seconds\":%.6f,\"cpu_seconds\":%.6f,\"latency_ns\":{", seconds, cpu);
    for (size_t i = 0; i < shown; i++) {
        buffer_print(out, "%s\"%s\":", i ? "," : "", stages[i].name);
        histogram_print(stages[i].times, out);
    }
    buffer_print(out, "}}\n");
}

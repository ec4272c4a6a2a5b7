#include "table.h"

static uint32_t hash_of(struct slice id)
{
    uint64_t hash = 0xcbf29ce484222325; /* FNV-1a */

    for (size_t i = 0; i < id.size; i++) {
        hash = (hash ^ (uint8_t) id.data[i]) * 0x100000001b3;
    }
    return (uint32_t) (hash ^ hash >> 32);
}

/* Where the id is, or would be. */
static struct table_entry *place_of(const struct table *table, struct slice id)
{
    uint32_t at = hash_of(id) & table->mask;

    while (table->entries[at].id.size > 0 && !slices_equal(table->entries[at].id, id)) {
        at = (at + 1) & table->mask;
    }
    return &table->entries[at];
}

void table_init(struct table *table, uint32_t count)
{
    uint32_t room = 2;

    while (room < 2 * count) {
        room *= 2;
    }
    table->entries = allocate(room, sizeof *table->entries);
    table->mask = room - 1;
}

void table_add(struct table *table, struct slice id, uint32_t number)
{
    struct table_entry *place = place_of(table, id);

    if (place->id.size > 0) {
        die("two have the id %.*s", (int) id.size, id.data);
    }
    *place = (struct table_entry) {id, number};
}

uint32_t table_find(const struct table *table, struct slice id)
{
    const struct table_entry *place = place_of(table, id);

    return place->id.size > 0 ? place->number : TABLE_NONE;
}

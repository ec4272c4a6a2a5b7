/* Numbers by their ids: open addressing, no removal. */

#ifndef TABLE_H
#define TABLE_H

#include "common.h"

#define TABLE_NONE UINT32_MAX

struct table_entry {
    struct slice id; /* somebody else's; empty where there is none */
    uint32_t number;
};

struct table {
    struct table_entry *entries;
    uint32_t mask;
};

/* Make room for so many. */
void table_init(struct table *table, uint32_t count);

/* Dies where the id is there already. */
void table_add(struct table *table, struct slice id, uint32_t number);

/* TABLE_NONE where it is not there. */
uint32_t table_find(const struct table *table, struct slice id);

#endif
